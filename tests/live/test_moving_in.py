"""The configuration that Synapse itself makes is one that `init --from` takes over."""

import subprocess
from pathlib import Path

import pytest
import yaml

from app.settings import read_site
from tests.kustomize import ROOT
from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live


def test_the_homeserver_yaml_that_synapse_itself_makes_is_taken_over(tmp_path: Path) -> None:
    """What Synapse generates, with all that it says: read, and no secret of it is in the new file."""
    config = tmp_path / "homeserver.yaml"
    command = [synapse_python(), "-m", "synapse.app.homeserver", "--generate-config", "-c", str(config), "--server-name", "example.org"]
    subprocess.run([*command, "--report-stats", "no"], check=True, capture_output=True, timeout=60, cwd=tmp_path)
    init = [str(ROOT / ".venv" / "bin" / "python"), "-m", "app", "init", "--from", str(config), "--registry", "registry.example.com"]
    done = subprocess.run([*init, "--out", "site.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    site = read_site(tmp_path / "site.yaml")
    assert (site.server_name, site.features.federation, site.federation.key_servers) == ("example.org", True, ("matrix.org",))
    said = yaml.safe_load(config.read_text())
    for name in ("macaroon_secret_key", "form_secret", "registration_shared_secret", "signing_key_path", "database"):
        assert f": {name}: " in done.stdout
    for name in ("macaroon_secret_key", "form_secret", "registration_shared_secret"):
        assert said[name] not in done.stdout + done.stderr + (tmp_path / "site.yaml").read_text()
