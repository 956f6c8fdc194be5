"""Cases: who may do what, when, to whom; and how they read in the words of ETSI TS 103 120."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.audit import EMPTY, canonical, next_entry
from services.key_vault.cases import Case, Officer, Order, RefusedError, Role, Status, Step, TakenStep, check_request, check_step, check_use
from services.key_vault.etsi import Operator, objects
from services.key_vault.record import of_request, to_case

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TARGET = "@mallory:example.org"
ANNA = Officer("anna", "Anna", frozenset({Role.INVESTIGATOR}))
BORIS = Officer("boris", "Boris", frozenset({Role.INVESTIGATOR, Role.APPROVER}))
CLARA = Officer("clara", "Clara", frozenset({Role.APPROVER}))
DORA = Officer("dora", "Dora", frozenset({Role.AUDITOR}))
EVERYBODY = (ANNA, BORIS, CLARA, DORA)
CASE = Case(
    id=UUID("00000000-0000-4000-8000-000000000001"),
    order=Order("12 Gs 345/26", "StPO 100a", "Amtsgericht", "order.pdf", "ab" * 32, "Messages of one suspect"),
    targets=(TARGET, "!room:example.org"),
    acting=("anna",),
    start=NOW,
    end=NOW + 30 * DAY,
    requested_by="anna",
    requested_at=NOW,
)


def taken(case: Case, step: Step, officer: Officer = CLARA, at: datetime = NOW) -> Case:
    return evolve(case, steps=(*case.steps, TakenStep(step, officer.id, at, "because")))


OPEN = taken(taken(CASE, Step.APPROVE), Step.OPEN, ANNA)


def refusal(case: Case, step: Step, officer: Officer, now: datetime = NOW) -> str | None:
    try:
        check_step(case, step, officer, now)
    except RefusedError as error:
        return error.code
    return None


def use(case: Case, officer: Officer = ANNA, target: str = TARGET, now: datetime = NOW) -> str | None:
    try:
        check_use(case, officer, target, now)
    except RefusedError as error:
        return error.code
    return None


def test_who_requested_a_case_cannot_approve_it() -> None:
    assert refusal(evolve(CASE, requested_by="boris", acting=("anna",)), Step.APPROVE, BORIS) == "four-eyes"


def test_who_would_act_under_a_case_cannot_approve_it() -> None:
    assert refusal(evolve(CASE, acting=("anna", "boris")), Step.APPROVE, BORIS) == "four-eyes"


def test_only_approvers_decide() -> None:
    assert refusal(CASE, Step.APPROVE, DORA) == refusal(CASE, Step.REJECT, ANNA) == "not-an-approver"
    assert refusal(CASE, Step.APPROVE, CLARA) is None


def test_a_case_that_is_not_approved_cannot_be_opened() -> None:
    assert refusal(CASE, Step.OPEN, ANNA) == "wrong-state"


def test_only_who_acts_under_a_case_opens_it_and_not_before_its_window() -> None:
    approved = taken(CASE, Step.APPROVE)
    assert refusal(approved, Step.OPEN, CLARA) == "not-on-case"
    assert refusal(approved, Step.OPEN, ANNA) is None
    assert refusal(evolve(approved, start=NOW + DAY), Step.OPEN, ANNA) == "outside-window"


def test_auditors_close_nothing() -> None:
    assert refusal(OPEN, Step.CLOSE, DORA) == "not-on-case"
    assert refusal(OPEN, Step.CLOSE, ANNA) is refusal(OPEN, Step.CLOSE, CLARA) is None


@pytest.mark.parametrize("final", [Step.REJECT, Step.CLOSE, Step.EXPIRE])
def test_nothing_follows_the_end_of_a_case(final: Step) -> None:
    ended = taken(OPEN, final)
    assert all(refusal(ended, step, officer) == "wrong-state" for step in Step for officer in EVERYBODY)
    assert use(ended) == "case-not-open"


def test_a_window_ends_a_case_though_nobody_has_recorded_it() -> None:
    assert OPEN.status(OPEN.end) is Status.EXPIRED
    assert use(OPEN, now=OPEN.end) == "case-not-open"
    assert use(OPEN, now=OPEN.end - timedelta(microseconds=1)) is None


def test_a_case_covers_its_targets_for_its_officers_while_it_is_open() -> None:
    assert use(OPEN) is None
    assert use(OPEN, target="@alice:example.org") == "not-a-target"
    assert use(OPEN, officer=BORIS) == use(OPEN, officer=CLARA) == use(OPEN, officer=DORA) == "not-on-case"
    assert use(CASE) == use(taken(CASE, Step.APPROVE)) == "case-not-open"
    # However it came to be open before its window.
    assert use(evolve(OPEN, start=NOW + DAY)) == "outside-window"


def test_cases_are_seen_by_their_officers_and_by_approvers_and_auditors() -> None:
    stranger = Officer("eve", "Eve", frozenset({Role.INVESTIGATOR}))
    assert [CASE.may_see(officer) for officer in (*EVERYBODY, stranger)] == [True, True, True, True, False]


@given(st.lists(st.tuples(st.sampled_from(list(Step)), st.sampled_from(EVERYBODY), st.integers(0, 40)), max_size=12))
def test_whatever_is_tried_reading_needs_two_officers_who_agreed(attempts: list[tuple[Step, Officer, int]]) -> None:
    case = CASE
    for step, officer, days in sorted(attempts, key=lambda attempt: attempt[2]):
        now = NOW + days * DAY
        if refusal(case, step, officer, now) is None:
            case = taken(case, step, officer, now)
        for reader in EVERYBODY:
            if use(case, reader, now=now) is None:
                approval = case.step(Step.APPROVE)
                assert approval is not None
                assert approval.officer not in {case.requested_by, *case.acting}
                assert reader.id in case.acting
                assert not {Step.REJECT, Step.CLOSE, Step.EXPIRE} & {taken.step for taken in case.steps}
                assert case.start <= now < case.end
    assert len({one.step for one in case.steps}) == len(case.steps)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targets": ()}, "nobody"),
        ({"acting": ()}, "nobody"),
        ({"targets": ("mallory",)}, "no-target"),
        ({"targets": ("@mallory:elsewhere.org",)}, "no-target"),
        ({"targets": ("@mallory:example.org ",)}, "no-target"),
        ({"targets": ("@a b:example.org",)}, "no-target"),
        ({"targets": ("@" + "a" * 260 + ":example.org",)}, "no-target"),
        ({"targets": ("#alias:example.org",)}, "no-target"),
        ({"acting": ("clara",)}, "no-investigator"),
        ({"acting": ("nobody",)}, "no-investigator"),
        ({"end": NOW - DAY, "start": NOW - 2 * DAY}, "window"),
        ({"end": NOW}, "window"),
        ({"end": NOW + 91 * DAY}, "window"),
    ],
)
def test_a_request_that_must_not_be_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_request(evolve(CASE, **change), ANNA, EVERYBODY, "example.org", 90 * DAY)
    assert caught.value.code == code


def test_only_investigators_request() -> None:
    with pytest.raises(RefusedError, match="investigators"):
        check_request(CASE, CLARA, EVERYBODY, "example.org", 90 * DAY)


def test_a_request_in_order_is_accepted() -> None:
    check_request(CASE, ANNA, EVERYBODY, "example.org", 90 * DAY)


def test_a_case_can_be_read_back_from_its_entries() -> None:
    events: list[tuple[str, dict[str, Any], str]] = [("case.requested", {"request": of_request(CASE)}, "anna")]
    events += [(f"case.{one.step}", {"reason": one.reason}, one.officer) for one in OPEN.steps]
    head, documents = EMPTY, []
    for event, detail, officer in events:
        entry = next_entry(head, NOW, event, {"case": str(CASE.id), "officer": officer, "detail": detail})
        head = entry.head
        documents.append(entry.document())
    assert to_case(documents) == OPEN


# The members of each object in the order of ETSI's schemas (TS 103 120: Core 2019/10, Authorisation, Task and Document 2020/09).
BASE = "ObjectIdentifier CountryCode OwnerIdentifier Generation ExternalIdentifier AssociatedObjects LastChanged NationalHandlingParameters"
MEMBERS = {
    "auth:AuthorisationObject": f"""{BASE} AuthorisationReference AuthorisationLegalType AuthorisationPriority AuthorisationStatus
        AuthorisationDesiredStatus AuthorisationTimespan AuthorisationCSPID AuthorisationCreationTimestamp AuthorisationServedTimestamp
        AuthorisationTerminationTimestamp AuthorisationApprovalDetails AuthorisationInvalidReason AuthorisationFlags
        AuthorisationManualInformation NationalAuthorisationParameters AuthorisationJurisdiction AuthorisationTypeOfCase AuthorisationLegalEntity""",
    "task:LITaskObject": f"""{BASE} Reference Status DesiredStatus Timespan TargetIdentifier DeliveryType DeliveryDetails ApprovalDetails CSPID
        HandlingProfile InvalidReason Flags NationalLITaskingParameters ListOfTrafficPolicyReferences ListOfIRIPolicyReferences""",
    "doc:DocumentObject": f"""{BASE} DocumentReference DocumentName DocumentStatus DocumentDesiredStatus DocumentTimespan DocumentType
        DocumentProperties DocumentBody DocumentSignature DocumentInvalidReason NationalDocumentParameters""",
}
OPERATOR = Operator("DE", "example-operator")


@pytest.mark.parametrize("case", [CASE, OPEN, taken(CASE, Step.REJECT), taken(OPEN, Step.CLOSE, ANNA, NOW + DAY)])
def test_a_case_has_the_members_that_etsi_names_in_etsis_order(case: Case) -> None:
    kinds = []
    for one in objects(case, NOW + DAY, OPERATOR):
        kinds.append(one.pop("@xsi:type"))
        allowed = MEMBERS[kinds[-1]].split()
        assert list(one) == [name for name in allowed if name in one]
        canonical(one)
    assert kinds == ["auth:AuthorisationObject", "task:LITaskObject", "task:LITaskObject", "doc:DocumentObject"]


def test_the_objects_of_a_case_refer_to_each_other() -> None:
    authorisation, *tasks, document = objects(OPEN, NOW, OPERATOR)
    assert authorisation["ObjectIdentifier"] == str(OPEN.id)
    assert authorisation["AssociatedObjects"] == [document["ObjectIdentifier"]]
    assert all(one["AssociatedObjects"] == [str(OPEN.id)] for one in (*tasks, document))
    assert [task["TargetIdentifier"]["TargetIdentifierValues"][0]["Value"] for task in tasks] == list(OPEN.targets)


@pytest.mark.parametrize(
    ("case", "authorisation", "task"),
    [
        (CASE, "AwaitingApproval", "AwaitingApproval"),
        (taken(CASE, Step.APPROVE), "Approved", "AwaitingProvisioning"),
        (OPEN, "Approved", "Active"),
        (taken(CASE, Step.REJECT), "Rejected", "Rejected"),
        (taken(OPEN, Step.CLOSE), "Cancelled", "Cancelled"),
        (evolve(OPEN, end=NOW), "Expired", "Expired"),
    ],
)
def test_the_status_of_a_case_is_a_word_of_etsis_dictionaries(case: Case, authorisation: str, task: str) -> None:
    first, second, *_ = objects(case, NOW, OPERATOR)
    assert first["AuthorisationStatus"] == {"Owner": "ETSI", "Name": "AuthorisationStatus", "Value": authorisation}
    assert second["Status"] == {"Owner": "ETSI", "Name": "TaskStatus", "Value": task}


def test_the_export_says_who_requested_and_who_approved() -> None:
    details = objects(OPEN, NOW, OPERATOR)[0]["AuthorisationApprovalDetails"]
    assert [(one["ApprovalType"], one["ApproverDetails"]["ApproverName"]) for one in details] == [
        ("Request", "anna"),
        ("Approval", "clara"),
    ]
    assert all(re.fullmatch(r"[0-9T:.-]+Z", one["ApprovalTimestamp"]) for one in details)
