"""All that can be done with the vault. Each is one transaction under the log's lock, and each leaves an entry, also when it is refused."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from attrs import asdict, evolve, fields, frozen
from django.db import transaction
from django.db.models import QuerySet

from services.key_deposit.envelope import Envelope, parse
from services.key_vault import archive, ledger, metrics, record, rooms
from services.key_vault.access import Kind, subject
from services.key_vault.audit import Head
from services.key_vault.cases import (
    Case,
    Officer,
    Order,
    RefusedError,
    Step,
    TakenStep,
    check_request,
    check_step,
    check_use,
)
from services.key_vault.configuration import Service
from services.key_vault.etsi import Operator
from services.key_vault.models import StoredCase, StoredKey, StoredStep

T = TypeVar("T")

SYSTEM = "system"
_DAY = timedelta(days=1)


class UnknownCaseError(RefusedError):
    """There is no such case, or the officer may not know of it: the two look the same from outside."""

    def __init__(self) -> None:
        super().__init__("unknown-case", "There is no such case for you.")


class TooManyError(Exception):
    """A user has deposited as many keys in one day as the vault takes."""


@frozen
class Deposit:
    """What Synapse hands in: a key of a user, sealed, and its fingerprint."""

    user_id: str
    fingerprint: str
    envelope: str


def deposit(service: Service, offered: Deposit) -> bool:
    """Keep a sealed key. Returns whether it is new. Raises ValueError for what is no envelope for the authority, TooManyError."""
    envelope = parse(offered.envelope)
    if envelope.user_id != offered.user_id:
        raise ValueError("is another user's")
    key = {known.id: known for known in service.authority_keys}.get(envelope.authority_key_id)
    if key is None:
        raise ValueError("is not for a key of the authority that this vault knows")
    with transaction.atomic():
        now = ledger.hold()
        same = {"user_id": envelope.user_id, "fingerprint": offered.fingerprint, "authority_key_id": envelope.authority_key_id}
        if StoredKey.objects.filter(**same).exists() or StoredKey.objects.filter(envelope_sha256=envelope.sha256).exists():
            return False
        if StoredKey.objects.filter(user_id=envelope.user_id, deposited_at__gt=now - _DAY).count() >= service.deposits_per_day:
            raise TooManyError
        stored = StoredKey.objects.create(**same, envelope=envelope.compact, envelope_sha256=envelope.sha256, deposited_at=now)
        ledger.append(now, "key.deposited", key=record.of_deposit(stored))
    return True


def request_case(
    service: Service, officer: Officer, order: Order, targets: Sequence[str], acting: Sequence[str], start: datetime, end: datetime
) -> Case:
    """Ask for a case, which somebody else has to approve. Raises RefusedError."""
    wanted = Case(uuid4(), order, tuple(dict.fromkeys(targets)), tuple(dict.fromkeys(acting)), start, end, officer.id, start)

    def act(now: datetime) -> Case:
        case = evolve(wanted, requested_at=now)
        check_request(case, officer, service.officers.values(), service.server_name, timedelta(days=service.longest_case_days))
        _store(case)
        ledger.append(now, "case.requested", officer=officer.id, case=case.id, request=record.of_request(case))
        return case

    return _recorded("case.requested", officer, None, {"reference": order.reference}, act)


def take_step(officer: Officer, case_id: UUID, step: Step, reason: str) -> Case:
    """Approve, reject, open or close a case. Raises RefusedError."""

    def act(now: datetime) -> Case:
        case = _seen(officer, case_id)
        check_step(case, step, officer, now)
        return _append_step(case, TakenStep(step, officer.id, now, reason))

    return _recorded(f"case.{step}", officer, case_id, {"reason": reason}, act)


def release(officer: Officer, case_id: UUID, target: str) -> list[Envelope]:
    """Hand out the sealed keys of a target of an open case. Raises RefusedError."""

    def act(now: datetime) -> list[Envelope]:
        check_use(_seen(officer, case_id), officer, target, now)
        keys = [parse(stored.envelope) for stored in StoredKey.objects.filter(user_id=target).order_by("deposited_at", "id")]
        ledger.append(now, "keys.released", officer=officer.id, case=case_id, target=target, envelopes_sha256=[key.sha256 for key in keys])
        return keys

    return _recorded("keys.released", officer, case_id, {"target": target}, act)


def check_access(officer: Officer | None, claimed: str, method: str, uri: str) -> UUID | None:
    """Whether an officer may make a request to synapse-li; the case that covers it, or None if it concerns nobody. Raises RefusedError.

    `claimed`: what the proxy said of whoever asks, also when no such officer is listed. Rooms and events are covered when they are a target
    themselves, or by the membership of one, where synapse-li's database may be asked. Raises django.db.Error when it does not answer.
    """
    about = subject(method, uri)
    room = None if about is None else rooms.room_of(about.id) if about.kind is Kind.EVENT else about.id if about.kind is Kind.ROOM else None
    # Before the log's lock is taken: a slow database of another program must not hold up those who deposit.
    members = rooms.members_among(room, _users_of_live_cases()) if room else frozenset()
    seen: dict[str, Any] = {"method": method[:16], "uri": uri[:1024]}

    def act(now: datetime) -> UUID | None:
        if officer is None:
            raise RefusedError(metrics.UNKNOWN_OFFICER, "You are not an officer of this vault.")
        if about is None:
            raise RefusedError("not-on-list", "This request is not on the list of those that may be made.")
        if about.kind is Kind.NONE:
            return None
        refusal = RefusedError("no-open-case", "No open case of yours covers this.")
        ids = {about.id, *members, *([room] if room else [])}
        for case in map(loaded, StoredCase.objects.prefetch_related("steps").order_by("-requested_at")):
            covered = min(ids.intersection(case.targets), default="")
            try:
                check_use(case, officer, covered, now)
            except RefusedError as error:
                # The most telling reason: a case of this officer covers it, and is not open.
                refusal = error if covered and officer.id in case.acting else refusal
                continue
            ledger.append(now, "access.allowed", officer=officer.id, case=case.id, target=covered, subject=about.id, **seen)
            return case.id
        raise refusal

    return _recorded("access.allowed", officer, None, seen, act, claimed)


def cases_for(officer: Officer) -> tuple[list[Case], datetime]:
    """The cases that an officer may see, newest first, and the present."""
    with transaction.atomic():
        now = ledger.hold()
        _record_expired(now)
        stored = StoredCase.objects.prefetch_related("steps").order_by("-requested_at")
        return [case for case in map(loaded, stored) if case.may_see(officer)], now


def case_for(officer: Officer, case_id: UUID) -> tuple[Case, datetime]:
    """One case, and the present. Raises RefusedError."""

    def act(now: datetime) -> tuple[Case, datetime]:
        return _seen(officer, case_id), now

    return _recorded("case.viewed", officer, case_id, {}, act)


def keys_of(case: Case) -> dict[str, int]:
    """How many keys there are for each user that a case covers."""
    counts = dict.fromkeys((target for target in case.targets if target.startswith("@")), 0)
    for user_id in StoredKey.objects.filter(user_id__in=list(counts)).values_list("user_id", flat=True):
        counts[user_id] += 1
    return counts


def export(service: Service, officer: Officer, case_id: UUID, reason: str) -> bytes:
    """A case with all that was done and read under it, as one signed archive. Raises RefusedError."""

    def act(now: datetime) -> tuple[Case, datetime, Head]:
        case = _seen(officer, case_id)
        return case, now, ledger.append(now, "case.exported", officer=officer.id, case=case_id, reason=reason)

    # The lock is released before the archive is written: what is in the log up to its head stays as it is.
    case, now, head = _recorded("case.exported", officer, case_id, {"reason": reason}, act)
    own = [entry for entry in ledger.of_case(case_id) if entry.sequence <= head.sequence]
    documents = [entry.document() for entry in own]
    released = {one for entry in documents if entry["event"] == "keys.released" for one in entry["detail"]["envelopes_sha256"]}
    envelopes = StoredKey.objects.filter(envelope_sha256__in=released).order_by("envelope_sha256").values_list("envelope", flat=True)
    subject_of_archive = archive.Subject(case, officer.id, now, head, Operator(service.country_code, service.owner_identifier))
    return archive.build(
        subject_of_archive, service.signing_key, own, ledger.entries(own[0].sequence, head.sequence), [parse(one) for one in envelopes]
    )


def unknown_officer(claimed: str, path: str) -> None:
    """Record that the proxy let somebody through whom the vault does not know."""
    with transaction.atomic():
        ledger.append(ledger.hold(), "officer.unknown", claimed=claimed[:255], path=path[:1024])
    metrics.operation("officer.unknown", metrics.UNKNOWN_OFFICER)


def _recorded(
    event: str, officer: Officer | None, case_id: UUID | None, detail: dict[str, Any], act: Callable[[datetime], T], claimed: str = ""
) -> T:
    """Act under the log's lock. A refusal takes back what was written, is recorded, and is raised when that has been committed."""
    refusal: RefusedError | None = None
    result: T
    with transaction.atomic():
        now = ledger.hold()
        _record_expired(now)
        try:
            with transaction.atomic():
                result = act(now)
        except RefusedError as error:
            refusal = error
            known = case_id if case_id is None or StoredCase.objects.filter(id=case_id).exists() else None
            detail = detail if known == case_id else {**detail, "claimed_case": str(case_id)}
            ledger.append(
                now, f"{event}.refused", officer=officer.id if officer else claimed[:255], case=known, code=refusal.code, **detail
            )
    metrics.operation(event, refusal.code if refusal else "done")
    if refusal:
        raise refusal
    return result


def _seen(officer: Officer, case_id: UUID) -> Case:
    stored = StoredCase.objects.prefetch_related("steps").filter(id=case_id).first()
    if stored is None or not (case := loaded(stored)).may_see(officer):
        raise UnknownCaseError
    return case


def _unended() -> QuerySet[StoredCase]:
    ended = StoredStep.objects.filter(step__in=[Step.REJECT, Step.CLOSE, Step.EXPIRE]).values("case_id")
    return StoredCase.objects.exclude(id__in=ended)


def _users_of_live_cases() -> list[str]:
    targets = {target for listed in _unended().values_list("targets", flat=True) for target in listed}
    return sorted(target for target in targets if target.startswith("@"))


def _record_expired(now: datetime) -> None:
    """Record the end of each window that has come to its end since the last time somebody looked."""
    for stored in _unended().filter(end__lte=now).prefetch_related("steps").order_by("end"):
        _append_step(loaded(stored), TakenStep(Step.EXPIRE, SYSTEM, now, "The window of the case is over."))


def _append_step(case: Case, taken: TakenStep) -> Case:
    StoredStep.objects.create(case_id=case.id, step=taken.step, officer=taken.officer, at=taken.at, reason=taken.reason)
    ledger.append(taken.at, f"case.{taken.step}", officer=taken.officer, case=case.id, reason=taken.reason)
    return evolve(case, steps=(*case.steps, taken))


def _store(case: Case) -> None:
    StoredCase.objects.create(
        id=case.id,
        **asdict(case.order),
        targets=list(case.targets),
        acting=list(case.acting),
        start=case.start,
        end=case.end,
        requested_by=case.requested_by,
        requested_at=case.requested_at,
    )


def loaded(stored: StoredCase) -> Case:
    """A case as it is stored, with the steps that were taken."""
    steps = [TakenStep(Step(s.step), s.officer, s.at, s.reason) for s in stored.steps.all()]
    order = Order(**{field.name: getattr(stored, field.name) for field in fields(Order)})
    return Case(
        id=stored.id,
        order=order,
        targets=tuple(stored.targets),
        acting=tuple(stored.acting),
        start=stored.start,
        end=stored.end,
        requested_by=stored.requested_by,
        requested_at=stored.requested_at,
        steps=tuple(sorted(steps, key=lambda taken: taken.at)),
    )
