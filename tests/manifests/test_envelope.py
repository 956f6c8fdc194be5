"""What a site requests fits the envelope of every size, whatever the site has on."""

from copy import deepcopy

import pytest

from app.compiler import render
from app.site import Site
from kit.quantities import Bytes, Cpu
from overlays import Profile, profiles
from tests.manifests.rules.budget import requested
from tests.manifests.rules.mutation import container
from tests.manifests.rules.objects import Objects


def beyond(profile: Profile, objects: Objects) -> list[str]:
    """What is requested beyond the envelope, in words."""
    used, envelope = requested(objects), profile.envelope
    sums = {
        "cpu": (used.cpu, _cores(envelope.cpu)),
        "memory": (used.memory, _count(envelope.memory)),
        "storage": (used.storage, _count(envelope.storage)),
    }
    return [f"{profile.name}: {what}: {wanted:g} of {most:g}" for what, (wanted, most) in sums.items() if wanted > most]


def _cores(cpu: Cpu) -> float:
    return cpu.millicores / 1000


def _count(amount: Bytes) -> float:
    return float(amount.count)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("name", ["site", "full_site", "other_site"])
def test_a_site_fits_the_envelope_of_every_size(name: str, profile: Profile, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(name)
    assert beyond(profile, [dict(manifest) for manifest in render(site, profile).manifests()]) == []


def test_a_component_that_is_too_large_with_everything_on_is_noticed(everything: Objects) -> None:
    smallest, broken = profiles()[0], deepcopy(everything)
    spare = smallest.envelope.memory.count - requested(everything).memory
    container(broken, "Deployment", "element-web")["resources"]["requests"]["memory"] = str(int(spare) + 2**26)
    assert [problem.split(": ")[:2] for problem in beyond(smallest, broken)] == [["100-ccu", "memory"]]
