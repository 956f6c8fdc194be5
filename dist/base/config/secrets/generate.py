"""Make the secrets of a platform that are missing in its cluster. Runs in a Job: `python -m services.secrets.generate REQUEST`.

A value that is there is never replaced, and none is ever printed. Running it again changes nothing.
Exit codes: 0 all keys are there; 1 something went wrong; 3 everything is done but what the operator of the site has to give.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from attrs import define, field, frozen

from services.kubernetes_api.api import ACCOUNT, Api, ApiError, RefusedError
from services.secrets.kubernetes import MANAGER, Secrets, Stored
from services.secrets.recipes import Recipe, RecipeError, complete

DONE, FAILED, GIVEN_KEYS_MISSING = 0, 1, 3

_ACCESS_GRACE_SECONDS = 30.0
"""How long the API may refuse for want of rights or of a namespace: both are applied together with the Job, and take effect later."""
_PASS_SECONDS = 2.0
_TRIES_AGAINST_OTHERS = 10


@frozen
class Wanted:
    """One Secret of the request file."""

    namespace: str
    name: str
    type: str
    keys: Mapping[str, Recipe]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def keys_made(self, *how: str) -> dict[str, Recipe]:
        """The keys of some kinds of recipe."""
        return {key: recipe for key, recipe in self.keys.items() if recipe["recipe"] in how}


@define
class Report:
    """What has to be said at the end: what failed, and what the operator of the site has to give."""

    say: Callable[[str], None]
    failures: list[str] = field(factory=list)
    to_give: list[str] = field(factory=list)

    def close(self) -> int:
        """Say what is left to do, and return the exit code."""
        for line in self.failures:
            self.say(f"FAILED: {line}")
        for line in self.to_give:
            self.say(f"MISSING: {line}")
        if self.failures:
            return FAILED
        if self.to_give:
            self.say(f"All else is done. Only the operator of the site can supply these {len(self.to_give)} key(s).")
            return GIVEN_KEYS_MISSING
        self.say("All secrets are there.")
        return DONE


def read_request(path: Path) -> tuple[Wanted, ...]:
    """The Secrets of a request file. Raises ValueError for a file of another form, OSError when it cannot be read."""
    try:
        document = json.loads(path.read_text())
        return tuple(Wanted(s["namespace"], s["name"], s["type"], {k: dict(r) for k, r in s["keys"].items()}) for s in document["secrets"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no request file: {type(error).__name__} {error}") from None


def generate(secrets: Secrets, wanted: Sequence[Wanted], report: Report) -> None:
    """Complete every Secret, in the order of the request. What one of them waits for, or fails at, holds up no other."""
    started = time.monotonic()
    pending = list(wanted)
    while pending:
        waiting: dict[str, str] = {}
        for secret in pending:
            try:
                reason = _settle(secrets, secret, frozenset(waiting), report)
            except ApiError as error:
                report.failures.append(f"{secret}: {error}")
                return
            except RefusedError as error:
                reason = str(error)
                if error.status not in _ADVICE or time.monotonic() - started > _ACCESS_GRACE_SECONDS:
                    report.failures.append(f"{secret}: {error}{_ADVICE.get(error.status, '')}")
                    continue
            except RecipeError as error:
                report.failures.append(f"{secret}: {error}")
                continue
            if reason:
                waiting[str(secret)] = reason
        pending = [secret for secret in pending if str(secret) in waiting]
        if pending and time.monotonic() + _PASS_SECONDS > secrets.api.deadline:
            report.failures.extend(f"{secret}: waited in vain: {reason}" for secret, reason in waiting.items())
            return
        for secret in pending:
            report.say(f"{secret}: waiting: {waiting[str(secret)]}")
        if pending:
            time.sleep(_PASS_SECONDS)


_ADVICE = {
    401: "; the service account token is not accepted",
    403: "; the Role of this service account does not allow it, or an admission policy forbids it",
    404: "; the namespace does not exist",
}


def _settle(secrets: Secrets, secret: Wanted, waiting: frozenset[str], report: Report) -> str | None:
    """Complete one Secret. Returns what it waits for, or None when there is nothing more to do about it."""
    sources = _sources(secrets, secret)
    for _ in range(_TRIES_AGAINST_OTHERS):
        stored = secrets.get(secret.namespace, secret.name)
        result = complete(secret.keys, stored.data if stored else {}, sources)
        if held_up := [f"{key} {result.missing[key]}" for key in _may_still_come(secret, waiting) if key in result.missing]:
            return "; ".join(held_up)
        names = ", ".join(result.added)
        if not result.added:
            report.say(f"{secret}: {'nothing to add' if result.missing or result.faults else 'complete'}")
        elif stored is None:
            if not secrets.create(secret.namespace, secret.name, secret.type, result.added):
                continue  # somebody else has created it: complete theirs
            report.say(f"{secret}: created with {names}")
        elif refusal := _foreign(stored):
            report.failures.append(f"{secret}: lacks {names}, but {refusal}")
        else:
            if not secrets.add(secret.namespace, secret.name, stored.version, result.added):
                continue  # it has changed since it was read: look again
            report.say(f"{secret}: added {names}")
        exists = stored is not None or bool(result.added)
        report.failures.extend(f"{secret}: {key} {fault}. {_how_to_mend(secret, key)}" for key, fault in result.faults.items())
        report.to_give.extend(_missing_line(secret, key, reason, exists) for key, reason in result.missing.items())
        return None
    return "others keep changing it"


def _sources(secrets: Secrets, secret: Wanted) -> dict[str, bytes | None]:
    """The values at the sources of the copied and shared keys; None for those that are not there."""
    values: dict[str, bytes | None] = {}
    for key, recipe in secret.keys_made("copied", "shared").items():
        stored = secrets.get(recipe["source"]["namespace"], recipe["source"]["secret"])
        values[key] = (stored.data.get(recipe["source"]["key"]) or None) if stored else None
    return values


def _may_still_come(secret: Wanted, waiting: frozenset[str]) -> list[str]:
    """The keys whose sources an operator, or this program, will yet make."""
    shared = [
        key
        for key, recipe in secret.keys_made("shared").items()
        if f"{recipe['source']['namespace']}/{recipe['source']['secret']}" in waiting
    ]
    return [*secret.keys_made("copied"), *shared]


def _foreign(stored: Stored) -> str | None:
    """Why keys cannot be added to a Secret that is there: whoever manages it would take them out again."""
    if stored.owner:
        return f"a {stored.owner} controls it: add the keys there"
    if stored.manager not in (None, MANAGER):
        return f"{stored.manager} manages it (label app.kubernetes.io/managed-by): add the keys there"
    if stored.immutable:
        return "it is immutable: create it anew with all keys"
    return None


def _missing_line(secret: Wanted, key: str, reason: str, exists: bool) -> str:
    if key in secret.keys_made("given"):
        return f"{secret}: {key}: {reason}\n  {_how_to_give(secret, key, exists)}"
    return f"{secret}: {key} {reason}; run this again when it is"


def _how_to_give(secret: Wanted, key: str, exists: bool) -> str:
    if exists:
        return f'kubectl -n {secret.namespace} patch secret {secret.name} -p "{{\\"data\\":{{\\"{key}\\":\\"$(base64 -w0 FILE)\\"}}}}"'
    return f"kubectl -n {secret.namespace} create secret generic {secret.name} --from-file={key}=FILE"


def _how_to_mend(secret: Wanted, key: str) -> str:
    if key in secret.keys_made("given"):
        return f"Give another:\n  {_how_to_give(secret, key, exists=True)}"
    patch = shlex.quote(json.dumps([{"op": "remove", "path": f"/data/{key}"}]))
    command = f"kubectl -n {secret.namespace} patch secret {secret.name} --type=json -p {patch}"
    return f"To have it made again, remove it, then run this again:\n  {command}"


def main(arguments: Sequence[str] | None = None, *, environment: Mapping[str, str] = os.environ) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="generate", description="Make the secrets of a platform that are missing in its cluster.")
    parser.add_argument("request", type=Path, help="which Secrets, which keys, and how each is made (JSON)")
    parser.add_argument("--time-limit", type=float, default=600, metavar="SECONDS", help="give up after this long (default: %(default)s)")
    parser.add_argument("--account", type=Path, default=ACCOUNT, metavar="FOLDER", help="the token and ca.crt (default: %(default)s)")
    options = parser.parse_args(arguments)
    report = Report(_say)
    try:
        wanted = read_request(options.request)
        api = Api.of_pod(environment, options.account, time.monotonic() + options.time_limit)
    except (ApiError, OSError, ValueError) as error:
        report.failures.append(str(error))
        return report.close()
    # Breaks off an answer that comes drop by drop: the time limit of a connection is for each read alone.
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, options.time_limit + 5, 5)
    try:
        generate(Secrets(api), wanted, report)
    except Exception as error:
        # The place and never the message, which might quote a value.
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__)))
        report.failures.append(f"{type(error).__name__} at {places}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return report.close()


def _say(line: str) -> None:
    print(line, flush=True)


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(main())
