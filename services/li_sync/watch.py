"""watch: lets the subscription go on after errors that pass, and never after one that does not.

The subscription stops at every error (`disable_on_error`), so that one which cannot pass is not tried for ever, each time writing rows into the
log. But it also stops when main's PostgreSQL restarts or another becomes primary; then this enables it again.
"""

from collections.abc import Mapping
from typing import Any

from services.li_sync.postgres import Problem, connect
from services.li_sync.settings import Settings
from services.li_sync.subscription import SWAPPING, enable, reachable, read_slot, read_subscription

ATTEMPTS = 5
"""How often in a row it is enabled without having worked in between."""


class NotPrepared(Problem):
    """There is no subscription yet: `prepare` has not got so far."""


def watch(settings: Settings, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look at the subscription, and enable it if that can help. `before`: what the last run returned. Raises Problem if it cannot."""
    name = settings.subscription.name
    with connect(settings.li.owner, statement_seconds=30) as li:
        found = read_subscription(li, name)
        if found is None:
            raise NotPrepared(f"LI has no subscription {name}: prepare makes it")
        errors, conflicts = found.apply_errors + found.copy_errors, found.conflicts
        facts = {"enabled": found.enabled, "errors": errors, "conflicts": conflicts, "attempts": 0, "action": "none"}
        if found.enabled:
            # For a slot that is lost PostgreSQL asks again and again: `disable_on_error` is about what comes after that.
            if not found.working and reachable(settings):
                _need_slot(settings, found.slot)
            # It has worked if it did not fail again since it was enabled.
            steady = found.working and errors == before.get("errors", errors)
            return facts if steady else facts | {"attempts": before.get("attempts", 0), "conflicts": before.get("conflicts", conflicts)}
        if found.comment == SWAPPING:
            enable(li, settings)
            return facts | {"enabled": True, "action": "enabled after an interrupted swap"}
        if _rose(conflicts, before.get("conflicts", 0)):
            raise Problem(
                "a row of main conflicts with one that something else has written on LI, so the subscription is off and stays so: run rebuild"
            )
        attempts = int(before.get("attempts", 0))
        if not attempts and not _rose(errors, before.get("errors", 0)):
            raise Problem(
                f"the subscription is off without an error, so somebody has disabled it: ALTER SUBSCRIPTION {name} ENABLE, when it may go on"
            )
        if attempts >= ATTEMPTS:
            raise Problem(
                f"the subscription has failed {attempts} times in a row, though main answers: see the log of LI's PostgreSQL, then run rebuild"
            )
        if not reachable(settings):
            return dict(before) | {"enabled": False, "action": "waits for main"}
        _need_slot(settings, found.slot)
        enable(li, settings)
        return facts | {
            "enabled": True,
            "attempts": attempts + 1,
            "action": "enabled after an error",
            "conflicts": before.get("conflicts", 0),
        }


def _need_slot(settings: Settings, name: str | None) -> None:
    """Raise Problem if main has thrown away what LI needs."""
    with connect(settings.main.replication, statement_seconds=30, read_only=True) as main:
        slot = read_slot(main, name or "")
    if slot is None or slot.lost:
        raise Problem("main no longer keeps what LI needs (its replication slot is lost): run rebuild")


def _rose(count: int, before: int) -> bool:
    """Whether a counter rose, which begins at 0 again when its server crashes."""
    return count > before if count >= before else count > 0
