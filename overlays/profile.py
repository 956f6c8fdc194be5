"""What a scaling profile is: for each component the numbers that make one size of the platform."""

from collections.abc import Iterator, Mapping
from typing import cast, get_origin

from attrs import AttrsInstance, fields, frozen

from antivirus.size import AntivirusSize
from infrastructure.object_storage.size import ErasureSize
from infrastructure.postgresql.size import PostgresSize
from infrastructure.redis.size import RedisSize
from kit.quantities import Bytes, Cpu
from li_instance.synapse.size import SynapseLiSize
from main_instance.coturn.size import CoturnSize
from main_instance.haproxy.size import HAProxySize
from main_instance.livekit.size import LiveKitSize
from main_instance.synapse.size import Connections, SynapseSize, Workers
from monitoring.loki.size import LogsSize
from monitoring.size import MonitoringSize

__all__ = [
    "AntivirusSize",
    "Connections",
    "CoturnSize",
    "Envelope",
    "ErasureSize",
    "HAProxySize",
    "LiveKitSize",
    "LogsSize",
    "MonitoringSize",
    "PostgresSize",
    "Profile",
    "ProfileError",
    "RedisSize",
    "SynapseLiSize",
    "SynapseSize",
    "Workers",
]

POOL_SHARE = 0.85
"""The share of max_connections that Synapse's pools may take: the rest is for replication, backups, the operator and a person with psql."""


class ProfileError(ValueError):
    """A profile breaks a rule of the software that it sizes."""


@frozen
class Envelope:
    """What the whole platform may request of the cluster."""

    cpu: Cpu
    memory: Bytes
    storage: Bytes


@frozen
class Profile:
    """One size of the platform. Breaking a rule of the software raises ProfileError with the reason."""

    concurrent_users: int
    postgresql: PostgresSize
    postgresql_li: PostgresSize
    redis: RedisSize
    minio: ErasureSize
    minio_li: ErasureSize
    minio_backups: ErasureSize
    synapse: SynapseSize
    synapse_li: SynapseLiSize
    haproxy: HAProxySize
    livekit: LiveKitSize
    coturn: CoturnSize
    antivirus: AntivirusSize
    monitoring: MonitoringSize
    logs: LogsSize
    envelope: Envelope

    @property
    def name(self) -> str:
        """As in `dist/overlays/10000-ccu`."""
        return f"{self.concurrent_users}-ccu"

    def __attrs_post_init__(self) -> None:
        if mistakes := list(_mistakes(self, "")):
            raise ProfileError("\n".join(mistakes))
        sizes: dict[str, RedisSize | ErasureSize] = {
            "redis": self.redis,
            "minio": self.minio,
            "minio_li": self.minio_li,
            "minio_backups": self.minio_backups,
        }
        reasons = [f"profile {self.name}: {name}.{reason}" for name, size in sizes.items() for reason in size.refusals()]
        if reasons:
            raise ProfileError("\n".join(reasons))

    def check_connections(self, processes: int, wanted: int) -> None:
        """Refuse pools that together exceed what PostgreSQL accepts. `wanted`: of all Synapse processes, autoscaled ones at their ceiling."""
        most = int(POOL_SHARE * self.postgresql.max_connections)
        if wanted > most:
            raise ProfileError(
                f"{processes} Synapse processes (autoscaled ones at their ceiling) want {wanted} connections, and {POOL_SHARE:.0%} of "
                f"max_connections={self.postgresql.max_connections} is {most}: raise postgresql.max_connections or lower synapse.connections"
            )


def _mistakes(size: object, path: str) -> Iterator[str]:
    """What is of another type than its field, and numbers below one, in a size and all that is in it."""
    for field in fields(cast("type[AttrsInstance]", type(size))):
        value, wanted, name = getattr(size, field.name), field.type, f"{path}{field.name}"
        if wanted is float:
            wanted = int | float
        if get_origin(wanted) in (Mapping, None) and isinstance(value, Mapping):
            yield from (f"{name}[{key!r}]: {count!r} is no number of instances" for key, count in value.items() if not _positive(count))
        elif not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            yield f"{name}: {value!r} is {type(value).__name__}, where {_called(wanted)} is needed"
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int | float | Bytes | Cpu):
            if not _positive(value.count if isinstance(value, Bytes) else value.millicores if isinstance(value, Cpu) else value):
                yield f"{name}: {value} is nothing; give more than 0"
        else:
            yield from _mistakes(value, f"{name}.")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _called(wanted: object) -> str:
    """What to write for a type."""
    examples = {Bytes: "an amount such as gib(4)", Cpu: "an amount such as millicores(500)", int: "a whole number", bool: "True or False"}
    return examples.get(wanted, "a number" if wanted == int | float else getattr(wanted, "__name__", str(wanted)))  # type: ignore[call-overload, no-any-return]
