"""What may be away before PostgreSQL stops: by the operator's own arithmetic, for every number of instances, as the guide says."""

import pytest

from infrastructure.postgresql.size import PostgresSize
from kit.quantities import cores, gib
from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules.postgresql import promoted, written

NUMBERS = range(2, 8)


def acknowledging(instances: int) -> int:
    return PostgresSize(instances, cpu=cores(1), memory=gib(1), storage=gib(1), wal=gib(1), max_connections=1).acknowledging


def away_beside_the_primary(instances: int) -> int:
    """How many standbys may be away for another to be promoted."""
    return max(away for away in range(instances) if promoted(instances, acknowledging(instances), away))


def away_while_written(instances: int) -> int:
    """How many standbys may be away for commits to go on."""
    return max(away for away in range(instances) if written(instances, acknowledging(instances), away))


@pytest.mark.parametrize("instances", NUMBERS)
def test_the_loss_of_the_primary_alone_is_always_answered(instances: int) -> None:
    assert promoted(instances, acknowledging(instances), away=0)


def test_another_instance_never_makes_it_likelier_to_stop() -> None:
    assert [away_beside_the_primary(instances) for instances in NUMBERS] == [0, 0, 1, 1, 2, 2]
    assert [away_while_written(instances) for instances in NUMBERS] == [0, 1, 1, 2, 2, 3]


def test_with_one_acknowledgement_a_fourth_instance_would() -> None:
    """All three standbys would have to be there."""
    assert promoted(4, 1, away=0)
    assert not promoted(4, 1, away=1)


def test_the_guide_has_the_table() -> None:
    guide = (ROOT / "docs" / "02-SCALING-GUIDE.md").read_text()
    for instances in (2, 3, 4):
        waits = "all: it goes on alone" if instances == 2 else away_while_written(instances)
        assert f"| {instances} | {acknowledging(instances)} | {away_beside_the_primary(instances)} | {waits} |" in guide
    assert {profile.postgresql.instances for profile in profiles()} == {2, 3, 4}
