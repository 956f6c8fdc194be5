"""The three APIs, each on its own listener: Synapse's intake, the question of synapse-li's proxy, and the officers' cases."""

import logging
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from attrs import asdict
from django.db import Error
from django.http import HttpRequest, HttpResponse
from ninja import Header, NinjaAPI, Path, Schema
from ninja.errors import HttpError, ValidationError
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from services.key_deposit.envelope import LONGEST_ENVELOPE
from services.key_vault import metrics, operations
from services.key_vault.cases import Case, Order, RefusedError, Step
from services.key_vault.configuration import service
from services.key_vault.listeners import acting_officer, claimed_officer, known_officer

VERSION = "1.0.0"

_STATUS = {
    "unknown-case": 404,
    "unknown-officer": 403,
    "wrong-state": 409,
    "window": 422,
    "no-target": 422,
    "nobody": 422,
    "no-investigator": 422,
}
"""Of the codes of a refusal that are not 403."""

UserID = Annotated[str, StringConstraints(pattern=r"^@[!-9;-~]+:[A-Za-z0-9.\[\]:-]+$", max_length=255)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("has to be one line of printable text, without blanks around it")
    return text


Line = Annotated[str, StringConstraints(pattern="^[^\u0000-\u001f\u007f-\u00a0\u2028\u2029]+$", max_length=500), AfterValidator(_line)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=255)]


class _Strict(Schema):
    model_config = ConfigDict(extra="forbid")


class Problem(Schema):
    """Why something was not done."""

    code: str
    detail: str


class DepositIn(_Strict):
    """A sealed recovery key."""

    user_id: UserID
    fingerprint: Digest
    envelope: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=LONGEST_ENVELOPE)]


class DepositOut(Schema):
    """Whether the key was new."""

    stored: bool


class StepOut(Schema):
    """A step that was taken with a case."""

    step: str
    officer: str
    at: datetime
    reason: str


class OrderIn(_Strict):
    """What the legal order says."""

    AuthorisationReference: Line
    AuthorisationLegalType: Line
    AuthorisationLegalEntity: Line
    AuthorisationManualInformation: Line
    DocumentName: Line
    DocumentSHA256: Digest | Annotated[str, StringConstraints(pattern=r"^$")] = ""


class TimespanIn(_Strict):
    """The window of a case. Both times have a zone."""

    StartTime: AwareDatetime
    EndTime: AwareDatetime


class CaseIn(_Strict):
    """A case to be requested."""

    order: OrderIn
    AuthorisationTimespan: TimespanIn
    targets: Annotated[list[Identifier], Field(min_length=1, max_length=100)]
    acting: Annotated[list[Identifier], Field(min_length=1, max_length=20)]


class CaseOut(Schema):
    """A case."""

    id: UUID
    status: str
    reference: str
    legal_type: str
    legal_entity: str
    manual_information: str
    document_name: str
    document_sha256: str
    targets: list[str]
    acting: list[str]
    start: datetime
    end: datetime
    requested_by: str
    requested_at: datetime
    steps: list[StepOut]


class StepIn(_Strict):
    """Why a step is taken."""

    reason: Line


class ReleaseIn(_Strict):
    """Whose keys are asked for."""

    target: UserID


class EnvelopeOut(Schema):
    """A sealed key."""

    user_id: str
    secret_storage_key_id: str
    authority_key_id: str
    sha256: str
    envelope: str


def _api(title: str, namespace: str, description: str) -> NinjaAPI:
    api = NinjaAPI(title=title, version=VERSION, urls_namespace=namespace, description=description, docs_url=None)

    @api.exception_handler(RefusedError)
    def refused(request: HttpRequest, error: RefusedError) -> HttpResponse:
        return api.create_response(request, {"code": error.code, "detail": str(error)}, status=_STATUS.get(error.code, 403))

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        # The library's own answer quotes what was sent.
        places = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors]
        return api.create_response(request, {"code": "invalid", "detail": "; ".join(places)[:1000]}, status=422)

    @api.exception_handler(HttpError)
    def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
        return api.create_response(request, {"code": "unreadable", "detail": str(error)}, status=error.status_code)

    @api.exception_handler(Error)
    def unavailable(request: HttpRequest, error: Error) -> HttpResponse:
        logging.getLogger("key_vault").error("the database failed", exc_info=error)
        return api.create_response(request, {"code": "unavailable", "detail": "The database does not answer; try again."}, status=503)

    return api


_PROBLEMS: dict[int, Any] = dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 429, 503), Problem)

_ZIP = {"description": "The archive", "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}

INTAKE = _api("Key vault: intake", "intake", "Takes sealed recovery keys from Synapse. Authorization: Bearer, with the intake's token.")
ACCESS = _api("Key vault: access", "access", "Says whether an officer may make a request to synapse-li, in the manner of auth_request.")
CASES = _api("Key vault: cases", "cases", "Cases, for officers, behind the authenticating proxy.")


@INTAKE.post("/v1/recovery-keys", response={200: DepositOut, 201: DepositOut, **_PROBLEMS}, operation_id="deposit")
def deposit(request: HttpRequest, offered: DepositIn) -> tuple[int, Any]:  # noqa: ARG001  # django-ninja's signature
    """Keep a sealed key: 201 if it is new, 200 if the vault has it."""
    try:
        new = operations.deposit(service(), operations.Deposit(offered.user_id, offered.fingerprint, offered.envelope))
    except ValueError as error:
        metrics.deposit("refused")
        return 422, {"code": "envelope", "detail": f"The envelope {error}."}
    except operations.TooManyError:
        metrics.deposit("too-many")
        return 429, {"code": "too-many", "detail": "This user has deposited too many keys in one day."}
    metrics.deposit("stored" if new else "known")
    return (201 if new else 200), {"stored": new}


_TOO_LONG = {"description": "A header is longer than 8190 bytes; the server says so itself"}


@ACCESS.get("/v1/access", response={204: None, **_PROBLEMS}, operation_id="check_access", openapi_extra={"responses": {431: _TOO_LONG}})
def check_access(
    request: HttpRequest,
    response: HttpResponse,
    method: Annotated[str, Header(alias="X-Original-Method", max_length=16)],
    uri: Annotated[str, Header(alias="X-Original-URI", max_length=8192)],
) -> tuple[int, Any]:
    """204 if the officer in the header may make the request, with the case in X-Key-Vault-Case; 403 if not. Both are recorded."""
    case = operations.check_access(known_officer(request), claimed_officer(request), method, uri)
    if case is not None:
        response["X-Key-Vault-Case"] = str(case)
    return 204, None


@CASES.get("/cases", response={200: list[CaseOut], **_PROBLEMS}, operation_id="list_cases")
def list_cases(request: HttpRequest) -> Any:
    """The cases that the officer may see, newest first."""
    cases, now = operations.cases_for(acting_officer(request))
    return [_shown(case, now) for case in cases]


@CASES.post("/cases", response={201: CaseOut, **_PROBLEMS}, operation_id="request_case")
def request_case(request: HttpRequest, wanted: CaseIn) -> Any:
    """Request a case, which an approver has to approve."""
    _check_json(request)
    order = Order(
        reference=wanted.order.AuthorisationReference,
        legal_type=wanted.order.AuthorisationLegalType,
        legal_entity=wanted.order.AuthorisationLegalEntity,
        document_name=wanted.order.DocumentName,
        document_sha256=wanted.order.DocumentSHA256,
        manual_information=wanted.order.AuthorisationManualInformation,
    )
    span = wanted.AuthorisationTimespan
    case = operations.request_case(service(), acting_officer(request), order, wanted.targets, wanted.acting, span.StartTime, span.EndTime)
    return 201, _shown(case, case.requested_at)


@CASES.get("/cases/{case_id}", response={200: CaseOut, **_PROBLEMS}, operation_id="get_case")
def get_case(request: HttpRequest, case_id: UUID) -> Any:
    """One case."""
    return _shown(*operations.case_for(acting_officer(request), case_id))


@CASES.post("/cases/{case_id}/{step}", response={200: CaseOut, **_PROBLEMS}, operation_id="take_step")
def take_step(request: HttpRequest, case_id: UUID, step: Annotated[Step, Path()], why: StepIn) -> Any:
    """Approve, reject, open or close a case."""
    _check_json(request)
    case = operations.take_step(acting_officer(request), case_id, step, why.reason)
    return _shown(case, case.steps[-1].at)


@CASES.post("/cases/{case_id}/keys/release", response={200: list[EnvelopeOut], **_PROBLEMS}, operation_id="release_keys")
def release_keys(request: HttpRequest, case_id: UUID, wanted: ReleaseIn) -> Any:
    """Get the sealed keys of a target of an open case."""
    _check_json(request)
    return [
        EnvelopeOut(
            user_id=one.user_id,
            secret_storage_key_id=one.secret_storage_key_id,
            authority_key_id=one.authority_key_id,
            sha256=one.sha256,
            envelope=one.compact,
        )
        for one in operations.release(acting_officer(request), case_id, wanted.target)
    ]


@CASES.post("/cases/{case_id}/archive/export", response=_PROBLEMS, operation_id="export_case", openapi_extra={"responses": {200: _ZIP}})
def export_case(request: HttpRequest, case_id: UUID, why: StepIn) -> Any:
    """Get the case as one signed archive (ZIP)."""
    _check_json(request)
    archive = operations.export(service(), acting_officer(request), case_id, why.reason)
    return HttpResponse(
        archive, content_type="application/zip", headers={"Content-Disposition": f'attachment; filename="case-{case_id}.zip"'}
    )


def _check_json(request: HttpRequest) -> None:
    """A form of another site could send JSON as text/plain, with the officer's cookies of the proxy; this type it cannot send."""
    if request.content_type != "application/json":
        raise RefusedError("content-type", "The content type has to be application/json.")


def _shown(case: Case, now: datetime) -> CaseOut:
    return CaseOut(
        id=case.id,
        status=case.status(now),
        **asdict(case.order),
        targets=list(case.targets),
        acting=list(case.acting),
        start=case.start,
        end=case.end,
        requested_by=case.requested_by,
        requested_at=case.requested_at,
        steps=[StepOut(step=s.step, officer=s.officer, at=s.at, reason=s.reason) for s in case.steps],
    )
