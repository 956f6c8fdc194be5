"""A case: what it allows, to whom, when; and which step may follow which. Pure: the database is elsewhere.

Nothing of a case is ever changed. It is what was requested, and the steps that were taken since; its status follows from both and the time.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from attrs import frozen

ROOM_ID = re.compile(r"![!-~]{1,254}")


class Role(StrEnum):
    """What an officer may do, besides what a case lets those do who act under it."""

    INVESTIGATOR = "investigator"
    """Requests cases, and acts under those that name them."""
    APPROVER = "approver"
    """Approves and rejects what others have requested, and sees every case."""
    AUDITOR = "auditor"
    """Sees every case and exports it; changes none."""


@frozen
class Officer:
    """A named person. `id` is what the authenticating proxy says of whoever has logged in."""

    id: str
    name: str
    roles: frozenset[Role]


class Step(StrEnum):
    """What can be done with a case, once each."""

    APPROVE = "approve"
    REJECT = "reject"
    OPEN = "open"
    CLOSE = "close"
    EXPIRE = "expire"


class Status(StrEnum):
    """Where a case stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    OPEN = "open"
    REJECTED = "rejected"
    CLOSED = "closed"
    EXPIRED = "expired"


LIVE = frozenset({Status.REQUESTED, Status.APPROVED, Status.OPEN})
_AFTER = {
    Step.APPROVE: Status.APPROVED,
    Step.REJECT: Status.REJECTED,
    Step.OPEN: Status.OPEN,
    Step.CLOSE: Status.CLOSED,
    Step.EXPIRE: Status.EXPIRED,
}
_FROM = {
    Step.APPROVE: frozenset({Status.REQUESTED}),
    Step.REJECT: frozenset({Status.REQUESTED}),
    Step.OPEN: frozenset({Status.APPROVED}),
    Step.CLOSE: LIVE,
}


class RefusedError(Exception):
    """Something is not allowed. `code` is for programs and for the log, the text for people; neither says more than the asker may know."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@frozen
class TakenStep:
    """A step that was taken, by whom (an officer's id, or `system`), when and why."""

    step: Step
    officer: str
    at: datetime
    reason: str

    @property
    def done(self) -> str:
        """What was done with the case, in words: it was `approved`, say."""
        return _done(self.step)


@frozen
class Order:
    """What the legal order says. `document_sha256`: the digest of the order's file, in hexadecimal; '' if it came on paper."""

    reference: str
    legal_type: str
    legal_entity: str
    document_name: str
    document_sha256: str
    manual_information: str


@frozen
class Case:
    """A case. It covers `targets` (user ids and room ids) for `acting` (officers' ids) from `start` on and before `end`."""

    id: UUID
    order: Order
    targets: tuple[str, ...]
    acting: tuple[str, ...]
    start: datetime
    end: datetime
    requested_by: str
    requested_at: datetime
    steps: tuple[TakenStep, ...] = ()

    def step(self, step: Step) -> TakenStep | None:
        """A step of this kind, if it was taken."""
        return next((taken for taken in self.steps if taken.step is step), None)

    def status(self, now: datetime) -> Status:
        """Where it stands at a moment. What ends a case is final, and its window's end ends it whether or not anybody has recorded that."""
        reached = {_AFTER[taken.step] for taken in self.steps}
        for final in (Status.REJECTED, Status.CLOSED, Status.EXPIRED):
            if final in reached:
                return final
        if now >= self.end:
            return Status.EXPIRED
        return Status.OPEN if Status.OPEN in reached else Status.APPROVED if Status.APPROVED in reached else Status.REQUESTED

    def may_see(self, officer: Officer) -> bool:
        """Whether an officer may know of this case."""
        return bool(officer.roles & {Role.APPROVER, Role.AUDITOR}) or officer.id in {self.requested_by, *self.acting}


def check_request(case: Case, officer: Officer, known: Iterable[Officer], server_name: str, longest: timedelta) -> None:
    """Raise RefusedError for a case that must not come into being, `requested_at` being the present."""
    investigators = {other.id for other in known if Role.INVESTIGATOR in other.roles}
    user_id = re.compile(rf"@[!-9;-~]{{1,254}}:{re.escape(server_name)}")
    if Role.INVESTIGATOR not in officer.roles:
        raise RefusedError("not-an-investigator", "Only investigators may request a case.")
    if not case.targets or not case.acting:
        raise RefusedError("nobody", "A case names at least one target and one officer who acts under it.")
    for target in case.targets:
        if not (user_id.fullmatch(target) or ROOM_ID.fullmatch(target)) or len(target) > 255:
            raise RefusedError("no-target", f"{target} is neither a user of {server_name} (@name:{server_name}) nor a room (!id).")
    for acting in case.acting:
        if acting not in investigators:
            raise RefusedError("no-investigator", f"{acting} is not an investigator.")
    if not case.start < case.end:
        raise RefusedError("window", "The window ends before it begins.")
    if case.end <= case.requested_at:
        raise RefusedError("window", "The window is over.")
    if case.end - case.start > longest:
        raise RefusedError("window", f"The window is longer than {longest.days} days, the longest that this vault allows.")


def check_step(case: Case, step: Step, officer: Officer, now: datetime) -> None:
    """Raise RefusedError unless this officer may take this step at this moment."""
    status = case.status(now)
    if status not in _FROM.get(step, frozenset()):
        raise RefusedError("wrong-state", f"This case is {status}; it cannot be {_done(step)}.")
    if step in (Step.APPROVE, Step.REJECT):
        if Role.APPROVER not in officer.roles:
            raise RefusedError("not-an-approver", "Only approvers may decide on a case.")
        if officer.id == case.requested_by:
            raise RefusedError("four-eyes", "You have requested this case: somebody else has to decide on it.")
        if officer.id in case.acting:
            raise RefusedError("four-eyes", "You would act under this case: somebody else has to decide on it.")
    elif step is Step.OPEN:
        if officer.id not in case.acting:
            raise RefusedError("not-on-case", "Only an officer who acts under this case may open it.")
        if now < case.start:
            raise RefusedError("outside-window", "The window of this case has not begun.")
    elif Role.APPROVER not in officer.roles and officer.id not in {case.requested_by, *case.acting}:
        raise RefusedError("not-on-case", "Only officers of this case and approvers may close it.")


def check_use(case: Case, officer: Officer, target: str, now: datetime) -> None:
    """Raise RefusedError unless this officer may read what concerns this target under this case at this moment."""
    status = case.status(now)
    if officer.id not in case.acting:
        raise RefusedError("not-on-case", "You do not act under this case.")
    if status is not Status.OPEN:
        raise RefusedError("case-not-open", f"This case is {status}, not open.")
    if not case.start <= now < case.end:
        raise RefusedError("outside-window", "This is outside the window of the case.")
    if target not in case.targets:
        raise RefusedError("not-a-target", "This is not a target of the case.")


def _done(step: Step) -> str:
    return {Step.APPROVE: "approved", Step.REJECT: "rejected", Step.OPEN: "opened", Step.CLOSE: "closed", Step.EXPIRE: "expired"}[step]
