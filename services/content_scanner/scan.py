#!/usr/bin/env python3
"""The script that matrix-content-scanner runs for each file: it hands the file to the scan workers.

Usage: scan.py FILE. It runs in that program's image, as a process of its own, and needs Python's standard library alone.
Environment: SCAN_WORKER_URL, SCAN_WORKER_TOKEN_FILE, SCAN_WORKER_SECONDS (90): the longest wait for scan workers that are busy.

Exit codes: 0 clean; 1 infected; 2 nobody can tell. matrix-content-scanner gives out a file for 0 alone.
"""

import hashlib
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

CLEAN, INFECTED, NO_VERDICT = 0, 1, 2

_BLOCK = 256 * 1024
_LARGEST_ANSWER = 64 * 1024
_LONGEST_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 20.0
"""The longest wait while no engine can tell: about as long as a clamd takes to start elsewhere."""


def _ask(url: str, token: str, file: BinaryIO, size: int, deadline: float) -> tuple[int, dict[str, object], float]:
    """Status, body, and the seconds after which to come back."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=max(deadline - time.monotonic(), 0.1))
    try:
        connection.putrequest("POST", f"{parts.path.rstrip('/')}/v1/scan")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size))
        connection.putheader("Connection", "close")
        connection.endheaders()
        try:
            while block := file.read(_BLOCK):
                connection.sock.settimeout(max(deadline - time.monotonic(), 0.1))
                connection.send(block)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever hangs up early has answered early
        connection.sock.settimeout(max(deadline - time.monotonic(), 0.1))
        response = connection.getresponse()
        body = json.loads(response.read(_LARGEST_ANSWER))
        after = response.headers.get("Retry-After", "")
        return response.status, body if isinstance(body, dict) else {}, float(after) if after.isdigit() else 0.0
    finally:
        connection.close()


def scan(path: Path, url: str, token: str, deadline: float) -> int:
    """Scan a file. Returns the exit code, and says on standard error why there is no verdict."""
    with path.open("rb") as file:
        sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        pause, reason, patience = 0.2, "no time", time.monotonic() + _PATIENCE_SECONDS
        while True:
            file.seek(0)
            wait = pause
            try:
                status, body, after = _ask(url, token, file, size, deadline)
                if status == 200 and body.get("sha256") == sha256:
                    match body.get("verdict"):
                        case "clean":
                            return CLEAN
                        case "infected":
                            print(f"infected: {body.get('signature')}, sha256 {sha256}", file=sys.stderr)
                            return INFECTED
                reason = f"status {status} {body.get('code', '')}".rstrip()
                if status in (400, 401, 403, 404, 413, 415):
                    break
                if body.get("code") == "busy":
                    patience = time.monotonic() + _PATIENCE_SECONDS
                wait = max(pause, min(after, _LONGEST_PAUSE_SECONDS))
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = type(error).__name__
            if time.monotonic() + wait >= min(deadline, patience):
                break
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    print(f"no verdict: {reason}", file=sys.stderr)
    return NO_VERDICT


def main() -> int:
    """Run the script. Returns its exit code."""
    try:
        deadline = time.monotonic() + float(os.environ.get("SCAN_WORKER_SECONDS", "90"))
        token = Path(os.environ["SCAN_WORKER_TOKEN_FILE"]).read_text().split()[0]
        return scan(Path(sys.argv[1]), os.environ["SCAN_WORKER_URL"], token, deadline)
    except Exception as error:
        # No message: it might quote the file or the token. Whatever goes wrong, the file is not clean.
        print(f"no verdict: {type(error).__name__}", file=sys.stderr)
        return NO_VERDICT


if __name__ == "__main__":
    sys.exit(main())
