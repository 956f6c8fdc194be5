"""The packet filter of the live tests' node lets through exactly what `app.inspection.reach` says, which it was written apart from."""

from ipaddress import IPv4Address, IPv4Network
from itertools import product

from hypothesis import example, given, settings

from app.inspection.reach import WORLD, Address, Cluster, Pod, can_reach, read_cluster
from app.inspection.reach.pods import Peer as ReachPeer
from app.inspection.reach.policies import read_policy
from tests.live.cluster.network import rules
from tests.live.cluster.policies import Filter, Peer, filters, passes
from tests.live.cluster.services import Forward
from tests.reachability import Object, accept, block, deployment, pods, send, within
from tests.unit.test_reach_properties import NAMESPACES, PORTS, WORKLOADS, policies

POD_NETWORK = IPv4Network("198.18.0.0/17")
INSIDE = Address("inside", (IPv4Address("10.42.0.7"),))
"""An address in the ranges that the policies of the tests name, which is no pod's."""
LABELS = {
    name: {"team": "red" if name == "a" else "blue", "kubernetes.io/metadata.name": name}
    for name in (*NAMESPACES, "kube-system", "traefik")
}


def twins(cluster: Cluster) -> dict[ReachPeer, tuple[Peer, Peer]]:
    """For each of the evaluator's pods two of the node's: those of a Deployment, which the evaluator does not tell apart."""
    addresses = map(str, POD_NETWORK.hosts())
    found: dict[ReachPeer, tuple[Peer, Peer]] = {}
    for pod in cluster.pods:
        if pod.namespace in NAMESPACES:
            ports = tuple((port.name, port.number, port.protocol) for port in pod.ports)
            found[pod] = (Peer(pod.namespace, pod.labels, next(addresses), ports), Peer(pod.namespace, pod.labels, next(addresses), ports))
    return found


def verdict(made: dict[str, Filter], source: str, target: str, port: int, protocol: str) -> bool:
    """Whether a packet passes both directions' chains."""
    leaves = source not in made or passes(made[source].outgoing, target, port, protocol, POD_NETWORK)
    return leaves and (target not in made or passes(made[target].incoming, source, port, protocol, POD_NETWORK))


@settings(max_examples=60, deadline=None)
@given(policies())
@example([send("a/p", "web", {"to": [within("b")], "ports": [{"port": "sql"}]}), accept("b/p", None, None)])
@example([accept("a/p", "web", {"ports": [{"port": "http"}, {"port": "nobody-has-it"}]})])
@example([accept("a/p", "web", {"ports": [{"port": "http", "protocol": "UDP"}]})])
def test_the_filter_agrees_with_the_evaluator(written: list[Object]) -> None:
    cluster = read_cluster([*WORKLOADS, deployment("a/silent", {"dns": 53}, labels={"app": "web", "tier": "1"}), *written])
    pairs = twins(cluster)
    made = filters([read_policy(o) for o in written], LABELS, [peer for pair in pairs.values() for peer in pair])

    def address(who: ReachPeer, which: int) -> str:
        return pairs[who][which].address if isinstance(who, Pod) else str(who.addresses[0])

    for source, target in product([*pairs, WORLD, INSIDE], pairs):
        for there, back in ((source, target), (target, source)):
            for port, protocol in (*PORTS, (80, "UDP")):
                ours = verdict(made, address(there, 0), address(back, 1), port, protocol)
                assert ours == can_reach(cluster, there, back, port, protocol), (str(there), str(back), port, protocol)


WEB = Peer("a", {"app": "web"}, "198.18.0.1", (("http", 80, "TCP"),))
DATA = Peer("a", {"app": "data"}, "198.18.0.2", (("http", 5432, "TCP"),))
NODE = Peer("a", {"app": "web"}, "198.18.240.1", host_network=True)


def test_the_rules_say_what_the_policies_say() -> None:
    written = [
        accept("a/data", "data", {"from": [pods("web"), block("10.0.0.0/8", "10.1.0.0/16")], "ports": [{"port": "http"}]}),
        send(
            "a/web",
            "web",
            {"to": [pods("data")], "ports": [{"port": 5432}, {"port": 53, "protocol": "UDP"}, {"port": 8000, "endPort": 8010}]},
        ),
    ]
    made = filters([read_policy(o) for o in written], LABELS, [WEB, DATA, NODE])
    text = rules([Forward("198.19.0.9", 80, "TCP", (("198.18.0.2", 5432),))], made, ["198.18.0.1", "198.18.0.2"])
    lines = text.splitlines()
    assert lines[0] == "flush table ip pods"
    chains = [
        line.removeprefix("add rule ip pods ")
        for line in lines
        if line.startswith(("add rule ip pods incoming-", "add rule ip pods outgoing-"))
    ]
    assert chains == [
        "outgoing-198.18.0.1 ip daddr { 198.18.0.2 } tcp dport { 5432, 8000-8010 } return",
        "outgoing-198.18.0.1 ip daddr { 198.18.0.2 } udp dport { 53 } return",
        "outgoing-198.18.0.1 goto refuse",
        "incoming-198.18.0.2 ip saddr { 198.18.0.1 } tcp dport { 5432 } return",
        "incoming-198.18.0.2 ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } ip saddr != { 198.18.0.1, 198.18.0.2 } tcp dport { 5432 } return",
        "incoming-198.18.0.2 goto refuse",
    ]
    assert "add rule ip pods outgoing ip saddr vmap { 198.18.0.1 : jump outgoing-198.18.0.1 }" in lines
    assert any("dnat ip addr . port to numgen random mod 1 map { 0 : 198.18.0.2 . 5432 }" in line for line in lines)


def test_a_pod_on_its_nodes_network_is_bound_by_no_policy_and_meant_by_no_selector() -> None:
    written = [accept("a/data", "data", {"from": [pods("web")]}), send("a/web", "web")]
    made = filters([read_policy(o) for o in written], LABELS, [WEB, DATA, NODE])
    assert NODE.address not in made
    assert not verdict(made, NODE.address, DATA.address, 80, "TCP")
    assert verdict(made, NODE.address, WEB.address, 80, "TCP")
