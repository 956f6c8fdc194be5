"""The audit log as data: a chain of hashes over entries in canonical JSON (RFC 8785), and what proves that it is whole.

A link is `{"content": H(content), "previous": H(link before), "sequence": n}`, its hash is that of its canonical JSON. The content stands beside the
link and not in it: so the entries of one case can be handed over with proof that they stand in the chain, without showing those of others.
Each content has a salt, or a short one could be guessed from its digest.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import rfc8785
from attrs import frozen

GENESIS = "0" * 64
"""What stands for the hash before the first entry."""
HEAD_MARK = "audit-head"
"""The word by which published heads are found in a log."""


@frozen
class Head:
    """The newest entry: its number, from 1 on, and its hash. The empty log's is `Head(0, GENESIS)`."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read what `str` writes. Raises ValueError for anything else."""
        sequence, _, digest = text.strip().partition(":")
        if not (sequence.isascii() and sequence.isdigit() and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            raise ValueError(f"{text[:100]!r} is no head: give SEQUENCE:HASH")
        return cls(int(sequence), digest)


EMPTY = Head(0, GENESIS)


@frozen
class Entry:
    """One entry: canonical JSON, the hash of the entry before it, and its own."""

    sequence: int
    content: str
    previous: str
    hash: str

    @property
    def head(self) -> Head:
        """The head of a log that ends here."""
        return Head(self.sequence, self.hash)

    def document(self) -> dict[str, Any]:
        """The content, read."""
        document: dict[str, Any] = json.loads(self.content)
        return document


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785). Raises ValueError for what has none: other types, numbers beyond 2**53, text that is not Unicode."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"has no canonical form: {type(error).__name__}") from None


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def link_hash(sequence: int, previous: str, content_digest: str) -> str:
    """The hash of a link. The database computes it too (migrations/0002)."""
    return digest(canonical({"content": content_digest, "previous": previous, "sequence": sequence}))


def timestamp(moment: datetime) -> str:
    """A moment as all documents here write it: UTC, to the microsecond, e.g. 2026-01-31T23:59:59.123456Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def next_entry(head: Head, moment: datetime, event: str, fields: Mapping[str, Any]) -> Entry:
    """The entry that follows a head. Raises ValueError for fields without a canonical form."""
    content = canonical({"event": event, "salt": secrets.token_hex(16), "time": timestamp(moment), **fields})
    sequence = head.sequence + 1
    return Entry(sequence, content.decode("utf-8"), head.hash, link_hash(sequence, head.hash, digest(content)))


def problem(entry: Entry, before: Head) -> str | None:
    """What is wrong with an entry that should follow `before`, or None."""
    if entry.sequence != before.sequence + 1:
        return f"entry {before.sequence + 1} is missing: entry {entry.sequence} follows entry {before.sequence}"
    if entry.previous != before.hash:
        return f"entry {entry.sequence} does not follow the entry before it: its previous hash is another"
    if entry.hash != link_hash(entry.sequence, entry.previous, digest(entry.content.encode("utf-8"))):
        return f"entry {entry.sequence} has been changed: its hash is another"
    try:
        canonical_form = canonical(json.loads(entry.content)) == entry.content.encode("utf-8")
    except (ValueError, RecursionError):
        canonical_form = False
    return None if canonical_form else f"entry {entry.sequence} is not canonical JSON"


class BrokenChainError(Exception):
    """The log is not whole. The message says where."""


def verify(entries: Iterable[Entry], published: Iterable[Head] = ()) -> Iterator[Entry]:
    """Hand on each entry that is as it was written, in order. Raises BrokenChainError at the first that is not, and at the end for what is cut off.

    `published`: heads that were seen earlier, in any order, which the chain has to contain. Only they show that it was cut off or made anew.
    """
    expected: dict[int, str] = {}
    for head in published:
        if expected.setdefault(head.sequence, head.hash) != head.hash:
            raise BrokenChainError(f"two different heads were published for entry {head.sequence}: the log has been forked or made anew")
    before = EMPTY
    if expected.pop(0, GENESIS) != GENESIS:
        raise BrokenChainError("a head was published for entry 0, which there cannot be")
    for entry in entries:
        if wrong := problem(entry, before):
            raise BrokenChainError(wrong)
        if expected.pop(entry.sequence, entry.hash) != entry.hash:
            raise BrokenChainError(
                f"entry {entry.sequence} is not the one whose head was published: the log has been made anew from there or earlier"
            )
        before = entry.head
        yield entry
    if expected:
        raise BrokenChainError(
            f"the log ends at entry {before.sequence}, but heads were published up to entry {max(expected)}: it has been cut off"
        )


def published_heads(lines: Iterable[str]) -> Iterator[Head]:
    """The heads in the lines of a log, each behind the mark, whatever a log shipper has put around it."""
    for line in lines:
        _, mark, after = line.partition(HEAD_MARK)
        if mark:
            words = after.replace('"', " ").replace("\\", " ").split()
            if words:
                yield Head.parse(words[0])
