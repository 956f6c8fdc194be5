"""What the image adds to Synapse is what the S3 storage provider and the bucket program need and Synapse does not bring."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live

LOCK = Path(__file__).parents[2] / "services" / "synapse" / "requirements.lock"

# All that a package needs, by way of others too, whether or not it is installed.
NEEDS = """
import json, sys
from importlib.metadata import PackageNotFoundError, requires
from packaging.requirements import Requirement

def needs(name, extras, seen):
    try:
        stated = map(Requirement, requires(name) or [])
    except PackageNotFoundError:
        return seen
    for requirement in stated:
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        key = requirement.name.lower().replace("_", "-")
        if key not in seen:
            needs(key, requirement.extras, seen.add(key) or seen)
    return seen

wanted = set()
for name in sys.argv[1:]:
    wanted.add(name)
    needs(name, (), wanted)
print(json.dumps(sorted(wanted - needs("matrix-synapse", ("all",), set()))))
"""

ADDED_FOR = ("synapse-s3-storage-provider", "minio")


def test_the_lock_names_all_that_is_needed_and_nothing_that_synapse_brings() -> None:
    done = subprocess.run([synapse_python(), "-c", NEEDS, *ADDED_FOR], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), flags=re.MULTILINE)) == json.loads(done.stdout)


def test_login_by_a_directory_comes_with_synapse() -> None:
    brought = (
        "from importlib.metadata import requires; print([r for r in requires('matrix-synapse') if r.startswith('matrix-synapse-ldap3')])"
    )
    done = subprocess.run([synapse_python(), "-c", brought], capture_output=True, text=True, timeout=60, check=True)
    assert "extra == 'all'" in done.stdout


def test_the_provider_fits_this_synapse() -> None:
    check = "from s3_storage_provider import S3StorageProviderBackend as S3; print(S3.parse_config({'bucket': 'media'})['bucket'])"
    done = subprocess.run([synapse_python(), "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "media\n"), done.stderr
