"""What a homeserver signed before its signing key changed can still be verified, with what Synapse reads of the rendered configuration."""

import base64
import json
import subprocess
from typing import Any

import pytest
import signedjson.key
import signedjson.sign
import yaml

from app.compiler import render
from app.settings import parse_site
from overlays import profiles
from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live

# Run by the Python that has Synapse. The first argument is the rendered configuration, the second a signed object.
VERIFY = """
import json, sys, yaml
from signedjson.sign import verify_signed_json
from synapse.config.key import KeyConfig

keys = KeyConfig(None).read_old_signing_keys(yaml.safe_load(sys.argv[1]).get("old_signing_keys"))
signed = json.loads(sys.argv[2])
for key in keys.values():
    verify_signed_json(signed, "example.com", key)
print(json.dumps({name: key.expired for name, key in keys.items()}))
"""


def verify(homeserver: str, signed: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [synapse_python(), "-c", VERIFY, homeserver, json.dumps(signed)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def configuration(key: signedjson.types.SigningKey) -> str:
    """homeserver.yaml of a site that has had this key, until the first second of 2026."""
    public = base64.b64encode(key.verify_key.encode()).decode().rstrip("=")
    site = {
        "server_name": "example.com",
        "images": {"registry": "registry.example.com/matrix"},
        "old_signing_keys": {f"ed25519:{key.version}": f"{public} until 2026-01-01T00:00:00Z"},
    }
    return render(parse_site(yaml.safe_dump(site)), profiles()[0]).files["config/synapse/homeserver.yaml"]


def test_an_event_that_an_old_key_signed_is_verified() -> None:
    old = signedjson.key.generate_signing_key("a_Old1")
    signed = signedjson.sign.sign_json({"type": "m.room.message"}, "example.com", old)
    run = verify(configuration(old), signed)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"ed25519:a_Old1": 1_767_225_600_000}


def test_an_event_that_another_key_signed_is_not() -> None:
    old, another = signedjson.key.generate_signing_key("a_Old1"), signedjson.key.generate_signing_key("a_Old1")
    run = verify(configuration(old), signedjson.sign.sign_json({"type": "m.room.message"}, "example.com", another))
    assert run.returncode != 0
    assert "Unable to verify signature" in run.stderr
