"""The officers' pages: HTML from the server, forms, no script. Each shows what can be done next, and why something cannot be."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from services.key_vault import ledger, operations
from services.key_vault.cases import LIVE, Case, Officer, RefusedError, Role, Status, Step, check_step
from services.key_vault.configuration import service
from services.key_vault.forms import Reason, Request, Target
from services.key_vault.listeners import acting_officer, known_officer

_STYLE = Path(__file__).parent / "static" / "style.css"
_WORDS = {
    Step.APPROVE: ("Approve", "From now on, those who act under the case can open it. You cannot take this back; you can close the case."),
    Step.REJECT: ("Reject", "The case ends here. Whoever needs it has to request it again."),
    Step.OPEN: ("Open", "From now on, what concerns its targets can be read, and each reading is recorded under your name."),
    Step.CLOSE: ("Close", "Nothing can be read under this case any more. It cannot be opened again."),
}

View = Callable[..., HttpResponse]


def _guarded(view: View) -> View:
    """Show a refusal as a page."""

    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
        try:
            return view(request, **arguments)
        except RefusedError as refusal:
            status = 404 if refusal.code == "unknown-case" else 403
            return _page(request, "refused", {"text": str(refusal)}, status=status)

    return guarded


@require_safe
@_guarded
def cases(request: HttpRequest) -> HttpResponse:
    """All cases that the officer may see: first those that wait for them."""
    officer = acting_officer(request)
    seen, now = operations.cases_for(officer)
    groups: dict[str, list[dict[str, Any]]] = {"Waiting for you": [], "Under way": [], "Ended": []}
    for one in seen:
        status = one.status(now)
        waits = {Step.APPROVE, Step.OPEN}.intersection(_possible(one, officer, now))
        groups["Waiting for you" if waits else "Under way" if status in LIVE else "Ended"].append({"case": one, "status": status})
    return _page(
        request, "cases", {"groups": groups.items(), "none": not seen, "may_request": Role.INVESTIGATOR in officer.roles, "now": now}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def new_case(request: HttpRequest) -> HttpResponse:
    """Request a case."""
    officer = acting_officer(request)
    if request.method != "POST":
        _, now = operations.cases_for(officer)
        start = now.replace(second=0, microsecond=0)
        form = Request(initial={"acting": [officer.id], "start": start, "end": start + timedelta(days=30)})
        return _page(request, "new_case", {"form": form})
    form = Request(request.POST)
    if not form.is_valid():
        return _page(request, "new_case", {"form": form}, status=422)
    data = form.cleaned_data
    try:
        case = operations.request_case(service(), officer, form.order(), data["targets"], data["acting"], *form.window())
    except RefusedError as refusal:
        form.add_error(None, str(refusal))
        return _page(request, "new_case", {"form": form}, status=422)
    return _to_case(case.id)


@require_safe
@_guarded
def case(request: HttpRequest, case_id: UUID) -> HttpResponse:
    """One case: where it stands, what it covers, what can be done."""
    officer = acting_officer(request)
    shown, now = operations.case_for(officer, case_id)
    may_act = officer.id in shown.acting and shown.status(now) is Status.OPEN and now >= shown.start
    context = {
        "case": shown,
        "status": shown.status(now),
        "now": now,
        "left": shown.end - now,
        "steps": [(step, _WORDS[step][0]) for step in _possible(shown, officer, now)],
        "why_not": _why_not(shown, officer, now),
        "keys": operations.keys_of(shown).items() if may_act else [],
        "may_act": may_act,
        "rooms": [target for target in shown.targets if target.startswith("!")],
    }
    return _page(request, "case", context)


@require_safe
@_guarded
def log(request: HttpRequest, case_id: UUID) -> HttpResponse:
    """What was done and read under a case."""
    shown, _ = operations.case_for(acting_officer(request), case_id)
    entries = [(entry, entry.document()) for entry in reversed(ledger.of_case(case_id)[-1000:])]
    lines = [
        {
            "sequence": entry.sequence,
            "time": document["time"],
            "event": document["event"],
            "officer": document.get("officer", ""),
            "detail": json.dumps(document["detail"], ensure_ascii=False, sort_keys=True),
            "refused": document["event"].endswith(".refused"),
        }
        for entry, document in entries
    ]
    return _page(request, "log", {"case": shown, "lines": lines})


@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def step(request: HttpRequest, case_id: UUID, step: str) -> HttpResponse:
    """Take a step: first what it means is said, then it is taken."""
    if step not in {one.value for one in _WORDS}:
        return not_found(request)
    officer, wanted = acting_officer(request), Step(step)
    word, meaning = _WORDS[wanted]
    form = Reason(request.POST) if request.method == "POST" else Reason()
    if request.method == "POST" and form.is_valid():
        operations.take_step(officer, case_id, wanted, form.cleaned_data["reason"])
        return _to_case(case_id)
    shown, now = operations.case_for(officer, case_id)
    check_step(shown, wanted, officer, now)
    context = {
        "case": shown,
        "status": shown.status(now),
        "form": form,
        "word": word,
        "meaning": meaning,
        "danger": wanted in (Step.REJECT, Step.CLOSE),
    }
    return _page(request, "confirm", context, status=422 if form.errors else 200)


@require_http_methods(["POST"])
@_guarded
def release(request: HttpRequest, case_id: UUID) -> HttpResponse:
    """Hand out the sealed keys of one target."""
    form = Target(request.POST)
    if not form.is_valid():
        raise RefusedError("not-a-target", "Name a target of the case.")
    envelopes = operations.release(acting_officer(request), case_id, form.cleaned_data["target"])
    return _page(request, "released", {"case_id": case_id, "target": form.cleaned_data["target"], "envelopes": envelopes})


@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def export(request: HttpRequest, case_id: UUID) -> HttpResponse:
    """Hand out the case as one signed archive."""
    officer = acting_officer(request)
    form = Reason(request.POST) if request.method == "POST" else Reason()
    if request.method == "POST" and form.is_valid():
        archive = operations.export(service(), officer, case_id, form.cleaned_data["reason"])
        disposition = {"Content-Disposition": f'attachment; filename="case-{case_id}.zip"'}
        return HttpResponse(archive, content_type="application/zip", headers=disposition)
    shown, now = operations.case_for(officer, case_id)
    meaning = "The archive holds the case, what was read under it, and the keys that were released. That you have taken it is recorded."
    context = {"case": shown, "status": shown.status(now), "form": form, "word": "Export", "meaning": meaning, "danger": False}
    return _page(request, "confirm", context, status=422 if form.errors else 200)


@require_safe
def style(_: HttpRequest) -> HttpResponse:
    """The one style sheet."""
    return HttpResponse(_STYLE.read_bytes(), content_type="text/css; charset=utf-8")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001  # Django's signature
    """There is no such page."""
    return _page(request, "refused", {"text": "There is no such page."}, status=404)


def failed(request: HttpRequest) -> HttpResponse:
    """Something went wrong."""
    return render(request, "key_vault/refused.html", {"text": "Something went wrong; nothing was done. Try again."}, status=503)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001  # Django's signature
    """A form came without the token that this site gave out."""
    return _page(
        request, "refused", {"text": "This form is too old, or another site made it. Nothing was done; open the page again."}, status=403
    )


def _page(request: HttpRequest, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return render(request, f"key_vault/{name}.html", {"officer": known_officer(request), **context}, status=status)


def _to_case(case_id: UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("case", urlconf="services.key_vault.urls.officer", kwargs={"case_id": case_id}))


def _possible(case: Case, officer: Officer, now: datetime) -> list[Step]:
    possible = []
    for one in _WORDS:
        try:
            check_step(case, one, officer, now)
        except RefusedError:
            continue
        possible.append(one)
    return possible


def _why_not(case: Case, officer: Officer, now: datetime) -> str:
    """Why the officer cannot take the step that the case waits for; '' if they can, or if it waits for none."""
    expected = {Status.REQUESTED: Step.APPROVE, Status.APPROVED: Step.OPEN}.get(case.status(now))
    if expected is None:
        return ""
    try:
        check_step(case, expected, officer, now)
    except RefusedError as refusal:
        return str(refusal)
    return ""
