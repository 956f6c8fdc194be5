"""coturn's settings: a pure function of a specification. Written for coturn 4.17 (github.com/coturn/coturn, examples/etc/turnserver.conf)."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from attrs import field, frozen
from attrs.validators import ge

from kit.facts import Cluster
from kit.files import rendered, text
from kit.options import OptionError
from main_instance.calls.nodes import SCRIPT, NodeAddresses
from main_instance.calls.options import CallsOptions

NOT_PUBLIC = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    *("::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0/96", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
    *("fc00::/7", "fe80::/10"),
)
"""Addresses that are nobody's on the internet, or lead to such (IANA's registries of special-purpose addresses; multicast is an option of
its own). Synapse's docs/setup/turn/coturn.md says why a relay must refuse them."""

USER_QUOTA = 12
"""Relayed addresses of one user at a time."""

Network = IPv4Network | IPv6Network


@frozen
class Ports:
    """Where coturn listens: `turn` for UDP and TCP, `turns` for TLS."""

    turn: int = 3478
    turns: int = 5349
    metrics: int = 9641


@frozen
class Relay:
    """One way in: `transport` is `udp`, `tcp` or `tls`, as LiveKit calls them."""

    host: str
    port: int
    transport: str

    @property
    def uri(self) -> str:
        """As clients are told (RFC 7065)."""
        secure = self.transport == "tls"
        return f"{'turns' if secure else 'turn'}:{self.host}:{self.port}?transport={'tcp' if secure else self.transport}"


@frozen
class Certificate:
    """The files of a certificate and its key."""

    certificate: str = "/secrets/tls/tls.crt"
    key: str = "/secrets/tls/tls.key"


@frozen
class CoturnSpec:
    """One TURN server. Raises OptionError when it has fewer ports than it may hand out.

    `cluster`: the cluster's own networks, to which nobody is relayed. `total_quota`: relayed addresses on one node at a time, each of which
    takes one of the relay ports.
    """

    realm: str
    calls: CallsOptions
    total_quota: int = field(validator=ge(1))
    cluster: Cluster = field(factory=Cluster)
    tls: Certificate | None = None
    ports: Ports = Ports()
    run: str = "/run/coturn"

    def __attrs_post_init__(self) -> None:
        if len(self.calls.relay_ports) < self.total_quota:
            raise OptionError(
                "calls.relay_ports",
                f"{self.total_quota} relayed addresses on one node, and the relay ports {self.calls.relay_ports} are only "
                f"{len(self.calls.relay_ports)}",
            )

    @property
    def relays(self) -> tuple[Relay, ...]:
        """What clients are told. UDP first: it is what media wants; TCP and TLS get through where it does not."""
        plain = tuple(Relay(self.realm, self.ports.turn, transport) for transport in ("udp", "tcp"))
        return plain + ((Relay(self.realm, self.told_turns, "tls"),) if self.tls else ())

    @property
    def told_turns(self) -> int:
        """The port of TURN over TLS as clients see it: a load balancer has the one that is open in every network."""
        return 443 if self.calls.load_balancer else self.ports.turns


def configuration(spec: CoturnSpec) -> dict[str, str]:
    """What the pods mount at one path, by file name: settings and scripts. No secret."""
    calls, cluster = spec.calls, spec.cluster
    own = (*cluster.node_cidrs, *cluster.pod_cidrs, *cluster.service_cidrs)
    ways_in = (*calls.public_addresses, *(calls.load_balancer.livekit if calls.load_balancer else ()))
    allowed = [*_without(calls.relay_to, own), *(ip_network(address) for _, address in ways_in)]
    settings = rendered(
        __package__,
        "turnserver.conf",
        spec=spec,
        user_quota=USER_QUOTA,
        denied=[_range(network) for network in _collapsed([*NOT_PUBLIC, *own])],
        allowed=[_range(network) for network in allowed],
    )
    scripts = {name: text(__package__, name) for name in ("start.sh", "stop.sh")}
    return {"turnserver.conf": settings, SCRIPT: NodeAddresses(calls.public_addresses).script} | scripts


def _collapsed(cidrs: Iterable[str]) -> list[Network]:
    networks = [ip_network(cidr) for cidr in cidrs]
    version_4 = [network for network in networks if isinstance(network, IPv4Network)]
    version_6 = [network for network in networks if isinstance(network, IPv6Network)]
    return [*collapse_addresses(version_4), *collapse_addresses(version_6)]


def _without(cidrs: Iterable[str], holes: Iterable[str]) -> list[Network]:
    """What is left of networks when others are cut out of them: coturn would take what is allowed and denied for allowed."""
    left = _collapsed(cidrs)
    for hole in _collapsed(holes):
        left = [part for network in left for part in _cut(network, hole)]
    return left


def _cut(network: Network, hole: Network) -> list[Network]:
    if not network.overlaps(hole):
        return [network]
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network) and hole.prefixlen > network.prefixlen:
        return sorted(network.address_exclude(hole))
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network) and hole.prefixlen > network.prefixlen:
        return sorted(network.address_exclude(hole))
    return []


def _range(network: Network) -> str:
    """A network as coturn writes it."""
    return f"{network[0]}-{network[-1]}" if network.num_addresses > 1 else str(network[0])
