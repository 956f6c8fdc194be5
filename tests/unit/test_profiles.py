"""A profile of one's own that is wrong is refused in words: the field, what is there, and what to write."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import overlays
from kit.quantities import Bytes, mib
from overlays import ProfileError, profiles
from overlays.profile import HAProxySize, RedisSize

SMALLEST = profiles()[0]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"redis": RedisSize(servers="3", memory=mib(64))}, "redis.servers: '3' is str, where a whole number is needed"),  # type: ignore[arg-type]
    ({"redis": RedisSize(servers=3, memory="64Mi")}, "redis.memory: '64Mi' is str, where an amount such as gib(4) is needed"),  # type: ignore[arg-type]
    ({"haproxy": HAProxySize(0, SMALLEST.haproxy.resources)}, "haproxy.replicas: 0 is nothing; give more than 0"),
    ({"synapse": None}, "synapse: None is NoneType, where SynapseSize is needed"),
    ({"postgresql": evolve(SMALLEST.postgresql, wal=Bytes(0))}, "postgresql.wal: 0 is nothing"),
    ({"synapse": evolve(SMALLEST.synapse, cache_factor=True)}, "synapse.cache_factor: True is bool, where a number is needed"),
    (
        {"synapse": evolve(SMALLEST.synapse, workers=evolve(SMALLEST.synapse.workers, extra={"pusher": -1}))},
        "synapse.workers.extra['pusher']: -1 is no number of instances",
    ),
    ({"concurrent_users": -5}, "concurrent_users: -5 is nothing"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message.split(":")[0] for _, message in WRONG])
def test_a_number_that_cannot_be_is_refused_by_its_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError) as error:
        evolve(SMALLEST, **change)
    assert str(error.value).startswith(message)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where profiles are looked for."""
    monkeypatch.setattr(overlays, "__path__", [str(tmp_path)])
    profiles.cache_clear()
    return tmp_path


def test_a_file_whose_name_is_no_profiles_is_not_passed_over(folder: Path) -> None:
    (folder / "my_size.py").write_text("")
    try:
        with pytest.raises(ProfileError, match=r"overlays/my_size\.py: is no profile by its name; call it ccu_<users>\.py, or remove it"):
            profiles()
    finally:
        profiles.cache_clear()
