"""Calls, as they are rendered: who listens on which ports of nodes, who reaches whom, and what the four programs must agree on."""

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from cdk8s import App

from app.compiler import render
from app.inspection.reach import WORLD, Cluster, read_cluster
from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from kit.network import PortRange
from kit.options import OptionError
from kit.rendering import Rendering
from kit.secrets import Shared
from overlays import profiles
from tests.manifests.reaching import closed_connections, every_pod_reaches, open_ports, some_pod_reaches, stranger
from tests.manifests.rules.consistency import resolution_problems
from tests.manifests.rules.mutation import assert_noticed, setting
from tests.manifests.rules.objects import Objects, workloads
from tests.manifests.rules.publication import published

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\nfeatures: {calls: true}\n"
NODES = "cluster: {node_cidrs: [10.0.0.0/24]}\n"


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return render(parse_site(BASE + NODES), profiles()[1])


@pytest.fixture(scope="module")
def cluster(rendering: Rendering) -> Cluster:
    return read_cluster([*map(dict, rendering.manifests()), *OTHERS], nodes=["10.0.0.0/24"])


OTHERS = [stranger("traefik", "traefik"), stranger("stranger", "default"), stranger("intruder", "matrix-rtc")]

OPEN = [
    # LiveKit and coturn have the addresses of nodes.
    ("matrix-rtc/livekit", "matrix/redis-proxy", 6379),
    ("matrix-rtc/livekit", "matrix-rtc/lk-jwt-service", 8080),
    ("matrix-rtc/lk-jwt-service", "matrix/haproxy", 8008),
    ("matrix-rtc/lk-jwt-service", "matrix/redis-proxy", 6379),
    ("matrix-rtc/lk-jwt-service", "traefik/traefik", 8443),
    ("traefik/traefik", "matrix-rtc/lk-jwt-service", 8080),
    ("traefik/traefik", "matrix-rtc/livekit", 7880),
]
CLOSED = [
    ("matrix-rtc/livekit", "matrix/redis", 6379),
    ("matrix-rtc/livekit", "matrix/redis", 26379),
    ("matrix-rtc/livekit", "matrix/postgresql-main", 5432),
    ("matrix-rtc/livekit", "matrix/synapse", 8008),
    ("matrix-rtc/livekit", "matrix/haproxy", 8009),
    ("matrix-rtc/coturn", "matrix/synapse", 9093),
    ("matrix-rtc/lk-jwt-service", "matrix/redis", 6379),
    ("matrix-rtc/lk-jwt-service", "matrix/synapse", 8008),
    ("matrix-rtc/lk-jwt-service", "matrix/haproxy", 8009),
    ("matrix-rtc/lk-jwt-service", "matrix/postgresql-main", 5432),
    ("default/stranger", "matrix-rtc/lk-jwt-service", 8080),
    ("matrix-rtc/intruder", "matrix-rtc/lk-jwt-service", 8080),
    ("matrix-rtc/intruder", "matrix/redis", 6379),
]


@pytest.mark.parametrize(("source", "target", "port"), OPEN, ids=str)
def test_what_has_to_talk_can(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert every_pod_reaches(cluster, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), CLOSED, ids=str)
def test_what_has_no_business_is_shut_out(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert not some_pod_reaches(cluster, source, target, port)


def test_the_world_reaches_the_media_servers_and_nothing_else_of_calls(cluster: Cluster) -> None:
    pods = [pod for pod in cluster.pods if pod.namespace == "matrix-rtc"]
    reached = {pod.workload for pod in pods if open_ports(cluster, WORLD, pod)}
    assert reached == {"matrix-rtc/livekit", "matrix-rtc/coturn"}


def test_every_declared_connection_is_open_at_both_ends_also_from_nodes(full_site: Site, everything: Objects) -> None:
    cluster = read_cluster(everything, nodes=full_site.cluster.node_cidrs)
    declared = assemble(App(), full_site, profiles()[0]).declared.connections
    assert any(connection.source.host_network for connection in declared)
    assert list(closed_connections(cluster, declared)) == []


def test_policies_admit_nodes_only_where_a_pod_in_their_network_has_to_come_in(rendering: Rendering) -> None:
    policies = [o for o in rendering.manifests() if o["kind"] == "NetworkPolicy"]
    nodes = {"ipBlock": {"cidr": "10.0.0.0/24"}}
    admitting = {o["metadata"]["name"] for o in policies if any(nodes in rule["from"] for rule in o["spec"].get("ingress") or [])}
    assert admitting == {"redis-proxy", "lk-jwt-service"}


def test_no_policy_pretends_to_bind_a_pod_in_the_network_of_its_node(rendering: Rendering) -> None:
    policies = [o for o in rendering.manifests() if o["kind"] == "NetworkPolicy" and o["metadata"]["namespace"] == "matrix-rtc"]
    assert {policy["metadata"]["name"] for policy in policies} == {"default-deny", "lk-jwt-service", "acme-solver"}


# -- ports of nodes


def _settings(rendering: Rendering) -> tuple[dict[str, Any], dict[str, str]]:
    """LiveKit's settings, and coturn's that have a value."""
    lines = [line for line in rendering.files["config/coturn/turnserver.conf"].splitlines() if "=" in line and not line.startswith("#")]
    return yaml.safe_load(rendering.files["config/livekit/config.yaml"]), dict(line.split("=", 1) for line in lines)


def test_livekit_and_coturn_share_no_port_of_a_node(rendering: Rendering) -> None:
    livekit, coturn = _settings(rendering)
    media = PortRange(livekit["rtc"]["port_range_start"], livekit["rtc"]["port_range_end"], "UDP")
    relay = PortRange(int(coturn["min-port"]), int(coturn["max-port"]), "UDP")
    assert not media.overlaps(relay)
    for taken in (PortRange(30_000, 32_767, "UDP"), PortRange(int(coturn["listening-port"]), int(coturn["listening-port"]), "UDP")):
        assert not media.overlaps(taken)
        assert not relay.overlaps(taken)


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ("media_ports: 50000-56000", r"coturn|livekit"),
        ("relay_ports: 54000-60000", r"livekit would listen on 50000-54999/UDP of its nodes, and 54000-60000 is for coturn"),
        ("media_ports: 32000-36000", r"livekit would listen on 32000-36000/UDP of its nodes, and 30000-32767 is for NodePort Services"),
        ("relay_ports: 3000-4000", r"coturn would listen on 3000-4000/UDP of its nodes"),
        ("relay_ports: 55000-55010", r"600 relayed addresses on one node, and the relay ports 55000-55010 are only 11"),
    ],
)
def test_ports_that_somebody_else_takes_are_refused(ports: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        render(parse_site(f"{BASE}{NODES}calls: {{{ports}}}\n"), profiles()[1])


def test_without_addresses_of_nodes_no_policy_is_made() -> None:
    with pytest.raises(OptionError, match=r"cluster\.node_cidrs: livekit runs in the network of its nodes"):
        render(parse_site(BASE + "cluster: {node_cidrs: []}\n"), profiles()[0])


# -- load balancers

BALANCED = (
    "tls: {source: internal-ca}\ncalls:\n  load_balancer:\n    livekit: {livekit-0: 203.0.113.10, livekit-1: 203.0.113.11}\n"
    "    balancer_class: example.com/udp\n    annotations: {example.com/reserved: 'true'}\n"
)


@pytest.fixture(scope="module")
def balanced() -> Rendering:
    return render(parse_site(BASE + NODES + BALANCED), profiles()[1])


def _services(rendering: Rendering, kind: str) -> dict[str, Mapping[str, Any]]:
    return {o["metadata"]["name"]: o for o in _of(rendering, "Service") if o["spec"]["type"] == kind}


def test_each_livekit_has_a_load_balancer_of_its_own_and_coturn_one_for_all(balanced: Rendering) -> None:
    services = _services(balanced, "LoadBalancer")
    ports = {name: {(p["port"], p["protocol"], p["targetPort"]) for p in o["spec"]["ports"]} for name, o in services.items()}
    media = {(7881, "TCP", "media"), (7882, "UDP", "media-udp")}
    turn = {(3478, "TCP", "turn"), (3478, "UDP", "turn-udp"), (443, "TCP", "turns")}
    assert ports == {"livekit-0": media, "livekit-1": media, "turn": turn}
    for name, service in services.items():
        spec = service["spec"]
        assert (spec["externalTrafficPolicy"], spec["loadBalancerClass"]) == ("Local", "example.com/udp")
        assert service["metadata"]["annotations"]["example.com/reserved"] == "true"
        assert spec["selector"].get("statefulset.kubernetes.io/pod-name", "turn") == name


def test_calls_go_on_over_a_livekit_that_is_not_ready_and_nothing_else_is_open(balanced: Rendering) -> None:
    objects = [dict(o) for o in balanced.manifests()]
    assert resolution_problems(objects) == []
    assert_noticed(
        resolution_problems, objects, setting("Service/livekit-0", "spec.externalTrafficPolicy", "Cluster"), "where packets come"
    )
    assert_noticed(resolution_problems, objects, setting("Service/livekit", "spec.type", "LoadBalancer"), "open outside")


def test_clients_are_told_what_the_load_balancers_have(balanced: Rendering) -> None:
    livekit, coturn = _settings(balanced)
    assert livekit["rtc"]["udp_port"] == 7882
    assert "port_range_start" not in livekit["rtc"]
    assert {"host": "turn.example.com", "port": 443, "protocol": "tls", "secret_file": "/secrets/turn/shared_secret"} in (
        livekit["rtc"]["turn_servers"]
    )
    synapse = yaml.safe_load(balanced.files["config/synapse/homeserver.yaml"])
    assert "turns:turn.example.com:443?transport=tcp" in synapse["turn_uris"]
    assert coturn["tls-listening-port"] == "5349"
    script = balanced.files["config/livekit/addresses.sh"]
    for pod, address in (("livekit-0", "203.0.113.10"), ("livekit-1", "203.0.113.11"), ("livekit-2", "10.0.0.5")):
        command = f'HOST_IP=10.0.0.5 POD_NAME={pod}; {script}\necho "$PUBLIC"'
        assert subprocess.run(["sh", "-euc", command], check=True, capture_output=True, text=True, timeout=10).stdout == f"{address}\n"
    # A person who needs a relay reaches LiveKit over it.
    assert "allowed-peer-ip=203.0.113.10" in balanced.files["config/coturn/turnserver.conf"].splitlines()


def test_load_balancers_of_a_site_s_own_lead_to_ports_of_the_nodes() -> None:
    rendering = render(parse_site(f"{BASE}{NODES}calls: {{load_balancer: {{service: node-port}}}}\n"), profiles()[0])
    assert _services(rendering, "NodePort").keys() == {"livekit-0", "turn"}
    assert _services(rendering, "LoadBalancer") == {}


def test_without_load_balancers_no_service_is_open_outside(rendering: Rendering) -> None:
    assert {o["spec"]["type"] for o in _of(rendering, "Service")} == {"ClusterIP"}


# -- what the programs must agree on


@pytest.fixture(scope="module")
def pods(rendering: Rendering) -> Mapping[str, Any]:
    return {w.name: w for w in workloads([dict(o) for o in rendering.manifests()])}


def test_livekit_tells_every_replica_of_the_authorisation_service(rendering: Rendering, pods: Mapping[str, Any]) -> None:
    livekit, _ = _settings(rendering)
    names = [f"http://{pod}.lk-jwt-service-pods.matrix-rtc.svc.cluster.local:8080/sfu_webhook" for pod in pods["lk-jwt-service"].pod_names]
    assert livekit["webhook"]["urls"] == names
    assert len(names) == 2


def test_only_this_homeserver_s_people_have_rooms_made(rendering: Rendering, pods: Mapping[str, Any]) -> None:
    livekit, _ = _settings(rendering)
    assert livekit["room"]["auto_create"] is False
    assert _environment(pods["lk-jwt-service"])["LIVEKIT_FULL_ACCESS_HOMESERVERS"] == "example.com"


def test_clients_are_told_of_the_hosts_that_are_published(rendering: Rendering) -> None:
    synapse = yaml.safe_load(rendering.files["config/synapse/homeserver.yaml"])
    transport = {"type": "livekit", "url": "wss://rtc.example.com", "livekit_service_url": "https://rtc.example.com"}
    assert synapse["matrix_rtc"]["transports"] == [transport]
    assert synapse["experimental_features"]["msc4143_enabled"] is True
    _, coturn = _settings(rendering)
    assert synapse["turn_uris"] == [f"turn:{coturn['realm']}:3478?transport={way}" for way in ("udp", "tcp")]
    assert coturn["realm"] == "turn.example.com"
    assert published([dict(o) for o in rendering.manifests()])["rtc.example.com"] == {
        **dict.fromkeys(("/sfu/get", "/get_token", "/delegate_delayed_leave"), "lk-jwt-service:8080"),
        **dict.fromkeys(("/rtc", "/twirp/livekit.RoomService"), "livekit:7880"),
    }


def test_the_authorisation_service_learns_who_a_user_is_without_federation(rendering: Rendering) -> None:
    main = yaml.safe_load(rendering.files["config/synapse/main.yaml"])
    assert ["client", "openid"] in [resource["names"] for listener in main["listeners"] for resource in listener.get("resources", [])]
    assert yaml.safe_load(rendering.files["config/haproxy/well-known-server.json"]) == {"m.server": "matrix.example.com:443"}
    assert "openid" not in rendering.files["config/haproxy/routes.map"], "what no route names goes to the main process"


def test_synapse_and_coturn_have_one_secret() -> None:
    declared = assemble(App(), parse_site(BASE + NODES), profiles()[0]).declared.secrets
    (shared,) = (dict(need.spec.keys)["shared_secret"] for need in declared if str(need.spec) == "matrix/turn")
    assert isinstance(shared, Shared)
    assert str(shared.source) == "matrix-rtc/turn:shared_secret"


def _environment(workload: Any) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in workload.containers[0]["env"]}


@pytest.mark.parametrize(
    ("tls", "coturn", "service"),
    [
        ("", False, False),
        ("tls: {source: internal-ca}\n", True, True),
        ("tls: {source: cluster-issuer, cluster_issuer: corporate}\n", True, True),
        ("tls: {source: existing}\n", True, True),
        ("tls: {source: existing}\ncalls: {turn_tls: false}\n", False, True),
        ("calls: {turn_tls: true}\n", True, False),
    ],
)
def test_certificates_are_where_they_can_be_had(tls: str, coturn: bool, service: bool) -> None:
    rendering = render(parse_site(BASE + NODES + tls), profiles()[0])
    mounted = _mounted_secrets(rendering)
    assert (("coturn", "turn-tls") in mounted) == coturn
    assert (("lk-jwt-service", "rtc-tls") in mounted) == service
    text = rendering.files["config/coturn/turnserver.conf"]
    assert ("tls-listening-port=5349" in text, "no-tls" in text.splitlines()) == (coturn, not coturn)
    uris = yaml.safe_load(rendering.files["config/synapse/homeserver.yaml"])["turn_uris"]
    assert any(uri.startswith("turns:") for uri in uris) == coturn
    made = {o["metadata"]["name"] for o in _of(rendering, "Certificate") if o["metadata"]["namespace"] == "matrix-rtc"}
    # An ACME authority asks for proof by HTTP, and this name leads to nodes.
    assert ("turn-tls" in made) == ((coturn and "internal-ca" in tls) or "cluster-issuer" in tls)


def test_behind_a_gateway_the_authorisation_service_has_the_authority_beside_itself() -> None:
    gateway = "ingress: {type: gateway, gateway: {name: public, namespace: gateways}}\ntls: {source: internal-ca}\n"
    rendering = render(parse_site(BASE + NODES + gateway), profiles()[0])
    host = ["rtc.example.com"]
    certified = {o["metadata"]["namespace"] for o in _of(rendering, "Certificate") if o["spec"].get("dnsNames") == host}
    assert certified == {"gateways", "matrix-rtc"}
    routes = {o["metadata"]["name"] for o in _of(rendering, "HTTPRoute") if o["spec"]["hostnames"] == host}
    assert routes == {"livekit", "lk-jwt-service", "to-https"}


def _of(rendering: Rendering, kind: str) -> list[Mapping[str, Any]]:
    return [o for o in rendering.manifests() if o["kind"] == kind]


def _mounted_secrets(rendering: Rendering) -> set[tuple[str, str]]:
    """Workload and Secret, for each Secret that a workload mounts."""
    pods = [(w.name, w.pod.get("volumes", [])) for w in workloads([dict(o) for o in rendering.manifests()])]
    return {(name, volume["secret"]["secretName"]) for name, volumes in pods for volume in volumes if "secret" in volume}


def test_without_calls_nothing_of_them_is_there() -> None:
    rendering = render(parse_site(BASE.replace("calls: true", "calls: false") + NODES), profiles()[0])
    assert "matrix-rtc" not in {o["metadata"].get("namespace", o["metadata"]["name"]) for o in rendering.manifests()}
    homeserver = yaml.safe_load(rendering.files["config/synapse/homeserver.yaml"])
    assert not {"turn_uris", "matrix_rtc"} & homeserver.keys()
