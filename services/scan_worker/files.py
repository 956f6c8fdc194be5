"""Files that are read again when they have changed, so that a new Secret or ConfigMap counts without a restart."""

import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Watched(Generic[T]):
    """A file's content in a form. It is looked at whenever it is asked for; the file system's modification time and inode decide."""

    def __init__(self, path: Path, parse: Callable[[Path, str], T]) -> None:
        self._path, self._parse = path, parse
        self._seen: tuple[int, int] | None = None
        self._value: T | None = None

    def value(self) -> T:
        """The content. Raises ValueError that names the file and says what is wrong, and never quotes it.

        A file that was right and no longer is keeps its last content: a mistake in a ConfigMap must not stop the service.
        """
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._value = self._parse(self._path, self._path.read_text())
                self._seen = seen
        except (OSError, ValueError) as error:
            if self._value is None:
                reason = str(error) if type(error) is ValueError else type(error).__name__
                raise ValueError(reason if str(self._path) in reason else f"{self._path} cannot be read: {reason}") from None
            return self._value
        return cast(T, self._value)


def parse_tokens(path: Path, text: str) -> tuple[bytes, ...]:
    """One token a line: while a token is replaced, the old one and the new one. Digests, so that all are of one length."""
    tokens = [line.strip() for line in text.splitlines() if line.strip()]
    if not tokens or any(len(token) < 16 for token in tokens):
        raise ValueError(f"{path} must hold a token of 16 characters or more on each line")
    return tuple(hashlib.sha256(token.encode()).digest() for token in tokens)


def is_known(header: str, tokens: tuple[bytes, ...]) -> bool:
    """Whether an Authorization header has one of the tokens. It takes equally long for every wrong one."""
    scheme, _, token = header.partition(" ")
    digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
    known = [hmac.compare_digest(digest, one) for one in tokens]
    return scheme.lower() == "bearer" and any(known)


_DIGEST = re.compile(r"^[0-9a-f]{64}$")


def parse_allowed(path: Path, text: str) -> frozenset[str]:
    """SHA-256 of files that people have found to be harmless: one a line, in hexadecimal; `#` begins a comment."""
    allowed = set()
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip().lower()
        if entry and not _DIGEST.match(entry):
            raise ValueError(f"{path}, line {number}: write the SHA-256 of a file, 64 hexadecimal digits (sha256sum prints it)")
        if entry:
            allowed.add(entry)
    return frozenset(allowed)
