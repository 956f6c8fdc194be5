"""How what is stored reads in the log, and back: so that each row of the tables can be held to the entry that was written with it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attrs import evolve

from services.key_vault.audit import timestamp
from services.key_vault.cases import Case, Order, Step, TakenStep

if TYPE_CHECKING:  # An archive is verified without Django.
    from services.key_vault.models import StoredKey


def of_deposit(stored: "StoredKey") -> dict[str, str]:
    """A deposited key, all of it but the envelope, whose digest stands for it."""
    return {
        "id": str(stored.id),
        "user_id": stored.user_id,
        "fingerprint": stored.fingerprint,
        "authority_key_id": stored.authority_key_id,
        "envelope_sha256": stored.envelope_sha256,
        "deposited_at": timestamp(stored.deposited_at),
    }


def of_request(case: Case) -> dict[str, Any]:
    """A requested case, all of it."""
    return {
        "reference": case.order.reference,
        "legal_type": case.order.legal_type,
        "legal_entity": case.order.legal_entity,
        "document_name": case.order.document_name,
        "document_sha256": case.order.document_sha256,
        "manual_information": case.order.manual_information,
        "targets": list(case.targets),
        "acting": list(case.acting),
        "start": timestamp(case.start),
        "end": timestamp(case.end),
        "requested_by": case.requested_by,
        "requested_at": timestamp(case.requested_at),
    }


def to_case(documents: Iterable[Mapping[str, Any]]) -> Case | None:
    """The case that the entries of one case tell of; None if its request is not among them. Raises KeyError, TypeError, ValueError."""
    case: Case | None = None
    for document in documents:
        event = str(document["event"])
        if event == "case.requested" and case is None:
            case = _requested(UUID(document["case"]), document["detail"]["request"])
        elif case and event.startswith("case.") and event.removeprefix("case.") in list(Step):
            step = TakenStep(
                Step(event.removeprefix("case.")), document["officer"], _moment(document["time"]), document["detail"]["reason"]
            )
            case = evolve(case, steps=(*case.steps, step))
    return case


def _requested(identifier: UUID, request: Mapping[str, Any]) -> Case:
    names = ("reference", "legal_type", "legal_entity", "document_name", "document_sha256", "manual_information")
    return Case(
        id=identifier,
        order=Order(*(str(request[name]) for name in names)),
        targets=tuple(request["targets"]),
        acting=tuple(request["acting"]),
        start=_moment(request["start"]),
        end=_moment(request["end"]),
        requested_by=request["requested_by"],
        requested_at=_moment(request["requested_at"]),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
