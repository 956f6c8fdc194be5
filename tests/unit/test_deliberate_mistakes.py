"""Mistakes that a person could make in a worker record: for each there is a test, or a check of the record itself, that fails by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
SYNAPSE = "constructs/main_instance/synapse"
TESTS = ("tests/unit/test_worker_records.py", "tests/unit/test_synapse_topology.py")


@frozen
class Mistake:
    """A change of the sources, and what must be seen: part of the name of a test that fails, or of the error at the start."""

    name: str
    file: str
    before: str
    after: str
    seen: str


MISTAKES = [
    Mistake(
        "two types that write typing",
        f"{SYNAPSE}/workers.py",
        "writes=(Stream.PRESENCE,)",
        "writes=(Stream.PRESENCE, Stream.TYPING)",
        "test_every_stream_has_one_type_that_writes_it_and_every_duty_one_that_does_it",
    ),
    Mistake(
        "several instances that write typing",
        f"{SYNAPSE}/workers.py",
        'summary="Typing notifications.",\n    scaling=Scaling.SINGLE',
        'summary="Typing notifications.",\n    scaling=Scaling.SHARDED',
        "typing-persister: Synapse allows one writer of the stream typing",
    ),
    Mistake(
        "a stream that nobody writes",
        f"{SYNAPSE}/workers.py",
        "writes=(Stream.EVENTS,)",
        "writes=()",
        "test_every_stream_has_one_type_that_writes_it_and_every_duty_one_that_does_it",
    ),
    Mistake(
        "a missing route",
        f"{SYNAPSE}/workers.py",
        'routes=_routes(f"{_V}/sendToDevice/"),',
        'routes=_routes(f"{_V}/sendToDevices/"),',
        "test_a_request_goes_to_its_type[PUT-/_matrix/client/v3/sendToDevice/m.room.encrypted/m1--encryption]",
    ),
    Mistake(
        "a route that takes what belongs to others",
        f"{SYNAPSE}/workers.py",
        'f"{_ROOM_OLD}/(?:send|redact|state)/"',
        'f"{_ROOM_OLD}/(?:send|redact|state|receipt)/"',
        "test_only_the_two_synchrotrons_overlap",
    ),
    Mistake(
        "a writer that the instance map does not name",
        f"{SYNAPSE}/worker_type.py",
        "return bool(self.writes)",
        "return Stream.RECEIPTS not in self.writes and bool(self.writes)",
        "test_whoever_writes_a_stream_can_be_found_and_called",
    ),
    Mistake(
        "somebody who stands in for a writer",
        f"{SYNAPSE}/workers.py",
        'routes=_routes(f"{_V_OLD}/presence/"),',
        'routes=_routes(f"{_V_OLD}/presence/"),\n    fallback=MAIN,',
        "test_a_writers_requests_are_never_given_to_another_process[presence-writer]",
    ),
]


NAMED = sorted({mistake.seen.partition("[")[0] for mistake in MISTAKES if mistake.seen.startswith("test_")})


def run(folder: Path) -> str:
    """What pytest prints about the tests that are named above, in a copy of the repository. Empty if all of them pass."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=short",
        "-k",
        " or ".join(NAMED),
        *TESTS,
    ]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout + ran.stderr if ran.returncode else ""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, of which the constructs are a copy."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "constructs", folder / "constructs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app", "imports", "overlays", "services", "tests", "pyproject.toml", "site.yaml", "images.toml", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_records_as_they_are_pass(copy: Path) -> None:
    assert run(copy) == ""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_in_a_worker_record_is_noticed(mistake: Mistake, copy: Path) -> None:
    file = copy / mistake.file
    right = file.read_text()
    assert right.count(mistake.before) == 1, f"{mistake.file} no longer says {mistake.before!r} once"
    try:
        file.write_text(right.replace(mistake.before, mistake.after))
        assert mistake.seen in run(copy)
    finally:
        file.write_text(right)
