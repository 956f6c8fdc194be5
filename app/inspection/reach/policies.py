"""NetworkPolicy v1 as data, read the way the API server reads it.

The rules that people trip over, each in its place below: an absent list and an empty one mean the same within a rule (every peer, every
port), an empty selector matches everything, `policyTypes` has a default, and a peer with both selectors needs both to match.
Source: https://kubernetes.io/docs/reference/kubernetes-api/networking/network-policy-v1/
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from attrs import frozen

Manifest = Mapping[str, Any]
Labels = Mapping[str, str]
IPAddress = IPv4Address | IPv6Address

PROTOCOLS = ("TCP", "UDP", "SCTP")


class ManifestError(ValueError):
    """An object that the API server would refuse; the message names the object and what is wrong."""


@frozen
class Requirement:
    """One condition on labels: `In` and `NotIn` have values, `Exists` and `DoesNotExist` have none."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Labels) -> bool:
        """Whether the labels meet it. `NotIn` holds where the key is missing, as in apimachinery's labels.Requirement."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@frozen
class Selector:
    """Labels to match: every requirement must hold, so a selector without any matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.holds(labels) for requirement in self.requirements)


@frozen
class PodPeer:
    """Pods by label, in the policy's own namespace (`namespaces` is None) or in every namespace that the selector matches."""

    pods: Selector
    namespaces: Selector | None


@frozen
class IPBlock:
    """A range of addresses without some parts of it."""

    cidr: IPv4Network | IPv6Network
    excluded: tuple[IPv4Network | IPv6Network, ...] = ()

    def __contains__(self, address: IPAddress) -> bool:
        return address in self.cidr and not any(address in hole for hole in self.excluded)


@frozen
class PolicyPort:
    """Ports of one protocol: a range of numbers, a name to look up on the destination pod, or (`first` and `name` are None) all."""

    protocol: str
    first: int | None = None
    last: int | None = None
    name: str | None = None

    def admits(self, number: int, protocol: str, names: frozenset[str]) -> bool:
        """Whether it covers a port, given the names which that port has on the destination pod."""
        if protocol != self.protocol:
            return False
        if self.name is not None:
            return self.name in names
        return self.first is None or self.last is None or self.first <= number <= self.last

    def __str__(self) -> str:
        numbers = "all ports" if self.first is None else f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.name or numbers}/{self.protocol}"


@frozen
class Rule:
    """What one rule lets through: the peers on the ports. `everyone` is a rule that names no peer; no port means all of them."""

    everyone: bool
    pods: tuple[PodPeer, ...]
    blocks: tuple[IPBlock, ...]
    ports: tuple[PolicyPort, ...]


@frozen
class Policy:
    """One NetworkPolicy. A direction that is None is one it leaves alone; with no rule at all it lets nothing through."""

    namespace: str
    name: str
    selects: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def read_policy(manifest: Manifest) -> Policy:
    """One `networking.k8s.io/v1` NetworkPolicy. Raises ManifestError for what the API server refuses, misspelt fields included."""
    metadata = manifest["metadata"]
    namespace, name = metadata.get("namespace") or "default", metadata["name"]
    if (manifest["kind"], manifest["apiVersion"]) != ("NetworkPolicy", "networking.k8s.io/v1"):
        raise ManifestError(f"{manifest['kind']} {namespace}/{name}: {manifest['apiVersion']} is not understood, only networking.k8s.io/v1")
    try:
        spec = _fields(manifest.get("spec"), "spec", ("podSelector", "policyTypes", "ingress", "egress"))
        # No policyTypes: Ingress always, Egress only if there is a rule for it, so that `egress: []` alone does not isolate.
        types = spec.get("policyTypes") or ["Ingress"] + ["Egress"] * bool(spec.get("egress"))
        if unknown := set(types) - {"Ingress", "Egress"}:
            raise ManifestError(f"policyTypes has {', '.join(sorted(unknown))}")
        return Policy(
            namespace=namespace,
            name=name,
            selects=read_selector(spec.get("podSelector")),
            ingress=_rules(spec.get("ingress"), "from") if "Ingress" in types else None,
            egress=_rules(spec.get("egress"), "to") if "Egress" in types else None,
        )
    except (ManifestError, ValueError) as error:
        raise ManifestError(f"NetworkPolicy {namespace}/{name}: {error}") from error


def read_selector(manifest: Manifest | None) -> Selector:
    """A `LabelSelector`; absent and empty both match everything (a caller for whom absent means something else looks first)."""
    selector = _fields(manifest, "selector", ("matchLabels", "matchExpressions"))
    labels = selector.get("matchLabels") or {}
    equal = [Requirement(key, "In", frozenset((value,))) for key, value in labels.items()]
    return Selector((*equal, *(_requirement(expression) for expression in selector.get("matchExpressions") or ())))


def _requirement(manifest: Manifest) -> Requirement:
    fields = _fields(manifest, "matchExpressions", ("key", "operator", "values"))
    operator, values = fields["operator"], frozenset(fields.get("values") or ())
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise ManifestError(f"unknown operator {operator}")
    if bool(values) != (operator in ("In", "NotIn")):
        raise ManifestError(f"{operator} with {len(values)} values")
    return Requirement(fields["key"], operator, values)


def _rules(manifests: Iterable[Manifest | None] | None, peers_field: str) -> tuple[Rule, ...]:
    return tuple(_rule(manifest, peers_field) for manifest in manifests or ())


def _rule(manifest: Manifest | None, peers_field: str) -> Rule:
    rule = _fields(manifest, "rule", (peers_field, "ports"))
    # `from:`, `from: []` and no `from` are one and the same: every peer.
    peers = [_peer(peer) for peer in rule.get(peers_field) or ()]
    return Rule(
        everyone=not peers,
        pods=tuple(peer for peer in peers if isinstance(peer, PodPeer)),
        blocks=tuple(peer for peer in peers if isinstance(peer, IPBlock)),
        ports=tuple(_port(port) for port in rule.get("ports") or ()),
    )


def _peer(manifest: Manifest | None) -> PodPeer | IPBlock:
    peer = _fields(manifest, "peer", ("podSelector", "namespaceSelector", "ipBlock"))
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    if block is not None:
        if pods is not None or namespaces is not None:
            raise ManifestError("a peer has ipBlock and a selector")
        fields = _fields(block, "ipBlock", ("cidr", "except"))
        # The API server accepts host bits that are set and ignores them.
        return IPBlock(
            ip_network(fields["cidr"], strict=False), tuple(ip_network(hole, strict=False) for hole in fields.get("except") or ())
        )
    if pods is None and namespaces is None:
        raise ManifestError("a peer selects nothing: write {} for a selector that matches everything")
    return PodPeer(read_selector(pods), None if namespaces is None else read_selector(namespaces))


def _port(manifest: Manifest | None) -> PolicyPort:
    fields = _fields(manifest, "ports", ("port", "endPort", "protocol"))
    protocol, port, last = fields.get("protocol") or "TCP", fields.get("port"), fields.get("endPort")
    if protocol not in PROTOCOLS:
        raise ManifestError(f"unknown protocol {protocol}")
    if last is not None and (not isinstance(port, int) or last < port):
        raise ManifestError(f"endPort {last} needs a port number that is not above it")
    if isinstance(port, str):
        return PolicyPort(protocol, name=port)
    return PolicyPort(protocol, port, port if last is None else last)


def _fields(manifest: Manifest | None, what: str, known: tuple[str, ...]) -> Manifest:
    """The fields of an object, which may be absent. A field nobody knows is refused: ignored, it could turn a rule into an open door."""
    fields = {} if manifest is None else manifest
    if unknown := [key for key in fields if key not in known]:
        raise ManifestError(f"{what} has no field {unknown[0]}")
    return fields
