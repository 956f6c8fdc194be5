"""The antivirus images are made of what the tests have run."""

import base64
import re
import sys
from pathlib import Path

import pytest

from antivirus.content_scanner.component import KEY
from kit.secrets import Composed, RandomText
from services.scan_worker import clamd
from services.signature_mirror import publication

SERVICES = Path(__file__).parents[2] / "services"
SCAN_WORKER = (SERVICES / "scan_worker" / "Containerfile").read_text()
SYNAPSE = (SERVICES / "synapse" / "Containerfile").read_text()


@pytest.mark.parametrize(
    ("text", "package"), [(SCAN_WORKER, "scan_worker"), (SCAN_WORKER, "signature_mirror"), (SYNAPSE, "synapse_antivirus")]
)
def test_an_image_has_all_files_of_a_program(text: str, package: str) -> None:
    copied = re.findall(rf"{package}/(\S+)", " ".join(line for line in text.splitlines() if line.startswith("COPY")))
    patterns = [one for one in copied if "." in one and "requirements" not in one]
    ours = {path.name for path in (SERVICES / package).iterdir() if path.is_file() and path.suffix not in (".lock", ".md", "")}
    assert ours == {path.name for pattern in patterns for path in (SERVICES / package).glob(pattern)}


def test_the_key_of_the_content_scanner_is_32_bytes() -> None:
    length, form = KEY["random"], KEY["key"]
    assert isinstance(length, RandomText)
    assert isinstance(form, Composed)
    assert len(base64.b64decode(form.template.replace("{random}", "x" * length.length), validate=True)) == 32


def test_every_package_of_a_lock_is_pinned_by_hash() -> None:
    for name in ("scan_worker", "content_scanner"):
        text = (SERVICES / name / "requirements.lock").read_text()
        entries = re.findall(r"^([a-z0-9-]+)==\S+(?: ;[^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, flags=re.MULTILINE)
        assert len(entries) == len(re.findall(r"^[a-z0-9-]+==", text, flags=re.MULTILINE)) > 10


def test_the_mirror_and_the_scan_worker_mean_the_same_probe() -> None:
    assert publication.PROBE == clamd.PROBE


def test_the_synapse_module_imports_nothing_that_synapse_does_not_bring() -> None:
    brought = {"attrs", "prometheus_client", "synapse", "twisted", "services"}
    for path in (SERVICES / "synapse_antivirus").glob("*.py"):
        imported = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), flags=re.MULTILINE))
        assert imported <= brought | set(sys.stdlib_module_names)
        if path.name in ("client.py", "configuration.py"):
            assert not imported & {"synapse", "twisted"}
