"""NetworkPolicies: nothing may talk to anything, except as the components have declared."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import field, frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.facts import Cluster, Dns
from kit.installation import Declarations, Installation
from kit.network import External, Pods, Port
from kit.options import OptionError
from kit.place import Place
from kit.pods import int_or_string
from kit.rendering import ObjectId

# Addresses that no public server has (RFC 6890 and its successors): an outside peer on the internet is never there.
_PRIVATE_V4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_PRIVATE_V6 = ("fc00::/7", "fe80::/10")

_DEFAULT_DENY = "default-deny"
_DNS = (Port("dns", 53, "UDP"), Port("dns-tcp", 53, "TCP"))
# Policies judge a connection to a Service by the port of the pod, and OpenShift's DNS listens on another one
# (openshift/cluster-dns-operator, assets/dns/daemonset.yaml).
_DNS_OF_OPENSHIFT = ("openshift-dns", (Port("dns", 5353, "UDP"), Port("dns-tcp", 5353, "TCP")))
_API_SERVER = (Port("https", 443), Port("apiserver", 6443))


@frozen
class NetworkPoliciesSpec:
    """`namespaces`: those of the platform, each closed by default. `ingress_namespace`: where the ingress controller runs.

    `names`: namespace and group of pods to the name of its policy, where that is not the group's own; `files`: to the file that it stands in,
    where it is not with all others.
    """

    namespaces: tuple[str, ...]
    ingress_namespace: str
    names: Mapping[tuple[str, str], str] = field(factory=dict)
    files: Mapping[tuple[str, str], str] = field(factory=dict)

    @classmethod
    def isolation(cls, namespace: str, name: str) -> dict[tuple[str, str], str]:
        """An entry of `names`: the policy that isolates every pod of a namespace is called so."""
        return {(namespace, _DEFAULT_DENY): name}


class NetworkPolicies(Component):
    """Default deny both ways in every namespace of the platform; then, for each group of pods, both ends of its connections."""

    directory = "04-networking"

    def __init__(self, installation: Installation, place: Place, spec: NetworkPoliciesSpec) -> None:
        super().__init__(installation, "network-policies", place)
        self._spec = spec
        for namespace in spec.namespaces:
            # What stays in a namespace that is no longer declared stays closed.
            installation.keep(self._policy(Pods(_DEFAULT_DENY, namespace, ()), [], []))
        declared, cluster = installation.declared, installation.facts.cluster
        ingress, egress = _ingress(declared, spec.ingress_namespace, cluster), _egress(declared, cluster)
        for pods in dict.fromkeys([*ingress, *egress]):
            if pods.namespace in spec.namespaces and not pods.host_network:
                self._policy(pods, ingress.get(pods, []), egress.get(pods, []))

    def _policy(self, pods: Pods, ingress: list[k8s.NetworkPolicyIngressRule], egress: list[k8s.NetworkPolicyEgressRule]) -> ObjectId:
        return self.installation.add(
            self,
            self._spec.files.get((pods.namespace, pods.name), self.path("networkpolicies.yaml")),
            k8s.KubeNetworkPolicy,
            name=self._spec.names.get((pods.namespace, pods.name), pods.name),
            namespace=pods.namespace,
            labels=self.labels(),
            spec=k8s.NetworkPolicySpec(
                pod_selector=k8s.LabelSelector(match_labels=dict(pods.labels) or None),
                policy_types=["Ingress", "Egress"],
                ingress=ingress or None,
                egress=egress or None,
            ),
        )


def _ingress(declared: Declarations, ingress_namespace: str, cluster: Cluster) -> dict[Pods, list[k8s.NetworkPolicyIngressRule]]:
    sources: dict[Pods, dict[Port, list[Pods]]] = defaultdict(lambda: defaultdict(list))
    for connection in declared.connections:
        sources[connection.target][connection.port].append(connection.source)
    for exposure in declared.exposures:
        sources[exposure.endpoint.pods][exposure.endpoint.target].append(Pods("ingress", ingress_namespace, ()))
    return {
        target: [
            k8s.NetworkPolicyIngressRule(from_=_peers(dict.fromkeys(peers), target, cluster), ports=[_port(port)])
            for port, peers in ports.items()
        ]
        for target, ports in sources.items()
    }


def _egress(declared: Declarations, cluster: Cluster) -> dict[Pods, list[k8s.NetworkPolicyEgressRule]]:
    rules: dict[Pods, list[k8s.NetworkPolicyEgressRule]] = defaultdict(list)
    targets: dict[Pods, dict[Pods, list[Port]]] = defaultdict(lambda: defaultdict(list))
    for connection in declared.connections:
        targets[connection.source][connection.target].append(connection.port)
    for source, peers in targets.items():
        for target, ports in peers.items():
            rules[source].append(
                k8s.NetworkPolicyEgressRule(to=_peers((target,), source, cluster), ports=[_port(p) for p in dict.fromkeys(ports)])
            )
    for source, external in declared.outside:
        numbers = [_port(Port("", number, external.protocol)) for number in external.ports]
        every = k8s.NetworkPolicyPort(protocol=external.protocol)
        rules[source].append(k8s.NetworkPolicyEgressRule(to=_outside(external), ports=numbers or [every]))
    for source in declared.api_clients:
        to = [_block(cidr) for cidr in cluster.api_servers]
        rules[source].append(k8s.NetworkPolicyEgressRule(to=to, ports=[_port(p) for p in _API_SERVER]))
    for source in rules:
        rules[source] += _dns(cluster.dns)
    return rules


def _dns(dns: Dns) -> list[k8s.NetworkPolicyEgressRule]:
    """The way to DNS, which everybody needs who goes out."""
    pods = k8s.NetworkPolicyPeer(namespace_selector=_namespace(dns.namespace))
    rules = [k8s.NetworkPolicyEgressRule(to=[pods, *map(_block, dns.cidrs)], ports=[_port(port) for port in _DNS])]
    namespace, ports = _DNS_OF_OPENSHIFT
    if dns.namespace == namespace:
        rules.append(k8s.NetworkPolicyEgressRule(to=[pods], ports=[_port(port) for port in ports]))
    return rules


def _peers(groups: Iterable[Pods], seen_from: Pods, cluster: Cluster) -> list[k8s.NetworkPolicyPeer]:
    """The peers of one rule. Pods in the network of their nodes are those nodes. Raises ValueError where nobody has said where these are."""
    groups = tuple(groups)
    nodes = [pods for pods in groups if pods.host_network]
    if nodes and not cluster.node_cidrs:
        raise OptionError(
            "cluster.node_cidrs",
            f"{nodes[0].name} runs in the network of its nodes, and no policy can admit it to {seen_from.name}, or the "
            "other way round, without their addresses",
        )
    return [_peer(pods, seen_from) for pods in groups if not pods.host_network] + [_block(cidr) for cidr in cluster.node_cidrs if nodes]


def _peer(pods: Pods, seen_from: Pods) -> k8s.NetworkPolicyPeer:
    """Pods of the same namespace by their labels; of another, by its name as well."""
    elsewhere = pods.namespace != seen_from.namespace
    return k8s.NetworkPolicyPeer(
        namespace_selector=_namespace(pods.namespace) if elsewhere else None,
        pod_selector=k8s.LabelSelector(match_labels=dict(pods.labels)) if pods.labels or not elsewhere else None,
    )


def _namespace(name: str) -> k8s.LabelSelector:
    return k8s.LabelSelector(match_labels={"kubernetes.io/metadata.name": name})


def _outside(external: External) -> list[k8s.NetworkPolicyPeer]:
    if external.cidrs:
        return [_block(cidr) for cidr in external.cidrs]
    if not external.public:
        return [_block("0.0.0.0/0"), _block("::/0")]
    return [_block("0.0.0.0/0", _PRIVATE_V4), _block("::/0", _PRIVATE_V6)]


def _block(cidr: str, exceptions: tuple[str, ...] = ()) -> k8s.NetworkPolicyPeer:
    return k8s.NetworkPolicyPeer(ip_block=k8s.IpBlock(cidr=cidr, except_=list(exceptions) or None))


def _port(port: Port) -> k8s.NetworkPolicyPort:
    return k8s.NetworkPolicyPort(port=int_or_string(port.number), protocol=port.protocol)
