"""The image of the key vault is made of what the tests have run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"
CONTAINERFILE = (SERVICES / "key_vault" / "Containerfile").read_text()
IN_THE_IMAGE = ("key_deposit/__init__.py", "key_deposit/envelope.py")


def entries(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Package name to its version and hashes."""
    blocks = re.findall(r"^([a-z0-9-]+)==(\S+) .*\n((?:    .*\n)+)", lock.read_text(), flags=re.MULTILINE)
    return {name: (version, frozenset(re.findall(r"sha256:[0-9a-f]{64}", rest))) for name, version, rest in blocks}


TESTED = entries(ROOT / "requirements" / "dev.lock")
SHIPPED = entries(SERVICES / "key_vault" / "requirements.lock")


@pytest.mark.parametrize("package", sorted(SHIPPED))
def test_the_image_holds_the_very_files_that_the_tests_run(package: str) -> None:
    assert SHIPPED[package][1]
    assert SHIPPED[package] == TESTED[package]


def test_what_is_copied_into_the_image_is_all_that_the_vault_imports(tmp_path: Path) -> None:
    target = tmp_path / "services"
    (target / "key_deposit").mkdir(parents=True)
    for name in IN_THE_IMAGE:
        assert name in CONTAINERFILE
        (target / name).write_bytes((SERVICES / name).read_bytes())
    assert "COPY key_vault/ " in CONTAINERFILE
    subprocess.run(["cp", "-r", SERVICES / "key_vault", target], check=True)
    # This environment also has the repository on its path: nothing may have come from there.
    check = """
import importlib, os, pkgutil, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "services.key_vault.settings"
import django
django.setup()
import services.key_vault
for module in pkgutil.walk_packages(services.key_vault.__path__, "services.key_vault."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("services.") and module.__file__), sep="\\n")
"""
    (tmp_path / "password").write_text("x")
    database = {"KEY_VAULT_DATABASE_HOST": "nowhere", "KEY_VAULT_DATABASE_PASSWORD_FILE": f"{tmp_path}/password"}
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin", **database}
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    files = done.stdout.split()
    assert len(files) > 20
    assert [file for file in files if not file.startswith(str(tmp_path))] == []


def test_what_opens_envelopes_is_not_in_the_image() -> None:
    copied = re.findall(r"^COPY (.*)$", CONTAINERFILE, flags=re.MULTILINE)
    assert not any("open.py" in line or "key_deposit/ " in line or line.startswith(". ") for line in copied)
