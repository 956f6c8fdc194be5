"""What a scaling profile is: the numbers that make one size of the platform."""

from collections.abc import Mapping
from functools import cached_property

from attrs import field, fields, frozen
from attrs.validators import ge

from kit.quantities import Bytes, Cpu, Resources

# The share of max_connections that Synapse's pools may take: the rest is for replication, backups, the operator and a person with psql.
POOL_SHARE = 0.85


class ProfileError(ValueError):
    """A profile breaks a rule of the software that it sizes."""


@frozen
class Workers:
    """Instances of each Synapse worker type.

    The types named here grow with the number of users; the others follow their kind: elastic ones get `others`, sharded ones
    `other_shards`, single ones are one.
    """

    synchrotron: int
    event_persister: int
    client_reader: int
    federation_sender: int
    media_repository: int
    federation_reader: int
    others: int
    other_shards: int = 1
    extra: Mapping[str, int] = field(factory=dict, hash=False)
    """Instances of any further type by name, where a site knows better."""

    @classmethod
    def named_fields(cls) -> tuple[str, ...]:
        """The fields that are numbers of instances."""
        return tuple(attribute.name for attribute in fields(cls) if attribute.name != "extra")

    @cached_property
    def named(self) -> dict[str, int]:
        """Worker type name to instances, for the types that are named."""
        names = [name for name in self.named_fields() if name not in {"others", "other_shards"}]
        return {name.replace("_", "-"): getattr(self, name) for name in names} | dict(self.extra)

    def count(self, name: str, scaling: str) -> int:
        """Instances of a worker type, by its name and by how it scales (`single`, `sharded` or `elastic`)."""
        return self.named.get(name, {"single": 1, "sharded": self.other_shards, "elastic": self.others}[scaling])

    def ceiling(self, instances: int) -> int:
        """To how many instances an autoscaler may grow an elastic type: half as many again, and any type up to the number of synchrotrons."""
        return max(instances + max(1, instances // 2), self.synchrotron)


@frozen
class PostgresSize:
    """One PostgreSQL cluster: `instances` is the primary and its standbys, the rest is for each of them."""

    instances: int = field(validator=ge(1))
    cpu: Cpu
    memory: Bytes
    storage: Bytes
    wal: Bytes
    max_connections: int


@frozen
class ErasureSize:
    """One MinIO tenant: `nodes` x `drives` volumes of `drive` bytes, of which any `parity` of an erasure set may be lost."""

    nodes: int
    drive: Bytes
    cpu: Cpu
    memory: Bytes
    drives: int = 2
    parity: int = 4

    @property
    def erasure_set(self) -> int:
        """Drives in one erasure set: MinIO takes the largest divisor from 2 to 16 that spreads evenly over the nodes."""
        total = self.nodes * self.drives
        fitting = [size for size in range(2, 17) if total % size == 0 and (size % self.nodes == 0 or self.nodes % size == 0)]
        return max(fitting, default=0)

    @property
    def raw(self) -> Bytes:
        """The sum of all volumes."""
        return self.drive * (self.nodes * self.drives)


@frozen
class ProcessSize:
    """One Synapse process of each load class, and what all of them share."""

    light: Resources
    medium: Resources
    heavy: Resources
    main: Resources
    database_connections: int
    """The most that one process opens (cp_max)."""
    cache_factor: float


@frozen
class ProxySize:
    """A HAProxy in front of Synapse or Redis."""

    replicas: int
    resources: Resources


@frozen
class CallSizes:
    """One LiveKit and one coturn. `relayed`: addresses that one coturn relays at a time, each on a port of its own; a call takes a few."""

    livekit: Resources
    coturn: Resources
    relayed: int = field(validator=ge(1))


@frozen
class Envelope:
    """What the whole platform may request of the cluster."""

    cpu: Cpu
    memory: Bytes
    storage: Bytes


@frozen
class Profile:
    """One size of the platform. Breaking a rule of the software raises ProfileError with the reason."""

    concurrent_users: int = field(validator=ge(1))
    postgresql: PostgresSize
    redis: int
    redis_memory: Bytes
    minio: ErasureSize
    minio_li: ErasureSize
    livekit: int
    calls: CallSizes
    workers: Workers
    synapse: ProcessSize
    haproxy: ProxySize
    envelope: Envelope

    @property
    def name(self) -> str:
        """As in `dist/overlays/10000-ccu`."""
        return f"{self.concurrent_users}-ccu"

    def __attrs_post_init__(self) -> None:
        reasons = [*_redis_rules(self.redis), *_erasure_rules("minio", self.minio), *_erasure_rules("minio_li", self.minio_li)]
        if reasons:
            raise ProfileError("\n".join(f"profile {self.name}: {reason}" for reason in reasons))

    def check_connections(self, processes: int) -> None:
        """Refuse pools that together exceed what PostgreSQL accepts. `processes`: all Synapse processes, autoscaled ones at their ceiling."""
        wanted, most = processes * self.synapse.database_connections, int(POOL_SHARE * self.postgresql.max_connections)
        if wanted > most:
            raise ProfileError(
                f"{processes} Synapse processes (autoscaled ones at their ceiling) with {self.synapse.database_connections} "
                f"connections each want {wanted}, and {POOL_SHARE:.0%} of max_connections={self.postgresql.max_connections} is {most}: "
                "raise postgresql.max_connections or lower synapse.database_connections"
            )


def _redis_rules(replicas: int) -> list[str]:
    if replicas < 3 or replicas % 2 == 0:
        return [f"redis={replicas}: Sentinels vote, so their number must be odd and at least 3"]
    return []


def _erasure_rules(name: str, size: ErasureSize) -> list[str]:
    if size.nodes < 4:
        return [f"{name}.nodes={size.nodes}: a distributed tenant that survives the loss of a node needs at least 4"]
    if size.parity > size.erasure_set // 2:
        return [
            f"{name}: EC:{size.parity} needs an erasure set of at least {2 * size.parity} drives, and {size.nodes} nodes x {size.drives} drives "
            f"make sets of {size.erasure_set}: MinIO refuses to start"
        ]
    return []
