"""Redis Sentinel as configuration: Valkey servers, their Sentinels, and the proxy that follows the primary. Pure functions of a specification.

Every pod runs a server and a Sentinel. The scripts beside this module join them: Sentinels remember who is the primary, servers ask them.
"""

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import field, frozen
from attrs.validators import ge

from infrastructure.redis.options import ExternalRedisOptions
from kit.files import rendered, text
from kit.quantities import Bytes, mib


class Eviction(Enum):
    """What a server does when its memory is full (Valkey's `maxmemory-policy`)."""

    VOLATILE_LRU = "volatile-lru"
    """Drop the least recently used keys among those that expire: Synapse's caches. What LiveKit keeps does not expire and is never dropped."""
    ALLKEYS_LRU = "allkeys-lru"
    """Drop any key: for a set that holds nothing but caches."""
    NOEVICTION = "noeviction"
    """Refuse writes."""


@frozen
class Member:
    """One pod of the set, and where the others reach its server and its Sentinel: through a Service of the pod's own.

    Such a Service has the pod's name and an address that stays. It must publish the address also while the pod is not ready. The scripts
    look the address up when they start: who gives the pod's Service another address must restart the whole set and its proxy.
    """

    name: str
    host: str
    port: int = 6379
    sentinel_port: int = 26379

    @property
    def address(self) -> str:
        """The reference, in HAProxy's configuration, to the environment variable that holds this pod's address."""
        return f"${{{self.name.replace('-', '_').upper()}}}"


def members(name: str, replicas: int, service_host: Callable[[str], str]) -> tuple[Member, ...]:
    """The pods of a StatefulSet `name`; `service_host` gives the DNS name of a pod's own Service, which is called like the pod."""
    return tuple(Member(pod, service_host(pod)) for pod in (f"{name}-{ordinal}" for ordinal in range(replicas)))


def _odd(_instance: object, _attribute: object, value: tuple[Member, ...]) -> None:
    if len(value) % 2 == 0:
        raise ValueError(
            f"{len(value)} Sentinels: the number must be odd. A majority of {len(value)} is {len(value) // 2 + 1}, so an even number survives "
            f"no more losses than {max(len(value) - 1, 1)}, and a network that splits in halves leaves no majority on either side"
        )
    if len(value) < 3:
        raise ValueError("1 Sentinel: nobody is left to notice its loss; a majority that survives one loss takes 3")
    if len({member.name for member in value}) < len(value) or len({(member.host, member.port) for member in value}) < len(value):
        raise ValueError(f"two members are one: {value}")


@frozen
class Known:
    """A server, or a Sentinel, as the proxy knows it. `tls`: further words of its line, which say how it is spoken to."""

    name: str
    address: str
    port: int
    tls: str = ""


@frozen
class ProxySettings:
    """The proxy that follows the primary."""

    port: int = 6379
    health_port: int = 8404
    """`/alive`, `/ready`, `/metrics`."""
    votes_port: int = 8405
    """On its loopback: whom the Sentinels name."""
    max_connections: int = 4096
    patience_seconds: int = 20
    """How long the proxy keeps a new connection while there is no primary. Below 30, after which Synapse gives up an answer."""


@frozen
class RedisSpec:
    """A set of servers and Sentinels. Raises ValueError for a number of members that cannot vote."""

    members: tuple[Member, ...] = field(validator=_odd)
    memory: Bytes = field()
    """Of one server's container (its limit). Half of it is for data."""
    group: str = "primary"
    """What the Sentinels call the set: the `sentinel_master_name` of clients that speak Sentinel."""
    eviction: Eviction = Eviction.VOLATILE_LRU
    down_after_milliseconds: int = field(default=3000, validator=ge(1000))
    """Silence after which a Sentinel takes a server for dead."""
    failover_timeout_milliseconds: int = 10_000
    """Twice this passes before a failover that did not succeed is tried again; a replica of the wrong primary is put right after it."""
    proxy: ProxySettings = ProxySettings()

    @memory.validator
    def _enough(self, _attribute: object, value: Bytes) -> None:
        if value < mib(64):
            raise ValueError(f"{value} of memory: a server needs at least {mib(64)}")

    @property
    def majority(self) -> int:
        """Sentinels that must agree: to call a primary dead (quorum), to elect who replaces it, and to be believed by proxy and servers."""
        return len(self.members) // 2 + 1


def server_files(spec: RedisSpec) -> dict[str, str]:
    """What the pods of the set mount at one path, by file name: settings and scripts. No password."""
    scripts = ("common.sh", "pod.sh", "start-server.sh", "start-sentinel.sh", "stop-server.sh", "check.sh")
    return _files(spec, ("server.conf", "sentinel.conf", "members.sh"), scripts)


def proxy_files(spec: RedisSpec) -> dict[str, str]:
    """What the pods of the proxy mount at one path, by file name. No password."""
    servers = [Known(member.name, member.address, member.port) for member in spec.members]
    sentinels = [Known(member.name, member.address, member.sentinel_port) for member in spec.members]
    values = {"group": spec.group, "majority": spec.majority, "sentinels_ask": True, "by_name": False}
    settings = rendered(__package__, "haproxy.cfg", proxy=spec.proxy, servers=servers, sentinels=sentinels, **values)
    return {"haproxy.cfg": settings} | _files(spec, ("members.sh",), ("common.sh", "start-proxy.sh"))


def external_proxy_files(options: ExternalRedisOptions, proxy: ProxySettings, authority: str) -> dict[str, str]:
    """The same for servers that others run, by TLS. `authority`: the file with that of their certificates."""

    def known(kind: str, addresses: Iterable[str]) -> list[Known]:
        found = []
        for number, (host, _, port) in enumerate((address.partition(":") for address in addresses), 1):
            name = options.certificate_name or host
            words = f" ssl verify required ca-file {authority} verifyhost {name} sni str({name}) check-sni {name}"
            found.append(Known(f"{kind}-{number}", host, int(port), words))
        return found

    sentinels = known("sentinel", options.sentinels)
    settings = rendered(
        __package__,
        "haproxy.cfg",
        proxy=proxy,
        servers=known("server", options.servers),
        sentinels=sentinels,
        group=options.sentinel_group,
        majority=len(sentinels) // 2 + 1,
        sentinels_ask=options.sentinel_password,
        by_name=True,
    )
    return {"haproxy.cfg": settings, "start-external.sh": text(__package__, "start-external.sh")}


def _files(spec: RedisSpec, templates: Iterable[str], scripts: Iterable[str]) -> dict[str, str]:
    return {name: rendered(__package__, name, spec=spec) for name in templates} | {name: text(__package__, name) for name in scripts}
