"""Can A reach B? Each rule of NetworkPolicy, of Services and of the operators' objects, in a cluster small enough to see."""

from typing import Any

import pytest

from app.inspection.reach import (
    WORLD,
    Address,
    Cluster,
    ManifestError,
    Pod,
    Refusal,
    Service,
    UnknownNameError,
    ask,
    endpoints,
    find_source,
    find_targets,
    matrix,
    read_cluster,
    render_answer,
    render_matrix,
    resolve,
)
from app.inspection.reach.names import parse_destination
from tests.reachability import (
    Object,
    accept,
    block,
    custom,
    deployment,
    expressions,
    namespace,
    pods,
    policy,
    send,
    service,
    within,
)

WEB = deployment("matrix/web", {"http": 8080, "metrics": 9090})
DATABASE = deployment("matrix/database", {"sql": 5432})
SCRAPER = deployment("monitoring/scraper", {"web": 9090})


def reaches(objects: list[Object], source: str, target: str, **settings: Any) -> bool:
    """Whether every port that `target` means is reached."""
    return all(answer.allowed for answer in ask(read_cluster(objects, **settings), source, target))


def admitted(
    rule: Object | None, source: str = "web", target: str = "database:5432", extra: tuple[Object, ...] = (), **settings: Any
) -> bool:
    """Whether one ingress rule on the database lets the source in."""
    return reaches([WEB, DATABASE, SCRAPER, *extra, accept("matrix/rule", "database", rule)], source, target, **settings)


# What isolates a pod


def test_without_a_policy_everything_is_open() -> None:
    assert reaches([WEB, DATABASE], "web", "database:5432")


def test_a_policy_without_rules_closes_its_direction_for_the_pods_it_selects() -> None:
    objects = [WEB, DATABASE, accept("matrix/deny", "database")]
    assert not reaches(objects, "web", "database:5432")
    assert reaches(objects, "database", "web:8080")


def test_an_empty_pod_selector_selects_every_pod_of_the_namespace_and_of_no_other() -> None:
    objects = [WEB, DATABASE, SCRAPER, accept("matrix/deny", None)]
    assert not reaches(objects, "scraper", "web:8080")
    assert reaches(objects, "web", "scraper:9090")


def test_both_ends_must_allow() -> None:
    leaves, enters = send("matrix/out", "web", {"to": [pods("database")]}), accept("matrix/in", "database", {"from": [pods("web")]})
    closed_out, closed_in = send("matrix/out", "web"), accept("matrix/in", "database")
    assert reaches([WEB, DATABASE, leaves, enters], "web", "database:5432")
    assert not reaches([WEB, DATABASE, closed_out, enters], "web", "database:5432")
    assert not reaches([WEB, DATABASE, leaves, closed_in], "web", "database:5432")


def test_rules_of_all_policies_that_select_a_pod_add_up() -> None:
    objects = [WEB, DATABASE, accept("matrix/deny", None), accept("matrix/web", "database", {"from": [pods("web")]})]
    assert reaches(objects, "web", "database:5432")
    assert not reaches(objects, "database", "web:8080")


@pytest.mark.parametrize(
    ("spec", "web_in", "web_out"),
    [
        ({}, False, True),
        ({"policyTypes": []}, False, True),
        ({"ingress": [{}]}, True, True),
        ({"egress": []}, False, True),
        ({"egress": [{"to": [pods("nobody")]}]}, False, False),
        ({"policyTypes": ["Egress"]}, True, False),
        ({"policyTypes": ["Egress"], "ingress": []}, True, False),
        ({"policyTypes": ["Ingress"], "egress": [{"to": [pods("nobody")]}]}, False, True),
        ({"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}, True, True),
    ],
)
def test_without_policy_types_a_policy_isolates_ingress_and_egress_only_if_it_has_a_rule_for_it(
    spec: Object, web_in: bool, web_out: bool
) -> None:
    objects = [WEB, DATABASE, policy("matrix/p", "web", **spec)]
    assert reaches(objects, "database", "web:8080") == web_in
    assert reaches(objects, "web", "database:5432") == web_out


# Peers of a rule


@pytest.mark.parametrize("rule", [{}, None, {"from": []}, {"from": None}, {"ports": []}, {"ports": None}])
def test_a_rule_whose_peers_or_ports_are_absent_or_empty_admits_every_peer_on_every_port(rule: Object | None) -> None:
    assert admitted(rule)
    assert admitted(rule, source="scraper")
    assert admitted(rule, source="world")


@pytest.mark.parametrize("ingress", [[], None])
def test_no_rule_at_all_admits_nobody(ingress: list[Object] | None) -> None:
    assert not reaches([WEB, DATABASE, policy("matrix/p", "database", policyTypes=["Ingress"], ingress=ingress)], "web", "database:5432")


def test_a_pod_selector_means_pods_of_the_policys_own_namespace() -> None:
    rule: Object = {"from": [{"podSelector": {}}]}
    assert admitted(rule)
    assert not admitted(rule, source="scraper")
    assert not admitted({"from": [pods("scraper")]}, source="scraper")


def test_the_same_pod_selector_means_other_pods_in_another_namespace() -> None:
    other = deployment("li/web", {"http": 8080})
    rules = [accept(f"{owner}/p", "web", {"from": [{"podSelector": {}}]}) for owner in ("matrix", "li")]
    objects = [WEB, other, DATABASE, deployment("li/database"), *rules]
    assert reaches(objects, "matrix/database", "matrix/web:8080")
    assert reaches(objects, "li/database", "li/web:8080")
    assert not reaches(objects, "matrix/database", "li/web:8080")


def test_a_namespace_selector_means_all_pods_of_the_namespaces_that_it_matches() -> None:
    assert admitted({"from": [within("monitoring")]}, source="scraper")
    assert not admitted({"from": [within("monitoring")]}, source="web")
    assert admitted(
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}]}, "scraper", extra=(namespace("monitoring", team="ops"),)
    )
    assert not admitted({"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}]}, source="scraper")


def test_an_empty_namespace_selector_means_every_namespace_but_not_the_world() -> None:
    rule: Object = {"from": [{"namespaceSelector": {}}]}
    assert admitted(rule, source="scraper")
    assert admitted(rule, source="web")
    assert not admitted(rule, source="world")


def test_both_selectors_in_one_item_must_both_match() -> None:
    both = {"from": [{**within("monitoring"), **pods("web")}]}
    assert not admitted(both, source="scraper")
    assert not admitted(both, source="web")
    assert admitted({"from": [{**within("monitoring"), **pods("scraper")}]}, source="scraper")


def test_selectors_in_two_items_are_alternatives() -> None:
    either = {"from": [within("monitoring"), pods("web")]}
    assert admitted(either, source="scraper")
    assert admitted(either, source="web")


@pytest.mark.parametrize(
    ("requirement", "matches"),
    [
        (("app", "In", "web", "x"), True),
        (("app", "In", "x"), False),
        (("tier", "In", "x"), False),
        (("app", "NotIn", "x"), True),
        (("app", "NotIn", "web"), False),
        (("tier", "NotIn", "x"), True),
        (("app", "Exists"), True),
        (("tier", "Exists"), False),
        (("tier", "DoesNotExist"), True),
        (("app", "DoesNotExist"), False),
    ],
)
def test_match_expressions_read_as_in_the_api_reference(requirement: tuple[str, ...], matches: bool) -> None:
    assert admitted({"from": [{"podSelector": expressions(requirement)}]}) == matches


def test_all_requirements_of_a_selector_must_hold() -> None:
    assert not admitted({"from": [{"podSelector": {"matchLabels": {"app": "web"}, **expressions(("tier", "Exists"))}}]})


# Ports


@pytest.mark.parametrize(
    ("ports", "target", "opens"),
    [
        ([{"port": 5432}], "database:5432", True),
        ([{"port": 5432}], "database:5433", False),
        ([{"port": 5432}], "database:5432/udp", False),
        ([{"port": 5432, "protocol": "UDP"}], "database:5432/udp", True),
        ([{"port": 5432, "protocol": "SCTP"}], "database:5432/sctp", True),
        ([{"protocol": "UDP"}], "database:9/udp", True),
        ([{"protocol": "UDP"}], "database:5432", False),
        ([{}], "database:9", True),
        ([{}], "database:9/udp", False),
        ([{"port": 5430, "endPort": 5440}], "database:5430", True),
        ([{"port": 5430, "endPort": 5440}], "database:5440", True),
        ([{"port": 5430, "endPort": 5440}], "database:5441", False),
        ([{"port": 5430, "endPort": 5430}], "database:5430", True),
        ([{"port": 1}, {"port": 5432}], "database:5432", True),
        ([{"port": "sql"}], "database:5432", True),
        ([{"port": "sql"}], "database:5433", False),
        ([{"port": "sql", "protocol": "UDP"}], "database:5432", False),
        ([{"port": "http"}], "database:5432", False),
    ],
)
def test_ports_of_a_rule(ports: list[Object], target: str, opens: bool) -> None:
    assert admitted({"ports": ports}, target=target) == opens


def test_a_named_port_of_an_egress_rule_is_looked_up_on_the_destination() -> None:
    objects = [deployment("a", {"sql": 1}), deployment("b", {"sql": 2}), deployment("c"), send("out", "c", {"ports": [{"port": "sql"}]})]
    assert reaches(objects, "c", "a:1")
    assert reaches(objects, "c", "b:2")
    assert not reaches(objects, "c", "a:2")


def test_a_port_name_means_nothing_at_an_address() -> None:
    assert not reaches([WEB, send("out", "web", {"ports": [{"port": "https"}]})], "web", "world:443")


def test_a_native_sidecars_port_has_a_name_and_an_init_containers_has_none() -> None:
    port = [{"name": "sql", "containerPort": 5432}]
    for restart, opens in ({"restartPolicy": "Always"}, True), ({}, False):
        database = deployment("database", initContainers=[{"ports": port, **restart}])
        assert reaches([WEB, database, accept("p", "database", {"ports": [{"port": "sql"}]})], "web", "database:5432") == opens


# Addresses: the world, nodes, the API server


def test_an_ip_block_means_the_addresses_within_it_except_its_holes() -> None:
    everywhere = {"from": [block("0.0.0.0/0", "198.51.100.0/24")]}
    assert admitted(everywhere, source="world")
    assert admitted(everywhere, source="203.0.113.9")
    assert not admitted(everywhere, source="198.51.100.9")
    assert not admitted({"from": [block("10.0.0.0/8")]}, source="world")
    assert admitted({"from": [block("10.1.2.3/8")]}, source="10.9.9.9")


def test_an_ip_block_of_one_family_says_nothing_of_the_other() -> None:
    assert admitted({"from": [block("::/0")]}, source="2001:db8::1")
    assert not admitted({"from": [block("0.0.0.0/0")]}, source="2001:db8::1")
    assert not admitted({"from": [block("::/0")]}, source="198.51.100.9")


def test_an_ip_block_means_no_pod_unless_the_pod_network_is_given() -> None:
    rule = {"from": [block("0.0.0.0/0")]}
    assert not admitted(rule)
    assert admitted(rule, pod_network=["10.42.0.0/16"])
    assert not admitted({"from": [block("0.0.0.0/0", "10.42.0.0/16")]}, pod_network=["10.42.0.0/16"])


def test_selectors_mean_no_address() -> None:
    assert not admitted({"from": [{"podSelector": {}, "namespaceSelector": {}}]}, source="world")


def test_policies_do_not_bind_a_pod_on_its_nodes_network() -> None:
    media = deployment("matrix/media", {"rtc": 7880}, hostNetwork=True)
    objects = [WEB, DATABASE, media, policy("matrix/deny", "media", policyTypes=["Ingress", "Egress"])]
    assert reaches(objects, "media", "database:5432")
    assert reaches(objects, "web", "media:7880")


def test_a_pod_on_its_nodes_network_is_admitted_by_the_nodes_address_and_by_no_selector() -> None:
    media = deployment("matrix/media", {"rtc": 7880}, hostNetwork=True)
    by_label, by_node = {"from": [pods("media")]}, {"from": [block("10.0.0.0/24")]}
    assert not admitted(by_label, "media", extra=(media,), nodes=["10.0.0.0/24"])
    assert admitted(by_node, "media", extra=(media,), nodes=["10.0.0.0/24"])
    assert not admitted(by_node, "media", extra=(media,), nodes=["10.9.0.0/24"])
    assert not admitted(by_node, "media", extra=(media,))


def test_a_pod_on_its_nodes_network_is_called_by_the_nodes_address() -> None:
    media = deployment("matrix/media", {"rtc": 7880}, hostNetwork=True)
    for peer, opens in (block("10.0.0.0/24"), True), (pods("media"), False):
        assert reaches([WEB, media, send("out", "web", {"to": [peer]})], "web", "media:7880", nodes=["10.0.0.7"]) == opens
    assert not reaches([WEB, media, send("out", "web", {"ports": [{"port": "rtc"}]})], "web", "media:7880", nodes=["10.0.0.7"])


def test_the_api_server_is_where_the_site_says_it_is() -> None:
    objects = [WEB, send("out", "web", {"to": [block("10.0.0.10/32")], "ports": [{"port": 6443}]})]
    assert reaches(objects, "web", "api-server:6443", api_server=["10.0.0.10"])
    assert not reaches(objects, "web", "api-server:443", api_server=["10.0.0.10"])
    assert not reaches(objects, "web", "api-server:6443", api_server=["10.0.0.11"])
    assert not reaches(objects, "web", "world:6443", api_server=["10.0.0.10"])


def test_dns_needs_a_rule_of_its_own() -> None:
    assert reaches([WEB], "web", "dns")
    assert not reaches([WEB, send("out", "web", {"to": [pods("database")]})], "web", "dns")
    to_dns = {"to": [{**within("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]}
    udp, tcp = {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}
    assert reaches([WEB, send("out", "web", {**to_dns, "ports": [udp, tcp]})], "web", "dns")
    assert not reaches([WEB, send("out", "web", {**to_dns, "ports": [udp]})], "web", "dns")


# A pod and itself


def test_a_lone_pod_always_reaches_itself_and_replicas_need_a_rule() -> None:
    deny = policy("matrix/deny", None, policyTypes=["Ingress", "Egress"])
    assert reaches([deployment("web", {"http": 80}, replicas=1), deny], "web", "web:80")
    assert not reaches([deployment("web", {"http": 80}, replicas=2), deny], "web", "web:80")


def test_pods_of_a_daemonset_are_never_alone() -> None:
    agent = {**deployment("agent", {"http": 80}, replicas=1), "kind": "DaemonSet"}
    assert not reaches([agent, policy("matrix/deny", None)], "agent", "agent:80")


@pytest.mark.parametrize(
    ("api_version", "kind", "spec"),
    [
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}),
        ("keda.sh/v1alpha1", "ScaledObject", {"scaleTargetRef": {"name": "web"}}),
    ],
)
def test_an_autoscaled_pod_is_not_alone(api_version: str, kind: str, spec: Object) -> None:
    objects = [deployment("web", {"http": 80}, replicas=1), policy("matrix/deny", None), custom(api_version, kind, "web", spec)]
    assert not reaches(objects, "web", "web:80")


def test_members_of_a_statefulset_are_told_apart() -> None:
    template = {"metadata": {"labels": {"app": "redis"}}, "spec": {"containers": []}}
    redis = custom("apps/v1", "StatefulSet", "redis", {"replicas": 3, "serviceName": "redis", "template": template})
    first = {"matchLabels": {"statefulset.kubernetes.io/pod-name": "redis-0"}}
    objects = [
        redis,
        WEB,
        accept("p", "redis", {"from": [pods("redis")]}),
        policy("q", podSelector=first, ingress=[{"from": [pods("web")]}]),
    ]
    assert reaches(objects, "redis", "redis:6379")
    assert reaches(objects, "web", "redis-0:6379")
    assert not reaches(objects, "web", "redis-1:6379")
    (answer,) = ask(read_cluster(objects), "web", "redis:6379")
    assert not answer.allowed
    assert any("matrix/redis-2" in reason for reason in answer.reasons)
    assert not any("matrix/redis-0" in reason for reason in answer.reasons)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"])
def test_pods_of_every_kind_of_workload_are_seen(kind: str) -> None:
    template: Object = {"metadata": {"namespace": "matrix", "name": "tool", "labels": {"app": "tool"}}, "spec": {"containers": []}}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    tool = {**template, "kind": "Pod", "apiVersion": "v1"} if kind == "Pod" else custom("v1", kind, "tool", spec)
    objects = [tool, DATABASE, accept("p", "database", {"from": [pods("tool")]})]
    assert reaches(objects, "tool", "database:5432")
    assert not reaches([*objects, send("q", "tool")], "tool", "database:5432")


def test_a_job_can_be_selected_by_its_name() -> None:
    job = custom("batch/v1", "Job", "migrate", {"template": {"spec": {"containers": []}}})
    rule = {"from": [{"podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": "migrate"}}}]}
    assert reaches([job, DATABASE, accept("p", "database", rule)], "migrate", "database:5432")


# Services


HTTP = {"name": "web", "port": 80, "targetPort": "http"}


def ends(cluster: Cluster, name: str, port: int | str, protocol: str | None = None) -> list[tuple[str, int, str]]:
    """What is behind a port of a Service: pods and addresses by name, with their own port; empty if it leads nowhere."""
    (found,) = find_targets(cluster, f"svc/{name}")
    behind = endpoints(cluster, found, port, protocol)
    return [] if isinstance(behind, Refusal) else [(str(peer), number, own) for peer, number, own in behind]


def behind(objects: list[Object], port: int | str, protocol: str | None = None) -> list[tuple[str, int, str]]:
    return ends(read_cluster(objects), "front", port, protocol)


@pytest.mark.parametrize("target_port", [8080, "http"])
@pytest.mark.parametrize("port", [80, "web"])
def test_a_service_leads_to_the_target_port_of_the_pods_it_selects(target_port: int | str, port: int | str) -> None:
    assert behind([WEB, DATABASE, service("front", "web", {**HTTP, "targetPort": target_port})], port) == [("matrix/web", 8080, "TCP")]


def test_policies_see_the_pods_port_and_not_the_services() -> None:
    front = service("front", "web", HTTP)
    assert reaches([WEB, DATABASE, front, accept("p", "web", {"ports": [{"port": 8080}]})], "database", "front:80")
    assert not reaches([WEB, DATABASE, front, accept("p", "web", {"ports": [{"port": 80}]})], "database", "front:80")
    assert not reaches([WEB, DATABASE, front, send("p", "database", {"ports": [{"port": 80}]})], "database", "front:80")


def test_a_services_target_port_is_its_own_port_unless_it_says_otherwise() -> None:
    assert behind([WEB, service("front", "web", {"port": 8080})], 8080) == [("matrix/web", 8080, "TCP")]


def test_a_service_selects_within_its_own_namespace() -> None:
    assert behind([WEB, service("monitoring/front", "web", HTTP)], 80) == []


def test_a_service_is_reached_only_if_every_pod_behind_it_is() -> None:
    other = deployment("other", {"http": 8081}, labels={"app": "web", "own": "other"})
    only_web = accept("p", "web", {"ports": [{"port": 8080}]})
    objects = [WEB, other, DATABASE, service("front", "web", HTTP)]
    assert behind(objects, 80) == [("matrix/web", 8080, "TCP"), ("matrix/other", 8081, "TCP")]
    assert reaches(objects, "database", "front:80")
    assert not reaches([*objects, only_web], "database", "front:80")


def test_one_port_number_may_serve_two_protocols() -> None:
    ports = {"port": 53, "protocol": "UDP", "targetPort": 1053}, {"port": 53, "protocol": "TCP", "targetPort": 2053}
    objects = [WEB, service("front", "web", *ports)]
    assert behind(objects, 53, "UDP") == [("matrix/web", 1053, "UDP")]
    assert behind(objects, 53, "TCP") == [("matrix/web", 2053, "TCP")]


@pytest.mark.parametrize(
    ("front", "port", "reason"),
    [
        (service("front", "web", HTTP), 81, "no port 81 (it has 80/TCP)"),
        (service("front", "web", HTTP), "http", "no port http"),
        (service("front", "nobody", HTTP), 80, "selects no pod"),
        (service("front", "web", {"port": 80, "targetPort": "grpc"}), 80, "no pod that it selects names a port grpc"),
        (service("front", "", HTTP), 80, "no EndpointSlice"),
    ],
)
def test_a_service_that_leads_nowhere_says_why(front: Object, port: int | str, reason: str) -> None:
    (answer,) = ask(read_cluster([WEB, DATABASE, front]), "database", f"svc/front:{port}")
    assert not answer.allowed
    assert reason in answer.reasons[0]


def test_a_headless_service_translates_no_port() -> None:
    headless = service("front", "web", {"name": "web", "port": 80, "targetPort": 8080}, clusterIP="None")
    assert behind([WEB, headless], 80) == [("matrix/web", 80, "TCP")]
    assert behind([WEB, headless], 9999) == [("matrix/web", 9999, "TCP")]
    # A client that asks DNS for the port too (SRV) is told the pod's.
    assert behind([WEB, headless], "web") == [("matrix/web", 8080, "TCP")]


def test_a_service_without_selector_leads_where_endpoint_slices_say() -> None:
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "matrix", "name": "x", "labels": {"kubernetes.io/service-name": "front"}},
        "endpoints": [{"addresses": ["192.0.2.7"]}],
        "ports": [{"name": "web", "port": 8443}],
    }
    objects = [WEB, service("front", "", HTTP), slices]
    assert behind(objects, 80) == [("192.0.2.7", 8443, "TCP")]
    allowed = send("p", "web", {"to": [block("192.0.2.0/24")], "ports": [{"port": 8443}]})
    assert reaches([*objects, allowed], "web", "front:80")
    assert not reaches([*objects, send("p", "web", {"ports": [{"port": 80}]})], "web", "front:80")


def test_an_external_name_is_an_alias_that_keeps_the_port() -> None:
    real = service("storage/real", "minio", {"port": 80, "targetPort": 9000})
    minio = deployment("storage/minio", {"s3": 9000})
    inside = service("front", "", type="ExternalName", externalName="real.storage.svc.cluster.local")
    outside = service("front", "", type="ExternalName", externalName="s3.example.com")
    dangling = service("front", "", type="ExternalName", externalName="gone.storage.svc.cluster.local")
    assert behind([minio, real, inside], 80) == [("storage/minio", 9000, "TCP")]
    assert behind([minio, real, inside], 9000) == []
    assert behind([minio, real, outside], 443) == [("world", 443, "TCP")]
    assert behind([minio, real, dangling], 80) == []


def test_aliases_that_lead_in_a_circle_lead_nowhere() -> None:
    circle = [
        service(a, "", type="ExternalName", externalName=f"{b}.matrix.svc.cluster.local") for a, b in (("front", "back"), ("back", "front"))
    ]
    assert behind(circle, 80) == []


# What the API server would refuse


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"ingress": [{"form": []}]}, "rule has no field form"),
        ({"ingress": [{"to": []}]}, "rule has no field to"),
        ({"ingress": [{"from": [{}]}]}, "selects nothing"),
        ({"ingress": [{"from": [{"podSelector": None}]}]}, "selects nothing"),
        ({"ingress": [{"from": [{"podSelecter": {}}]}]}, "peer has no field podSelecter"),
        ({"ingress": [{"from": [{"podSelector": {"app": "web"}}]}]}, "selector has no field app"),
        ({"ingress": [{"from": [{**block("0.0.0.0/0"), "podSelector": {}}]}]}, "ipBlock and a selector"),
        ({"ingress": [{"from": [block("10.0.0.0/33")]}]}, "10.0.0.0/33"),
        ({"ingress": [{"ports": [{"port": 80, "protocol": "tcp"}]}]}, "unknown protocol tcp"),
        ({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}, "endPort 90"),
        ({"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}, "endPort 79"),
        ({"ingress": [{"ports": [{"endPort": 79}]}]}, "endPort 79"),
        ({"policyTypes": ["ingress"]}, "policyTypes has ingress"),
        ({"podSelector": expressions(("app", "in", "web"))}, "unknown operator in"),
        ({"podSelector": expressions(("app", "In"))}, "In with 0 values"),
        ({"podSelector": expressions(("app", "Exists", "web"))}, "Exists with 1 values"),
    ],
)
def test_a_malformed_policy_is_an_error_that_names_it(spec: Object, complaint: str) -> None:
    with pytest.raises(ManifestError, match="NetworkPolicy matrix/bad: ") as error:
        read_cluster([WEB, policy("matrix/bad", **spec)])
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        ("projectcalico.org/v3", "NetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
    ],
)
def test_policies_of_other_kinds_are_refused_rather_than_ignored(api_version: str, kind: str) -> None:
    with pytest.raises(ManifestError, match=api_version):
        read_cluster([custom(api_version, kind, "p", {})])


# What operators add


def postgresql(**spec: Any) -> Object:
    return custom("postgresql.cnpg.io/v1", "Cluster", "database/main", {"instances": 3, **spec})


def of_cluster(name: str) -> Object:
    return {"podSelector": {"matchLabels": {"cnpg.io/cluster": name}}}


def test_cloudnative_pg_services_lead_to_the_primary_the_replicas_and_all_instances() -> None:
    cluster = read_cluster([postgresql()])
    found = {name: [pod for pod, *_ in ends(cluster, f"main-{name}", 5432)] for name in ("rw", "ro", "r")}
    assert found == {
        "rw": ["database/main-1"],
        "ro": ["database/main-2", "database/main-3"],
        "r": ["database/main-1", "database/main-2", "database/main-3"],
    }


def test_cloudnative_pg_instances_and_jobs_are_selected_by_their_labels() -> None:
    instances = accept(
        "database/p", None, {"from": [{"podSelector": {"matchLabels": {"cnpg.io/podRole": "instance"}}}], "ports": [{"port": "postgresql"}]}
    )
    assert reaches([postgresql(), instances], "main", "main:5432")
    assert not reaches([postgresql(), instances], "main-2-join", "main-rw:5432")
    all_of_it = accept("database/p", None, {"from": [of_cluster("main")], "ports": [{"port": 5432}, {"port": "status"}]})
    for source in "main", "main-1-initdb", "main-2-join":
        assert reaches([postgresql(), all_of_it], source, "main-rw:5432")
    assert reaches([postgresql(), all_of_it], "main", "main:8000")
    assert not reaches([postgresql(), all_of_it], "main", "main:9187")


def test_labels_that_a_cluster_hands_down_reach_its_instances_but_not_its_jobs() -> None:
    cluster = postgresql(inheritedMetadata={"labels": {"part": "data"}})
    rule = accept("matrix/p", "web", {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"part": "data"}}}]})
    assert reaches([cluster, WEB, rule], "main", "web:8080")
    assert not reaches([cluster, WEB, rule], "main-2-join", "web:8080")


@pytest.mark.parametrize(
    ("bootstrap", "job"),
    [
        ({}, "main-1-initdb"),
        ({"initdb": {}}, "main-1-initdb"),
        ({"recovery": {"source": "old"}}, "main-1-full-recovery"),
        ({"recovery": {"volumeSnapshots": {}}}, "main-1-full-recovery"),
        ({"recovery": {"volumeSnapshots": {"storage": {}}}}, "main-1-snapshot-recovery"),
        ({"pg_basebackup": {}}, "main-1-pgbasebackup"),
    ],
)
def test_the_job_that_creates_a_database_depends_on_where_it_comes_from(bootstrap: Object, job: str) -> None:
    assert str(find_source(read_cluster([postgresql(bootstrap=bootstrap)]), job)) == f"database/{job}"


def test_a_clusters_own_services_follow_its_settings() -> None:
    extra = {"selectorType": "rw", "serviceTemplate": {"metadata": {"name": "public"}}}
    cluster = read_cluster([postgresql(managed={"services": {"disabledDefaultServices": ["ro"], "additional": [extra]}})])
    assert {known.name for known in cluster.services if known.namespace == "database"} == {"main-rw", "main-r", "public"}
    assert ends(cluster, "public", 5432) == [("database/main-1", 5432, "TCP")]


def test_the_postgresql_operator_needs_the_status_port_of_every_instance() -> None:
    operator = {"from": [within("cnpg-system")], "ports": [{"port": 8000}]}
    assert reaches([postgresql(), accept("database/p", None, operator)], "cnpg-controller-manager", "main:8000")
    assert not reaches([postgresql(), accept("database/p", None)], "cnpg-controller-manager", "main:8000")


def test_a_pooler_stands_between_its_clients_and_the_cluster() -> None:
    pooler = custom("postgresql.cnpg.io/v1", "Pooler", "database/pool", {"cluster": {"name": "main"}, "instances": 2})
    by_label = {"podSelector": {"matchLabels": {"cnpg.io/poolerName": "pool"}}}
    objects = [
        postgresql(),
        pooler,
        WEB,
        policy("database/p", podSelector={"matchLabels": {"cnpg.io/podRole": "instance"}}, ingress=[{"from": [by_label]}]),
    ]
    assert reaches(objects, "web", "svc/pool:5432")
    assert reaches(objects, "pool", "main-rw:5432")
    assert not reaches(objects, "web", "main-rw:5432")


def tenant(**spec: Any) -> Object:
    return custom("minio.min.io/v2", "Tenant", "storage/media", {"pools": [{"name": "pool-0", "servers": 4}], **spec})


@pytest.mark.parametrize(("tls", "port", "console"), [(True, 443, 9443), (False, 80, 9090)])
def test_minio_is_one_service_in_front_of_every_server(tls: bool, port: int, console: int) -> None:
    cluster = read_cluster([tenant(requestAutoCert=tls)])
    servers = [(f"storage/media-pool-0-{n}", 9000, "TCP") for n in range(4)]
    assert ends(cluster, "minio", port) == servers
    assert ends(cluster, "media-hl", 9000) == servers
    assert [number for _, number, _ in ends(cluster, "media-console", console)] == [console] * 4
    assert ends(cluster, "minio", 9000) == []


def test_minio_servers_and_their_operator_need_one_another() -> None:
    servers = {"podSelector": {"matchLabels": {"v1.min.io/tenant": "media"}}}
    operator = {**within("minio-operator"), "podSelector": {"matchLabels": {"name": "minio-operator"}}}
    objects = [tenant(), policy("storage/p", ingress=[{"from": [servers, operator], "ports": [{"port": "minio-port"}]}]), WEB]
    assert reaches(objects, "media-pool-0", "media-pool-0:9000")
    assert reaches(objects, "minio-operator/minio-operator", "minio:443")
    assert not reaches(objects, "web", "minio:443")


def test_an_http_challenge_is_answered_by_a_pod_in_the_certificates_namespace() -> None:
    issuer = custom("cert-manager.io/v1", "ClusterIssuer", "acme", {"acme": {"solvers": [{"http01": {"ingress": {}}}]}})
    certificate = custom("cert-manager.io/v1", "Certificate", "matrix/web", {})
    solver = {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
    open_solver = policy("matrix/acme", podSelector=solver, ingress=[{"ports": [{"port": 8089}]}])
    deny = accept("matrix/deny", None)
    assert reaches([issuer, certificate, deny, open_solver], "world", "cm-acme-http-solver:8089")
    assert not reaches([issuer, certificate, deny], "world", "cm-acme-http-solver:8089")
    with pytest.raises(UnknownNameError):
        find_source(read_cluster([certificate]), "cm-acme-http-solver")


def test_what_is_rendered_takes_the_place_of_what_would_be_derived() -> None:
    own = deployment("cnpg-system/cnpg-controller-manager", {"metrics": 8080}, labels={"app": "mine"})
    pod = find_source(read_cluster([postgresql(), own]), "cnpg-controller-manager")
    assert [p.labels["app"] for p in getattr(pod, "pods", ())] == ["mine"]


# Explanations


def test_an_answer_names_the_policies_that_admit_and_those_that_do_not() -> None:
    objects = [WEB, DATABASE, send("matrix/leave", "web", {"to": [pods("database")]}), accept("matrix/deny", None)]
    (answer,) = ask(read_cluster(objects), "web", "database:5432")
    assert render_answer(answer).splitlines() == [
        "matrix/web -> matrix/database:5432/TCP  DENIED",
        "  egress of matrix/web is admitted by matrix/leave",
        "  ingress of matrix/database is denied: no rule of matrix/deny admits matrix/web on 5432/TCP",
    ]


def test_replicas_that_agree_are_explained_in_one_sentence() -> None:
    (answer,) = ask(read_cluster([postgresql(), accept("database/deny", None)]), "main", "main:8000")
    assert answer.reasons == (
        "egress of database/main is open: no policy isolates it",
        "ingress of database/main is denied: no rule of database/deny admits database/main on 8000/TCP",
    )


def test_a_near_miss_is_told() -> None:
    (answer,) = ask(
        read_cluster([WEB, DATABASE, accept("matrix/p", "database", {"from": [pods("web")], "ports": [{"port": 1, "endPort": 9}]})]),
        "web",
        "database",
    )
    assert answer.reasons[-1].endswith("admits matrix/web on 5432/TCP (only on 1-9/TCP)")


def test_a_port_that_no_container_declares_is_remarked_on_but_not_refused() -> None:
    (answer,) = ask(read_cluster([WEB, DATABASE]), "web", "database:1")
    assert answer.allowed
    assert answer.reasons[-1] == "note: no container of matrix/database declares 1/TCP"


# Names


@pytest.fixture(scope="module")
def platform() -> Cluster:
    objects = [
        WEB,
        deployment("matrix/redis", {"redis": 6379}),
        service("matrix/redis", "redis", {"port": 6379}),
        deployment("li/redis", {"redis": 6379}),
        SCRAPER,
        postgresql(),
        tenant(),
    ]
    return read_cluster(objects, nodes=["10.0.0.0/24"], api_server=["10.0.0.10"])


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("web", "matrix/web"),
        ("matrix/web", "matrix/web"),
        ("li/redis", "li/redis"),
        ("main", "database/main"),
        ("main-2", "database/main-2"),
        ("pod/database/main-2", "database/main-2"),
        ("world", "world"),
        ("node", "node"),
        ("api-server", "api-server"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_caller_goes_by_its_short_name(platform: Cluster, name: str, meaning: str) -> None:
    assert str(find_source(platform, name)) == meaning


def test_a_name_that_a_service_and_a_workload_share_means_the_service_where_that_has_the_port(platform: Cluster) -> None:
    answers = {name: ask(platform, "web", name)[0].reasons[-1] for name in ("matrix/redis:6379", "matrix/redis:1", "pod/matrix/redis:6379")}
    assert "note" not in answers["matrix/redis:6379"]
    assert "note: no container" in answers["matrix/redis:1"]
    assert isinstance(find_targets(platform, "matrix/redis")[0], Service)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wbe", "nothing is called wbe; did you mean web"),
        ("matrix/wbe", "nothing is called matrix/wbe; did you mean matrix/web"),
        ("zzzzzz", "nothing is called zzzzzz"),
        ("redis", "redis is ambiguous: matrix/redis or li/redis"),
    ],
)
def test_an_unknown_or_ambiguous_name_says_what_would_do(platform: Cluster, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        find_source(platform, name)
    assert str(error.value).startswith(message)


def test_without_a_port_every_port_is_asked_about(platform: Cluster) -> None:
    assert [answer.port for answer in ask(platform, "scraper", "web")] == ["8080/TCP", "9090/TCP"]
    with pytest.raises(UnknownNameError, match="world:443"):
        ask(platform, "web", "world")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", ("web", None, None)),
        ("matrix/web", ("matrix/web", None, None)),
        ("matrix/web:80", ("matrix/web", 80, None)),
        ("svc/web:http", ("svc/web", "http", None)),
        ("dns:53/udp", ("dns", 53, "UDP")),
        ("192.0.2.1:443", ("192.0.2.1", 443, None)),
        ("2001:db8::1", ("2001:db8::1", None, None)),
        ("[2001:db8::1]:443/tcp", ("2001:db8::1", 443, "TCP")),
    ],
)
def test_a_destination_is_a_name_a_port_and_a_protocol(text: str, expected: tuple[str, int | str | None, str | None]) -> None:
    found = parse_destination(text)
    assert (found.name, found.port, found.protocol) == expected


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="TCP, UDP, SCTP"):
        parse_destination("web:80/icmp")


@pytest.mark.parametrize(
    ("host", "meaning"),
    [
        ("redis", "matrix/redis"),
        ("redis.matrix", "matrix/redis"),
        ("redis.matrix.svc", "matrix/redis"),
        ("redis.matrix.svc.cluster.local", "matrix/redis"),
        ("redis.matrix.svc.cluster.local.", "matrix/redis"),
        ("main-rw.database", "database/main-rw"),
        ("media-pool-0-2.media-hl.storage.svc.cluster.local", "storage/media-pool-0-2"),
        ("matrix.org", "matrix.org"),
        ("s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_host_name_means_what_it_means_to_a_pod_of_the_namespace(platform: Cluster, host: str, meaning: str) -> None:
    assert str(resolve(platform, host, "matrix")) == meaning


def test_a_member_of_the_same_namespace_needs_only_its_services_name(platform: Cluster) -> None:
    member = resolve(platform, "media-pool-0-2.media-hl", "storage")
    assert isinstance(member, Pod)
    assert member.name == "media-pool-0-2"


def test_a_name_outside_is_an_address_of_the_world(platform: Cluster) -> None:
    outside = resolve(platform, "matrix.org", "matrix")
    assert isinstance(outside, Address)
    assert outside.addresses == WORLD.addresses


@pytest.mark.parametrize(
    "host",
    [
        "redys",
        "redis.database",
        "redis.matrix.svc.example.org.svc",
        "web",
        "media-pool-0-9.media-hl.storage.svc",
        "main-1.main-rw.database",
    ],
)
def test_a_host_name_that_no_service_has_is_an_error(platform: Cluster, host: str) -> None:
    with pytest.raises(UnknownNameError, match="no Service answers"):
        resolve(platform, host, "matrix")


# The matrix


def test_the_matrix_says_who_reaches_each_port() -> None:
    objects = [WEB, DATABASE, SCRAPER, accept("matrix/deny", None), accept("matrix/p", "database", {"from": [pods("web")]})]
    rows = {(row.targets, row.ports): row.sources for row in matrix(read_cluster(objects), only=["web", "matrix/database"])}
    assert rows == {(("web",), ("8080 http", "9090 metrics")): (), (("database",), ("5432 sql",)): ("matrix/web",)}


def test_the_matrix_merges_targets_that_the_same_callers_reach() -> None:
    family = [deployment(f"w{n}", {"http": 80}, replicas=1, labels={"family": "w"}) for n in range(5)]
    rule = {"from": [{"podSelector": {"matchLabels": {"family": "w"}}}]}
    text = render_matrix(read_cluster([*family, accept("p", None, rule)]), only=[f"w{n}" for n in range(5)])
    assert text.splitlines()[1].split(maxsplit=7)[:5] == ["w0,", "w1,", "w2,", "w3,", "w4"]
    assert text.splitlines()[1].endswith("matrix: all 5")
    assert len(text.splitlines()) == 2


def test_the_matrix_fits_its_width() -> None:
    many = [deployment(f"matrix/a-rather-long-component-name-{n}", {"http": 8000 + n}) for n in range(30)]
    text = render_matrix(read_cluster([*many, *(send(f"p{n}", f"a-rather-long-component-name-{n}") for n in range(15))]), width=100)
    assert max(map(len, text.splitlines())) <= 100
