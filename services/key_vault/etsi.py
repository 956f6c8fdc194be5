"""A case in the words of ETSI TS 103 120: an AuthorisationObject, an LITaskObject for each target, and a DocumentObject for the order.

The names of the members, their order and the values of the status dictionaries are those of its schemas (Core 2019/10, Common 2016/02,
Authorisation, Task and Document 2020/09). What has no member there stands in the national parameters, under names of this vault's own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from attrs import frozen

from services.key_vault.audit import timestamp
from services.key_vault.cases import Case, Status, Step

ETSI_VERSION = "V1.22.1"
FORMAT_OWNER = "matrix.org"
"""ETSI's dictionaries have no format for Matrix ids, so the owner of these is named instead."""

_AUTHORISATION_STATUS = {
    Status.REQUESTED: "AwaitingApproval",
    Status.APPROVED: "Approved",
    Status.OPEN: "Approved",
    Status.REJECTED: "Rejected",
    Status.CLOSED: "Cancelled",
    Status.EXPIRED: "Expired",
}
_TASK_STATUS = {**_AUTHORISATION_STATUS, Status.APPROVED: "AwaitingProvisioning", Status.OPEN: "Active"}
_DECISION = {Step.APPROVE: "Approval", Step.REJECT: "Rejection"}


@frozen
class Operator:
    """Who runs the vault: the country (ISO 3166-1 alpha-2) and the identifier of the communication service provider there."""

    country_code: str
    identifier: str


def objects(case: Case, now: datetime, operator: Operator) -> list[dict[str, Any]]:
    """The objects of a case as it stands at a moment."""
    document = uuid5(case.id, "document")
    tasks = [_task(case, now, operator, number, target) for number, target in enumerate(case.targets, 1)]
    return [_authorisation(case, now, operator, document), *tasks, _document(case, now, operator, document)]


def _authorisation(case: Case, now: datetime, operator: Operator, document: UUID) -> dict[str, Any]:
    ended = next((taken for taken in case.steps if taken.step in (Step.REJECT, Step.CLOSE, Step.EXPIRE)), None)
    decision = next((taken for taken in case.steps if taken.step in _DECISION), None)
    approvals: list[dict[str, Any]] = [
        {
            "ApprovalType": "Request",
            "ApprovalReference": case.order.reference,
            "ApproverDetails": {"ApproverName": case.requested_by, "ApproverRole": "RequestingOfficer"},
            "ApprovalTimestamp": timestamp(case.requested_at),
        }
    ]
    if decision:
        approvals.append(
            {
                "ApprovalType": _DECISION[decision.step],
                "ApprovalDescription": decision.reason,
                "ApprovalReference": case.order.reference,
                "ApproverDetails": {"ApproverName": decision.officer, "ApproverRole": "ApprovingOfficer"},
                "ApprovalTimestamp": timestamp(decision.at),
            }
        )
    return {
        "@xsi:type": "auth:AuthorisationObject",
        **_common(case, operator, case.id, [document]),
        "AuthorisationReference": case.order.reference,
        "AuthorisationLegalType": _entry("AuthorisationLegalType", case.order.legal_type, operator.identifier),
        "AuthorisationStatus": _entry("AuthorisationStatus", _AUTHORISATION_STATUS[case.status(now)]),
        "AuthorisationTimespan": {"StartTime": timestamp(case.start), "EndTime": timestamp(case.end)},
        "AuthorisationCSPID": [{"CountryCode": operator.country_code, "UniqueIdentifier": operator.identifier}],
        "AuthorisationCreationTimestamp": timestamp(case.requested_at),
        **({"AuthorisationTerminationTimestamp": timestamp(ended.at)} if ended else {}),
        "AuthorisationApprovalDetails": approvals,
        "AuthorisationManualInformation": case.order.manual_information,
        "NationalAuthorisationParameters": {
            "ActingOfficers": list(case.acting),
            "Steps": [{"Step": s.step, "Officer": s.officer, "Timestamp": timestamp(s.at), "Reason": s.reason} for s in case.steps],
        },
        "AuthorisationLegalEntity": case.order.legal_entity,
    }


def _task(case: Case, now: datetime, operator: Operator, number: int, target: str) -> dict[str, Any]:
    form = "MatrixUserID" if target.startswith("@") else "MatrixRoomID"
    return {
        "@xsi:type": "task:LITaskObject",
        **_common(case, operator, uuid5(case.id, f"task {target}"), [case.id]),
        "Reference": f"{case.id}-{number}",
        "Status": _entry("TaskStatus", _TASK_STATUS[case.status(now)]),
        "Timespan": {"StartTime": timestamp(case.start), "EndTime": timestamp(case.end)},
        "TargetIdentifier": {
            "TargetIdentifierValues": [{"FormatType": {"FormatOwner": FORMAT_OWNER, "FormatName": form}, "Value": target}],
        },
    }


def _document(case: Case, now: datetime, operator: Operator, identifier: UUID) -> dict[str, Any]:
    return {
        "@xsi:type": "doc:DocumentObject",
        **_common(case, operator, identifier, [case.id]),
        "DocumentReference": case.order.reference,
        "DocumentName": case.order.document_name,
        "DocumentStatus": _entry("DocumentStatus", _AUTHORISATION_STATUS[case.status(now)]),
        "DocumentTimespan": {"StartTime": timestamp(case.start), "EndTime": timestamp(case.end)},
        "NationalDocumentParameters": {"SHA256": case.order.document_sha256},
    }


def _common(case: Case, operator: Operator, identifier: UUID, associated: list[UUID]) -> dict[str, Any]:
    changed = max((taken.at for taken in case.steps), default=case.requested_at)
    return {
        "ObjectIdentifier": str(identifier),
        "CountryCode": operator.country_code,
        "OwnerIdentifier": operator.identifier,
        "Generation": 1 + len(case.steps),
        "AssociatedObjects": [str(one) for one in associated],
        "LastChanged": timestamp(changed),
    }


def _entry(name: str, value: str, owner: str = "ETSI") -> Mapping[str, str]:
    return {"Owner": owner, "Name": name, "Value": value}
