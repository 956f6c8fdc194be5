"""Find what looks like a secret in text: the last line of defence of `dist/`, which must never hold one.

General scanners look at source code; in configuration files they miss a homeserver's signing key, `requirepass VALUE`, `NAME=VALUE`
and the `name`/`value` pairs of containers, and take names of Secrets for values. So these are rules for what stands in such files.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from attrs import frozen


@frozen
class Finding:
    """A place that looks like a secret. The value is not told: findings are printed in logs."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def find_secrets(files: Mapping[str, str | bytes]) -> tuple[Finding, ...]:
    """What looks like a secret in these files (path to content), in the order of the files."""
    return tuple(
        Finding(path, line, what)
        for path, content in files.items()
        for line, what in _scan(content if isinstance(content, str) else content.decode(errors="replace"), program=path.endswith(".py"))
    )


_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_BASE64_OF_PEM = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]*")  # "-----BEGIN"
_SIGNING_KEY = re.compile(r"\bed25519 [A-Za-z0-9_]+ [A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_JSON_WEB_TOKEN = re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}")
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@'\"]*:([^/\s@'\"]+)@")

# A verify key is public, and a digest says nothing of what it was made from.
_PUBLIC = re.compile(
    r"ed25519:\w+['\"]?\s*:\s*\{?\s*['\"]?key['\"]?\s*:\s*['\"]?[A-Za-z0-9+/]{43}|\b(sha256|sha384|sha512)[:-][A-Za-z0-9+/=]+"
)

_SECRET_WORD = re.compile(
    r"secret|token|pass(word|wd|phrase)|(^|[_\W])pass([_\W]|$)|requirepass|masterauth|credential|macaroon|pepper"
    r"|(api|access|private|signing|shared|encryption|auth)[_-]?key",
    re.IGNORECASE,
)
_RUN = re.compile(r"[A-Za-z0-9+]{16,}")

# A key that can only name a password, and the literal beside it: even a weak one has no place here.
_ASSIGNED_PASSWORD = re.compile(r"""(?:password|passwd|passphrase|_pass)["']?\s*[:=]\s*["']?([^\s"',}\]]+)""", re.IGNORECASE)
_REDIS_PASSWORD = re.compile(r"""\b(?:requirepass|masterauth|auth-pass\s+\S+)\s+["']?([^\s"',]+)""", re.IGNORECASE)
_NO_LITERAL = re.compile(r"[$%{<|>/&*\[#]|(?:true|false|null|none|yes|no|~)$", re.IGNORECASE)

_SECRET_OBJECT = re.compile(r"(kind: Secret\s*$)|(?:data|stringData):")
_PAIR_NAME = re.compile(r"^\s*(?:-\s+)?name:\s*(\S+)\s*$")
_PAIR_VALUE = re.compile(r"^\s*value:\s*(\S.*)$")


def _scan(text: str, *, program: bool) -> Iterator[tuple[int, str]]:
    before = ""
    seen: set[str] = set()  # of the document: whether it is a Secret, whether it has values
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("---"):
            seen = set()
        elif found := _SECRET_OBJECT.match(line):
            seen.add("kind" if found[1] else "values")
            if len(seen) == 2:
                yield number, "a Secret with values"
        # A container's environment variable is a name in one line and its value in the next.
        name, value = _PAIR_NAME.match(before), _PAIR_VALUE.match(line)
        if what := _look_at(f"{name[1]}: {value[1]}" if name and value else line, program):
            yield number, what
        before = line


def _look_at(line: str, program: bool) -> str | None:
    if _PRIVATE_KEY.search(line) or any(b"PRIVATE KEY" in _decoded(found) for found in _BASE64_OF_PEM.findall(line)):
        return "a private key"
    if _SIGNING_KEY.search(line):
        return "a signing key"
    if _JSON_WEB_TOKEN.search(line):
        return "a JSON web token"
    if any(not _NO_LITERAL.match(password) for password in _URL_PASSWORD.findall(line)):
        return "a URL with a password"
    if _SECRET_WORD.search(line) and any(map(_looks_random, _RUN.findall(_PUBLIC.sub("", line)))):
        return "a random value beside a word for secrets"
    if not program and any(not _NO_LITERAL.match(value) for value in _passwords(line)):
        return "a password"
    return None


def _passwords(line: str) -> list[str]:
    if line.lstrip().startswith(("#", ";", "//")):
        return []  # prose
    return _ASSIGNED_PASSWORD.findall(line) + _REDIS_PASSWORD.findall(line)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text[: len(text) // 4 * 4])


def _looks_random(run: str) -> bool:
    """Whether letters and digits change places as they do by chance, and not as they do in names.

    Names, even those in camel case, change between lower case, upper case and digits in about a quarter of their places.
    """
    classes = ["digit" if c.isdigit() else "upper" if c.isupper() else "lower" for c in run]
    changes = [pair for pair in pairwise(classes) if pair[0] != pair[1]]
    of_digits = sum("digit" in pair for pair in changes)
    return of_digits >= 3 or len(changes) >= (0.33 if "digit" in classes else 0.45) * len(run)
