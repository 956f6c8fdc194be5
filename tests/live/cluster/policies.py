"""NetworkPolicies as rules for a packet filter: for every pod and direction, which addresses may have which ports.

Written apart from `app.inspection.reach`, whose reading of a policy it shares and whose verdicts it must meet: a test compares the two.
An `ipBlock` is taken to mean no pod, as in most network plugins: what works here then works with all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from attrs import frozen

from app.inspection.reach.policies import IPBlock, Labels, Policy, PolicyPort, Rule

ALL_PORTS = (1, 65535)


@frozen
class Peer:
    """A pod as policies know it. A pod on its node's network has the node's address and no labels that count."""

    namespace: str
    labels: Labels
    address: str
    ports: tuple[tuple[str, int, str], ...] = ()
    """Name, number and protocol of each declared port."""
    host_network: bool = False


@frozen
class Accept:
    """Traffic that may pass: with these peers (None: everybody), on these ports of the destination (none: all, of every protocol)."""

    addresses: tuple[str, ...] | None
    blocks: tuple[IPBlock, ...]
    ports: tuple[tuple[str, int, int], ...]
    """Protocol, first and last number."""


@frozen
class Filter:
    """What may pass for one pod. None: everything, because no policy isolates it in this direction."""

    incoming: tuple[Accept, ...] | None
    outgoing: tuple[Accept, ...] | None


def filters(policies: Sequence[Policy], namespaces: Mapping[str, Labels], pods: Sequence[Peer]) -> dict[str, Filter]:
    """By address, for every pod in the pod network. `namespaces`: labels of each, the automatic one included."""
    return {pod.address: _filter(pod, policies, namespaces, pods) for pod in pods if not pod.host_network}


def _filter(pod: Peer, policies: Sequence[Policy], namespaces: Mapping[str, Labels], pods: Sequence[Peer]) -> Filter:
    own = [policy for policy in policies if policy.namespace == pod.namespace and policy.selects.matches(pod.labels)]
    incoming = [(policy, rule) for policy in own for rule in policy.ingress or () if policy.ingress is not None]
    outgoing = [(policy, rule) for policy in own for rule in policy.egress or () if policy.egress is not None]
    return Filter(
        tuple(accept for policy, rule in incoming for accept in _incoming(pod, policy, rule, namespaces, pods))
        if any(policy.ingress is not None for policy in own)
        else None,
        tuple(accept for policy, rule in outgoing for accept in _outgoing(policy, rule, namespaces, pods))
        if any(policy.egress is not None for policy in own)
        else None,
    )


def _incoming(pod: Peer, policy: Policy, rule: Rule, namespaces: Mapping[str, Labels], pods: Sequence[Peer]) -> Iterator[Accept]:
    ports = _numbers(rule.ports, [pod])
    if rule.ports and not ports:
        return
    named = None if rule.everyone else tuple(sorted(peer.address for peer in _meant(policy, rule, namespaces, pods)))
    yield Accept(named, rule.blocks, ports)


def _outgoing(policy: Policy, rule: Rule, namespaces: Mapping[str, Labels], pods: Sequence[Peer]) -> Iterator[Accept]:
    targets = [peer for peer in pods if not peer.host_network] if rule.everyone else list(_meant(policy, rule, namespaces, pods))
    plain = tuple(port for port in rule.ports if port.name is None)
    if plain or not rule.ports:
        named = None if rule.everyone else tuple(sorted(peer.address for peer in targets))
        yield Accept(named, rule.blocks, _numbers(plain, []))
    # A named port is another number on each pod, and none behind an address.
    for port in (port for port in rule.ports if port.name is not None):
        for target in targets:
            if numbers := _numbers((port,), [target]):
                yield Accept((target.address,), (), numbers)


def _meant(policy: Policy, rule: Rule, namespaces: Mapping[str, Labels], pods: Sequence[Peer]) -> Iterator[Peer]:
    for pod in pods:
        for peer in rule.pods:
            inside = pod.namespace == policy.namespace if peer.namespaces is None else peer.namespaces.matches(namespaces[pod.namespace])
            if inside and not pod.host_network and peer.pods.matches(pod.labels):
                yield pod
                break


def _numbers(ports: Iterable[PolicyPort], pods: Sequence[Peer]) -> tuple[tuple[str, int, int], ...]:
    found: list[tuple[str, int, int]] = []
    for port in ports:
        if port.name is not None:
            found += [
                (port.protocol, n, n) for pod in pods for name, n, protocol in pod.ports if (name, protocol) == (port.name, port.protocol)
            ]
        elif port.first is None or port.last is None:
            found.append((port.protocol, *ALL_PORTS))
        else:
            found.append((port.protocol, port.first, port.last))
    return tuple(found)


def passes(accepts: tuple[Accept, ...] | None, peer: str, port: int, protocol: str, pod_network: IPv4Network) -> bool:
    """The verdict of one direction, as the packet filter comes to it: for tests, and to say why something was refused."""
    return accepts is None or any(_accepts(accept, IPv4Address(peer), port, protocol, pod_network) for accept in accepts)


def _accepts(accept: Accept, peer: IPv4Address, port: int, protocol: str, pod_network: IPv4Network) -> bool:
    if accept.ports and not any(known == protocol and first <= port <= last for known, first, last in accept.ports):
        return False
    if accept.addresses is None or str(peer) in accept.addresses:
        return True
    return peer not in pod_network and any(peer in block for block in accept.blocks)
