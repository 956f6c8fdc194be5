"""The Synapse module's questions to scan workers that answer late, wrongly or not at all: each ends in time, and none ends in `clean`."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.synapse_antivirus import client
from services.synapse_antivirus.client import NoVerdictError, Reason, Verdict, quarantine, verdict_of
from services.synapse_antivirus.configuration import Quarantine, Settings
from tests.live.processes import LOOPBACK
from tests.live.servers import HttpHandler, serving

pytestmark = pytest.mark.live

Reply = tuple[int, object, dict[str, str]]
TOKEN = "a-token-of-the-live-tests"
CONTENT = b"a file" * 100_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UNKNOWN: Reply = (404, {"code": "unknown"}, {})


@contextmanager
def scan_worker(answer: Callable[[str, str, int], Reply]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers method, path and body's size; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(HttpHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            asked.append(f"{self.command} {self.path.split('?')[0]}")
            status, body, headers = (
                answer(self.command, self.path, size) if self.headers["Authorization"] == f"Bearer {TOKEN}" else (401, {}, {})
            )
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            with contextlib.suppress(OSError):
                self.answer(status, text, headers)

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

    with serving(Handler) as port:
        yield f"http://{LOOPBACK}:{port}", asked


def ask(folder: Path, url: str, seconds: float = 1.5, patience: float = 20, max_bytes: int = 10_000_000) -> Verdict:
    (folder / "token").write_text(TOKEN)
    (folder / "file").write_bytes(CONTENT)
    with (folder / "file").open("rb") as file:
        return verdict_of(Settings(url, folder / "token", max_bytes, patience_seconds=patience), file, time.monotonic() + seconds)


CLEAN: Reply = (200, {"verdict": "clean", "sha256": SHA256}, {})
INFECTED: Reply = (200, {"verdict": "infected", "sha256": SHA256, "signature": "Eicar"}, {})


@pytest.mark.parametrize(("reply", "signature"), [(CLEAN, None), (INFECTED, "Eicar")])
def test_what_is_known_is_not_sent_again(tmp_path: Path, reply: Reply, signature: str | None) -> None:
    with scan_worker(lambda *_: reply) as (url, asked):
        assert ask(tmp_path, url) == Verdict(signature, SHA256)
        assert asked == [f"GET /v1/verdicts/{SHA256}"]


@pytest.mark.parametrize(("reply", "signature"), [(CLEAN, None), (INFECTED, "Eicar")])
def test_what_is_unknown_is_sent_whole(tmp_path: Path, reply: Reply, signature: str | None) -> None:
    sizes: list[int] = []

    def answer(method: str, _: str, size: int) -> Reply:
        sizes.append(size)
        return reply if method == "POST" else UNKNOWN

    with scan_worker(answer) as (url, _):
        assert ask(tmp_path, url) == Verdict(signature, SHA256)
        assert sizes == [0, len(CONTENT)]


def test_who_is_turned_away_comes_back_with_the_whole_file(tmp_path: Path) -> None:
    replies: Iterator[Reply] = iter([UNKNOWN, (503, {"code": "busy"}, {"Retry-After": "1"}), CLEAN])
    with scan_worker(lambda *_: next(replies)) as (url, asked):
        begun = time.monotonic()
        assert ask(tmp_path, url, seconds=10).signature is None
        assert [line.split()[0] for line in asked] == ["GET", "POST", "POST"]
        assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((503, {"code": "no_verdict"}, {}), Reason.UNAVAILABLE),
        ((500, b"oops", {}), Reason.UNAVAILABLE),
        ((200, b"not JSON", {}), Reason.UNAVAILABLE),
        ((200, [], {}), Reason.UNAVAILABLE),
        ((200, {"verdict": "clean"}, {}), Reason.UNAVAILABLE),
        ((200, {"verdict": "clean", "sha256": "0" * 64}, {}), Reason.UNAVAILABLE),
        ((200, {"verdict": "probably", "sha256": SHA256}, {}), Reason.UNAVAILABLE),
        ((200, {"verdict": "infected", "sha256": SHA256}, {}), Reason.UNAVAILABLE),
        ((302, {}, {"Location": "http://elsewhere/"}), Reason.UNAVAILABLE),
        ((401, {"code": "unauthorized"}, {}), Reason.MISCONFIGURED),
        ((413, {"code": "too_large"}, {}), Reason.TOO_LARGE),
    ],
)
def test_any_other_answer_is_no_verdict(tmp_path: Path, reply: Reply, reason: Reason) -> None:
    with scan_worker(lambda method, *_: reply if method == "POST" else UNKNOWN) as (url, _):
        begun = time.monotonic()
        with pytest.raises(NoVerdictError) as error:
            ask(tmp_path, url)
        assert error.value.reason is reason
        assert TOKEN not in str(error.value)
        assert time.monotonic() - begun < 5


def test_while_no_engine_can_tell_patience_ends_long_before_a_queue_would(tmp_path: Path) -> None:
    no_verdict: Reply = (503, {"code": "no_verdict"}, {})
    with scan_worker(lambda method, *_: no_verdict if method == "POST" else UNKNOWN) as (url, _):
        begun = time.monotonic()
        with pytest.raises(NoVerdictError, match="no_verdict"):
            ask(tmp_path, url, seconds=60, patience=1)
        assert time.monotonic() - begun < 10


def test_a_queue_is_waited_for_longer_than_patience_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LONGEST_PAUSE_SECONDS", 0.5)
    until = time.monotonic() + 3

    def answer(method: str, *_: object) -> Reply:
        if method == "GET":
            return UNKNOWN
        return CLEAN if time.monotonic() > until else (503, {"code": "busy"}, {})

    with scan_worker(answer) as (url, _):
        assert ask(tmp_path, url, seconds=60, patience=1.5).signature is None


def test_a_scan_worker_that_never_answers_is_given_up_in_time(tmp_path: Path) -> None:
    never = threading.Event()

    def answer(*_: object) -> Reply:
        never.wait(10)
        return CLEAN

    with scan_worker(answer) as (url, _):
        begun = time.monotonic()
        with pytest.raises(NoVerdictError, match="unavailable"):
            ask(tmp_path, url)
        assert time.monotonic() - begun < 5
        never.set()


def test_nobody_there_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(NoVerdictError, match="unavailable: the last try ended with ConnectionRefusedError"):
        ask(tmp_path, f"http://{LOOPBACK}:1")


def test_files_over_the_limit_are_not_even_asked_about(tmp_path: Path) -> None:
    with scan_worker(lambda *_: CLEAN) as (url, asked):
        with pytest.raises(NoVerdictError, match="too_large"):
            ask(tmp_path, url, max_bytes=len(CONTENT) - 1)
        assert asked == []


def test_without_the_tokens_file_nobody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    with scan_worker(lambda *_: CLEAN) as (url, asked), (tmp_path / "file").open("rb") as file:
        with pytest.raises(NoVerdictError, match=r"misconfigured: .*none cannot be read: FileNotFoundError"):
            verdict_of(Settings(url, tmp_path / "none", 10_000_000), file, time.monotonic() + 2)
        assert asked == []


def test_a_quarantine_counts_when_synapse_shows_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    state = {"row": False, "tries": 0}

    def answer(method: str, _: str, __: int) -> Reply:
        if method == "POST":
            state["tries"] += 1
            state["row"] = state["tries"] > 1
            return 200, {}, {}
        return (200, {"media_info": {"quarantined_by": "@admin:x"}}, {}) if state["row"] else (404, {}, {})

    with scan_worker(answer) as (url, asked):
        assert quarantine(Quarantine(url, tmp_path / "token"), "example.org", "abc/../x", time.monotonic() + 5)
        assert asked[:2] == [
            "POST /_synapse/admin/v1/media/quarantine/example.org/abc%2F..%2Fx",
            "GET /_synapse/admin/v1/media/example.org/abc%2F..%2Fx",
        ]
        assert state["tries"] == 2
    assert not quarantine(Quarantine(f"http://{LOOPBACK}:1", tmp_path / "token"), "example.org", "abc", time.monotonic() + 0.5)
