"""Questions to the scan workers and to Synapse's admin API, in threads of their own: nothing here may run in Synapse's reactor.

Only the standard library is used. Every wait ends at a deadline, a time of `time.monotonic()`.
"""

import enum
import hashlib
import http.client
import io
import json
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import frozen

from services.synapse_antivirus.configuration import Quarantine, Settings

_BLOCK = 256 * 1024
_LARGEST_ANSWER = 64 * 1024
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0


class Reason(enum.StrEnum):
    """Why there is no verdict."""

    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    """No scan worker has answered in time, or none of their engines could tell."""
    MISCONFIGURED = "misconfigured"
    """The scan worker refuses the token, or the question."""


class NoVerdictError(Exception):
    """Nobody can tell whether the file is clean. Its text holds neither content nor tokens."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@frozen
class Verdict:
    """What the scan workers say: the signature that was found, None for a clean file."""

    signature: str | None
    sha256: str


@frozen
class _Answer:
    status: int
    retry_after: float
    body: dict[str, Any]


def verdict_of(settings: Settings, file: io.BufferedReader, deadline: float) -> Verdict:
    """Have a file scanned, which stays open. First its digest is asked for: what is known needs no second scan. Raises NoVerdictError.

    Scan workers that are busy are waited for until the deadline, those of which no engine can tell for as long as patience lasts.
    """
    size = file.seek(0, 2)
    if size > settings.max_bytes:
        raise NoVerdictError(Reason.TOO_LARGE, f"{size} bytes")
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    pause, detail, ask = _FIRST_PAUSE_SECONDS, "no time", True
    patience = time.monotonic() + settings.patience_seconds
    while True:
        try:
            answer = _ask(settings, f"/v1/verdicts/{sha256}", None, 0, deadline) if ask else None
            if answer is None or answer.status == 404:
                ask = False
                file.seek(0)
                answer = _ask(settings, "/v1/scan", file, size, deadline)
            if answer.status == 200:
                return _verdict(answer.body, sha256)
            detail = f"status {answer.status} {answer.body.get('code', '')}".rstrip()
            if answer.status == 413:
                raise NoVerdictError(Reason.TOO_LARGE, f"{size} bytes")
            if answer.status in (400, 401, 403, 405, 415):
                raise NoVerdictError(Reason.MISCONFIGURED, detail)
            if answer.body.get("code") == "busy":
                patience = time.monotonic() + settings.patience_seconds
            wait = max(pause, min(answer.retry_after, _LONGEST_PAUSE_SECONDS))
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail, wait = type(error).__name__, pause
        if time.monotonic() + wait >= min(deadline, patience):
            raise NoVerdictError(Reason.UNAVAILABLE, f"the last try ended with {detail}")
        time.sleep(wait * random.uniform(0.5, 1.0))  # so that those who were turned away do not all come back at once
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _verdict(body: dict[str, Any], sha256: str) -> Verdict:
    match body:
        case {"verdict": "clean", "sha256": digest} if digest == sha256:
            return Verdict(None, sha256)
        case {"verdict": "infected", "sha256": digest, "signature": str(signature)} if digest == sha256 and signature:
            return Verdict(signature, sha256)
    # The digest proves that the scan worker has had the whole file and no other.
    raise ValueError("an answer that is no verdict on this file")


def _first_line(path: Path) -> str:
    lines = path.read_text().split()
    if not lines:
        raise NoVerdictError(Reason.MISCONFIGURED, f"{path} is empty")
    return lines[0]


def _token(path: Path) -> str:
    # It is read each time, so that a new token counts without a restart.
    try:
        return _first_line(path)
    except (OSError, UnicodeDecodeError) as error:
        raise NoVerdictError(Reason.MISCONFIGURED, f"{path} cannot be read: {type(error).__name__}") from None


def _ask(settings: Settings, path: str, file: io.BufferedReader | None, size: int, deadline: float) -> _Answer:
    return _request(settings.url + path, "GET" if file is None else "POST", _token(settings.token_file), file, size, deadline)


def _request(url: str, method: str, token: str, file: io.BufferedReader | None, size: int, deadline: float) -> _Answer:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_left(deadline))
    try:
        connection.putrequest(method, parts.path, skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Connection", "close")
        if method == "POST":
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(size))
        connection.endheaders()
        try:
            while file is not None and (block := file.read(_BLOCK)):
                connection.sock.settimeout(_left(deadline))
                connection.send(block)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever hangs up early has answered early: perhaps the answer can still be read
        connection.sock.settimeout(_left(deadline))
        response = connection.getresponse()
        text = response.read(_LARGEST_ANSWER)
        retry_after = response.headers.get("Retry-After", "")
        try:
            body = json.loads(text)
        except ValueError:
            body = {}
        return _Answer(response.status, float(retry_after) if retry_after.isdigit() else 0.0, body if isinstance(body, dict) else {})
    finally:
        connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def quarantine(settings: Quarantine, server_name: str, media_id: str, deadline: float) -> bool:
    """Quarantine a file, and look whether it is. False when that could not be done in time.

    A file is scanned while Synapse is still writing its row of the database: until that is there, nothing is quarantined.
    """
    media = f"{quote(server_name, safe='')}/{quote(media_id, safe='')}"
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            token = _token(settings.token_file)
            admin = f"{settings.admin_url}/_synapse/admin/v1/media"
            _request(f"{admin}/quarantine/{media}", "POST", token, None, 0, deadline)
            seen = _request(f"{admin}/{media}", "GET", token, None, 0, deadline)
            match seen.body:
                case {"media_info": {"quarantined_by": str(_)}} if seen.status == 200:
                    return True
        except (OSError, http.client.HTTPException, NoVerdictError):
            pass
        if time.monotonic() + pause >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
