"""Every option of Synapse that the documents or the platform name is one that Synapse reads."""

import re
import subprocess

import pytest

from app.documents.synapse_options import BY_DOOR, BY_OPTION, BY_SECRET, OF_THE_PLATFORM
from main_instance.synapse.configuration import USE
from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live

SOURCE = (
    "import pathlib, synapse.config; print('\\n'.join(p.read_text() for p in pathlib.Path(synapse.config.__file__).parent.glob('*.py')))"
)


def test_synapse_knows_every_option_that_is_named() -> None:
    source = subprocess.run([synapse_python(), "-c", SOURCE], capture_output=True, text=True, timeout=60, check=True).stdout
    names = {*BY_OPTION, *BY_DOOR, *BY_SECRET, *OF_THE_PLATFORM, *(name.partition(".")[0] for name in USE)}
    assert {name for name in names if not re.search(rf"[\"']{name}[\"'.]", source)} == set()
