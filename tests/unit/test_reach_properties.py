"""What must hold of every set of policies, and the same answers from an evaluator that others wrote."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.inspection.reach import WORLD, Address, Cluster, Pod, can_reach, reach, read_cluster
from tests.reachability import Object, block, deployment, expressions, namespace, policy

NAMESPACES = ("a", "b", "c")
APPS = ("web", "worker", "data")
PORTS = ((80, "TCP"), (81, "TCP"), (5432, "TCP"), (53, "UDP"))
POD_NETWORK = "10.42.0.0/16"

Flow = tuple[str, str, int, str]

several = settings(max_examples=50, deadline=None)

WORKLOADS = [
    *(namespace(name, team="red" if name == "a" else "blue") for name in NAMESPACES),
    *(
        deployment(f"{ns}/{app}", {"http": 80 + index, "sql": 5432}, labels={"tier": str(index)})
        for ns in NAMESPACES
        for index, app in enumerate(APPS)
    ),
]

labels = st.sampled_from([{}, *({"app": app} for app in APPS), {"tier": "1"}, {"app": "web", "tier": "0"}, {"app": "web", "tier": "1"}])
requirements = st.sampled_from(
    [("app", "In", "web", "data"), ("app", "NotIn", "web"), ("tier", "Exists"), ("app", "DoesNotExist"), ("tier", "In", "2")]
)
pod_selectors = st.builds(
    lambda match, more: {**({"matchLabels": match} if match else {}), **(expressions(more) if more else {})},
    labels,
    st.none() | requirements,
)
namespace_selectors = st.sampled_from(
    [
        {},
        {"matchLabels": {"team": "red"}},
        {"matchLabels": {"kubernetes.io/metadata.name": "b"}},
        expressions(("team", "NotIn", "red")),
        expressions(("kubernetes.io/metadata.name", "In", "a", "c")),
    ]
)
blocks = st.sampled_from(
    [block("0.0.0.0/0"), block("0.0.0.0/0", "10.0.0.0/8"), block("10.0.0.0/8", "10.42.0.0/24"), block("1.0.0.0/8"), block("192.0.2.0/24")]
)
peers = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, pod_selectors),
    st.builds(lambda names: {"namespaceSelector": names}, namespace_selectors),
    st.builds(lambda pods, names: {"podSelector": pods, "namespaceSelector": names}, pod_selectors, namespace_selectors),
    blocks,
)
ports = st.sampled_from(
    [{"port": 80}, {"port": "http"}, {"port": "sql"}, {"port": 53, "protocol": "UDP"}, {"protocol": "UDP"}, {"port": 80, "endPort": 81}, {}]
)


def rules(field: str) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({}, optional={field: st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)})


@st.composite
def policies(draw: st.DrawFn) -> list[Object]:
    """Up to five policies, each in a namespace, each of one direction or both."""
    return [
        policy(
            f"{draw(st.sampled_from(NAMESPACES))}/p{number}",
            podSelector=draw(pod_selectors),
            policyTypes=draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])),
            ingress=draw(st.lists(rules("from"), max_size=2)),
            egress=draw(st.lists(rules("to"), max_size=2)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


def read(objects: list[Object], pods_have_addresses: bool = False) -> Cluster:
    return read_cluster([*WORKLOADS, *objects], pod_network=[POD_NETWORK] if pods_have_addresses else [])


def everybody(cluster: Cluster) -> list[Pod | Address]:
    return [*(pod for pod in cluster.pods if pod.namespace in NAMESPACES), Address("outside", WORLD.addresses[:1])]


def flows(cluster: Cluster) -> set[Flow]:
    """Everything that is open between the pods and one address outside, on the ports that the rules speak of and one more."""
    return {
        (str(a), str(b), number, protocol)
        for a in everybody(cluster)
        for b in everybody(cluster)
        for number, protocol in PORTS
        if can_reach(cluster, a, b, number, protocol)
    }


@several
@given(policies(), st.sampled_from(["ingress", "egress"]), st.data())
def test_one_more_rule_never_closes_anything(before: list[Object], way: str, data: st.DataObject) -> None:
    after = deepcopy(before)
    for changed in after:
        changed["spec"][way].append(data.draw(rules("from" if way == "ingress" else "to")))
    assert flows(read(before)) <= flows(read(after))


@several
@given(policies(), policies())
def test_a_policy_that_admits_nobody_never_opens_anything(before: list[Object], more: list[Object]) -> None:
    closing = [{**extra, "spec": {**extra["spec"], "ingress": [], "egress": []}} for extra in more]
    assert flows(read([*before, *closing])) <= flows(read(before))


@several
@given(policies(), policies())
def test_policies_of_one_namespace_change_nothing_between_pods_of_others(before: list[Object], more: list[Object]) -> None:
    there = [{**extra, "metadata": {**extra["metadata"], "namespace": "c"}} for extra in more]
    changed = flows(read(before)) ^ flows(read([*before, *there]))
    assert all(source.startswith("c/") or target.startswith("c/") for source, target, *_ in changed)


@several
@given(policies())
def test_a_policy_is_the_sum_of_its_rules_and_of_its_directions(given_policies: list[Object]) -> None:
    def parts(whole: Object) -> Iterator[Object]:
        for way, kind in ("ingress", "Ingress"), ("egress", "Egress"):
            if kind in whole["spec"]["policyTypes"]:
                for listed in ([], *([rule] for rule in whole["spec"][way])):
                    spec: Object = {"podSelector": whole["spec"]["podSelector"], "policyTypes": [kind], way: listed}
                    yield policy(f"{whole['metadata']['namespace']}/part", **spec)

    assert flows(read(given_policies)) == flows(read([part for whole in given_policies for part in parts(whole)]))


@several
@given(policies())
def test_the_order_of_objects_does_not_matter(given_policies: list[Object]) -> None:
    backwards = read_cluster([*reversed(given_policies), *reversed(WORKLOADS)])
    assert flows(read(given_policies)) == flows(backwards)


@several
@given(policies())
def test_ip_blocks_that_also_mean_pods_only_ever_open_more(given_policies: list[Object]) -> None:
    assert flows(read(given_policies)) <= flows(read(given_policies, pods_have_addresses=True))


@several
@given(policies())
def test_an_explanation_agrees_with_the_verdict(given_policies: list[Object]) -> None:
    cluster = read(given_policies)
    for source in everybody(cluster):
        for target in everybody(cluster):
            answer = reach(cluster, source, target, 80)
            assert answer.allowed == can_reach(cluster, source, target, 80)
            assert answer.allowed != any("denied" in reason for reason in answer.reasons)


@settings(several, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policies())
def test_cyclonus_gives_the_same_answers(cyclonus: Path, tmp_path: Path, given_policies: list[Object]) -> None:
    """An independent reading of the same API: https://github.com/mattfenwick/cyclonus, which tests network plugins for conformance.

    It gives pods addresses, so ours have them too. One known difference is kept out of the way: there `NotIn` does not match where the key
    is missing, in Kubernetes it does (apimachinery, labels.Requirement.Matches), so everything here has the keys that `NotIn` asks for.
    """
    cluster = read(given_policies, pods_have_addresses=True)
    questions = [
        (a, b, *port) for a in everybody(cluster) for b in everybody(cluster) if not isinstance(a, Address) or a is not b for port in PORTS
    ]
    verdicts = ask_cyclonus(cyclonus, tmp_path, given_policies, questions)
    ours = [can_reach(cluster, *question) for question in questions]
    assert [question for question, mine, theirs in zip(questions, ours, verdicts, strict=True) if mine != theirs] == []


@pytest.fixture
def cyclonus() -> Path:
    program = shutil.which("cyclonus") or shutil.which("cyclonus", path=str(Path.home() / "go" / "bin"))
    if program is None:
        pytest.skip("cyclonus is not installed: go install github.com/mattfenwick/cyclonus/cmd/cyclonus@v0.5.6")
    return Path(program)


def ask_cyclonus(
    program: Path, folder: Path, given_policies: list[Object], questions: list[tuple[Pod | Address, Pod | Address, int, str]]
) -> list[bool]:
    def peer(who: Pod | Address) -> Object:
        if isinstance(who, Address):
            return {"IP": str(who.addresses[0])}
        names = {"kubernetes.io/metadata.name": who.namespace, "team": "red" if who.namespace == "a" else "blue"}
        inside = {"PodLabels": dict(who.labels), "NamespaceLabels": names, "Namespace": who.namespace}
        return {"IP": str(ip_network(POD_NETWORK)[1]), "Internal": inside}

    def port_name(who: Pod | Address, number: int, protocol: str) -> str:
        return next(iter(who.names_of(number, protocol)), "") if isinstance(who, Pod) else ""

    traffic = [
        {
            "Source": peer(a),
            "Destination": peer(b),
            "ResolvedPort": number,
            "ResolvedPortName": port_name(b, number, protocol),
            "Protocol": protocol,
        }
        for a, b, number, protocol in questions
    ]
    listed = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": given_policies}
    (folder / "policies.json").write_text(json.dumps(listed))
    (folder / "traffic.json").write_text(json.dumps(traffic))
    asked = ["--policy-path", str(folder / "policies.json"), "--traffic-path", str(folder / "traffic.json")]
    command = [str(program), "analyze", "--mode", "query-traffic", "--simplify-policies=false", *asked]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return [verdict == "TRUE" for verdict in re.findall(r"IS ALLOWED\?\s*\|\s*(TRUE|FALSE)", output)]
