"""What engines say of a file, and what follows from it."""

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence

from attrs import frozen


class Trouble(enum.StrEnum):
    """Why an engine has said nothing about a file."""

    UNREACHABLE = "unreachable"
    """No connection, or one that ended early."""
    TIMEOUT = "timeout"
    GARBAGE = "garbage"
    """An answer that is none."""
    REFUSED = "refused"
    """The engine answered that it could not scan the file."""


class EngineError(Exception):
    """An engine has said nothing about a file. Never holds any of the file."""

    def __init__(self, engine: str, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{engine}: {trouble}" + (f" ({detail})" if detail else ""))
        self.engine = engine
        self.trouble = trouble


@frozen
class Finding:
    """What one engine says of one file.

    `signature` names what it has found, None if nothing. `state` names the signatures that the engine has used, None if that is not known.
    """

    engine: str
    signature: str | None
    state: str | None


@frozen
class Verdict:
    """What all engines together say: `signature` and the `engine` that has found it, or None for a clean file."""

    signature: str | None = None
    engine: str | None = None

    @property
    def infected(self) -> bool:
        """Whether any engine has found something."""
        return self.signature is not None


CLEAN = Verdict()


def combine(findings: Sequence[Finding], errors: Sequence[EngineError]) -> Verdict | None:
    """One engine that has found something is enough; a file is clean if every engine has said so. None: nobody can tell."""
    for finding in findings:
        if finding.signature is not None:
            return Verdict(finding.signature, finding.engine)
    return None if errors or not findings else CLEAN


def epoch(states: Mapping[str, str | None]) -> str | None:
    """A name for the signatures of all engines together, by engine; None when those of one are unknown. Verdicts are kept under it."""
    if not states or None in states.values():
        return None
    return hashlib.sha256(json.dumps(sorted(states.items())).encode()).hexdigest()[:32]


def dump(verdict: Verdict) -> str:
    """A verdict as text, for the cache."""
    return json.dumps({"signature": verdict.signature, "engine": verdict.engine})


def load(text: str | bytes) -> Verdict | None:
    """The verdict of a text; None for anything that `dump` does not write."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    match document:
        case {"signature": None, "engine": None}:
            return CLEAN
        case {"signature": str(signature), "engine": str(engine)} if signature and engine:
            return Verdict(signature, engine)
    return None
