"""Everything that decides who reaches whom, read from rendered objects: pods, Services, and for each pod a gate in each direction."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from attrs import field, frozen

from app.inspection.reach.operators import derived
from app.inspection.reach.pods import Address, Peer, Pod, Workload, addresses, read_pods
from app.inspection.reach.policies import IPBlock, Labels, Manifest, PodPeer, Policy, PolicyPort, Rule, Selector, read_policy
from app.inspection.reach.services import Service, read_services

WORLD = Address("world", (ip_address("1.1.1.1"), ip_address("2606:4700:4700::1111")))
"""Any public address, of either family: two that no list of private or reserved ranges holds."""


@frozen(eq=False)
class Door:
    """One rule of one policy, with the pods that its selectors mean in this cluster."""

    policy: Policy
    everyone: bool
    pods: frozenset[Pod]
    blocks: tuple[IPBlock, ...]
    ports: tuple[PolicyPort, ...]

    def admits(self, peer: Peer) -> bool:
        """Whether the peer is one of those the rule names, whatever the port."""
        return self.everyone or peer in self.pods or any(address in block for block in self.blocks for address in peer.addresses)

    def opens(self, number: int, protocol: str, names: frozenset[str]) -> bool:
        """Whether the rule covers the port, which has these names on the destination pod."""
        return not self.ports or any(port.admits(number, protocol, names) for port in self.ports)


@frozen(eq=False)
class Gate:
    """A pod in one direction. Without a policy that isolates it everything passes; else only what one of the doors admits."""

    policies: tuple[Policy, ...] = ()
    doors: tuple[Door, ...] = ()
    _by_pod: Mapping[Pod, Sequence[Door]] = field(init=False)
    _others: Sequence[Door] = field(init=False)
    """Doors that may admit a peer whom no selector names."""

    @_by_pod.default
    def _index_pods(self) -> Mapping[Pod, Sequence[Door]]:
        found: dict[Pod, list[Door]] = {}
        for door in self.doors:
            for pod in door.pods:
                found.setdefault(pod, []).append(door)
        return found

    @_others.default
    def _index_others(self) -> Sequence[Door]:
        return [door for door in self.doors if door.everyone or door.blocks]

    def passes(self, peer: Peer, number: int, protocol: str, names: frozenset[str]) -> bool:
        """Whether traffic with the peer may pass, on a port that has these names on the destination pod."""
        if not self.policies:
            return True
        named = self._by_pod.get(peer, ()) if isinstance(peer, Pod) else ()
        return any(door.opens(number, protocol, names) for door in named) or any(
            door.opens(number, protocol, names) and door.admits(peer) for door in self._others
        )


OPEN = Gate()


@frozen(eq=False)
class Cluster:
    """What was rendered, and what operators will add, ready to be asked. `ingress` and `egress` hold each pod's gates."""

    pods: tuple[Pod, ...]
    services: tuple[Service, ...]
    node: Address
    api_server: Address
    domain: str
    ingress: Mapping[Pod, Gate]
    egress: Mapping[Pod, Gate]
    workloads: Mapping[str, Workload] = field(init=False)
    """By `namespace/name`."""

    @workloads.default
    def _group_pods(self) -> Mapping[str, Workload]:
        groups: dict[str, list[Pod]] = {}
        for pod in self.pods:
            groups.setdefault(pod.workload, []).append(pod)
        return {key: Workload(pods[0].namespace, key.partition("/")[2], tuple(pods)) for key, pods in groups.items()}


def read_cluster(
    objects: Sequence[Manifest],
    *,
    nodes: Iterable[str] = (),
    api_server: Iterable[str] = (),
    pod_network: Iterable[str] = (),
    domain: str = "cluster.local",
    dns_namespace: str = "kube-system",
) -> Cluster:
    """Read rendered objects (what `kubectl kustomize` prints, parsed) and add what the operators will make of the custom resources.

    `nodes`, `api_server`: addresses or ranges, of which the first host is taken; an `ipBlock` that admits one of several admits them all.
    Without them no `ipBlock` admits a node, a pod on a node's network, or the API server. Whether an `ipBlock` also means pods is left to
    the network plugin: by default it does not; with `pod_network` it does, as with Calico. What must be open should be so without, what
    must be closed also with it.
    Pods and policies of other parts of the cluster (`ingress_controller`, a monitoring stack) are passed as further objects.
    Raises ManifestError for a policy that the API server would refuse, and for one of another kind, which nothing here can judge.
    """
    every = [*objects, *derived(objects, dns_namespace)]
    node = Address("node", addresses(nodes))
    pods = read_pods(every, node.addresses, addresses(pod_network))
    namespaces = _namespace_labels(every, pods)
    policies = [read_policy(manifest) for manifest in objects if manifest["kind"].endswith("NetworkPolicy")]
    meant = _Meaning(pods, namespaces)
    return Cluster(
        pods=pods,
        services=read_services(every),
        node=node,
        api_server=Address("api-server", addresses(api_server)),
        domain=domain,
        ingress=_gates(pods, [(policy, policy.ingress) for policy in policies], meant),
        egress=_gates(pods, [(policy, policy.egress) for policy in policies], meant),
    )


class _Meaning:
    """Which pods a peer of a rule means; each question is answered once, since policies repeat one another."""

    def __init__(self, pods: Sequence[Pod], namespaces: Mapping[str, Labels]) -> None:
        # A selector never means a pod on the node's network: its traffic bears the node's address.
        self._pods = {namespace: [pod for pod in pods if pod.namespace == namespace and not pod.host_network] for namespace in namespaces}
        self._namespaces = namespaces
        self._known: dict[tuple[str, PodPeer], frozenset[Pod]] = {}

    def __call__(self, own_namespace: str, peer: PodPeer) -> frozenset[Pod]:
        key = (own_namespace if peer.namespaces is None else "", peer)
        if key not in self._known:
            chosen = [own_namespace] if peer.namespaces is None else self._chosen(peer.namespaces)
            pods = (pod for namespace in chosen for pod in self._pods.get(namespace, ()))
            self._known[key] = frozenset(pod for pod in pods if peer.pods.matches(pod.labels))
        return self._known[key]

    def _chosen(self, selector: Selector) -> list[str]:
        return [namespace for namespace, labels in self._namespaces.items() if selector.matches(labels)]


def _namespace_labels(objects: Iterable[Manifest], pods: Iterable[Pod]) -> dict[str, Labels]:
    """Labels of every namespace, the automatic one included; one that is not rendered has nothing else."""
    metadata = [manifest["metadata"] for manifest in objects if manifest["kind"] == "Namespace"]
    declared = {namespace["name"]: namespace.get("labels") or {} for namespace in metadata}
    names = sorted(declared.keys() | {pod.namespace for pod in pods})
    return {name: {**declared.get(name, {}), "kubernetes.io/metadata.name": name} for name in names}


def _gates(pods: Iterable[Pod], policies: Sequence[tuple[Policy, tuple[Rule, ...] | None]], meant: _Meaning) -> dict[Pod, Gate]:
    """The gate of each pod in one direction. A pod on the node's network has an open one: policies do not bind it."""
    isolating: dict[str, list[tuple[Policy, tuple[Door, ...]]]] = {}
    for policy, rules in policies:
        if rules is not None:
            isolating.setdefault(policy.namespace, []).append((policy, tuple(_door(policy, rule, meant) for rule in rules)))
    return {pod: OPEN if pod.host_network else _gate(pod, isolating.get(pod.namespace, ())) for pod in pods}


def _gate(pod: Pod, policies: Iterable[tuple[Policy, tuple[Door, ...]]]) -> Gate:
    selecting = [(policy, doors) for policy, doors in policies if policy.selects.matches(pod.labels)]
    return Gate(tuple(policy for policy, _ in selecting), tuple(door for _, doors in selecting for door in doors))


def _door(policy: Policy, rule: Rule, meant: _Meaning) -> Door:
    pods = frozenset[Pod]().union(*(meant(policy.namespace, peer) for peer in rule.pods))
    return Door(policy, rule.everyone, pods, rule.blocks, rule.ports)
