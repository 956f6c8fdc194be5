"""coturn's settings: to whom it relays, with what it starts, and what it must not be told."""

import os
import re
import subprocess
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kit.facts import Cluster
from kit.network import PortRange
from main_instance.calls.nodes import NodeAddresses
from main_instance.calls.options import CallsOptions
from main_instance.coturn.configuration import NOT_PUBLIC, Certificate, CoturnSpec, configuration

SPEC = CoturnSpec("turn.example.com", CallsOptions(), total_quota=100)

NETWORKS = st.builds(
    lambda address, length: str(ip_network((address, length), strict=False)), st.integers(0, 2**32 - 1), st.integers(4, 32)
)


def _ranges(option: str, settings: str) -> list[tuple[int, int]]:
    found = re.findall(rf"^{option}=(\S+?)(?:-(\S+))?$", settings, re.MULTILINE)
    pairs = [(ip_address(first), ip_address(last or first)) for first, last in found]
    return [(int(first), int(last)) for first, last in pairs if isinstance(first, IPv4Address)]


def relays_to(address: int, settings: str) -> bool:
    """What coturn decides: an address that is allowed may be denied as well (good_peer_addr in src/server/ns_turn_server.c)."""
    if any(first <= address <= last for first, last in _ranges("allowed-peer-ip", settings)):
        return True
    return not any(first <= address <= last for first, last in _ranges("denied-peer-ip", settings))


@given(*[st.lists(NETWORKS, max_size=2)] * 3, st.lists(NETWORKS, max_size=3), st.data())
def test_nobody_is_relayed_into_the_cluster_and_peers_of_the_site_are(
    nodes: list[str], pods: list[str], services: list[str], peers: list[str], data: st.DataObject
) -> None:
    own = Cluster(node_cidrs=tuple(nodes), pod_cidrs=tuple(pods), service_cidrs=tuple(services))
    settings = configuration(evolve(SPEC, cluster=own, calls=CallsOptions(relay_to=tuple(peers))))["turnserver.conf"]
    cluster = [*nodes, *pods, *services]
    edges = [int(network[place]) for network in map(ip_network, [*cluster, *peers]) for place in (0, -1)]
    near = st.sampled_from([edge + step for edge in edges for step in (-1, 0, 1) if 0 <= edge + step < 2**32]) if edges else st.nothing()
    address = data.draw(near | st.integers(0, 2**32 - 1))
    inside, wanted = (any(IPv4Address(address) in ip_network(cidr) for cidr in cidrs) for cidrs in (cluster, peers))
    private = any(IPv4Address(address) in network for network in map(ip_network, NOT_PUBLIC) if network.version == 4)
    assert relays_to(address, settings) == (not inside and (wanted or not private))


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.1.1", "172.20.0.1", "100.64.3.2", "0.0.0.1"])
def test_nobody_is_relayed_to_a_private_address(address: str) -> None:
    assert not relays_to(int(IPv4Address(address)), configuration(SPEC)["turnserver.conf"])


def test_a_public_address_is_a_peer() -> None:
    assert relays_to(int(IPv4Address("8.8.8.8")), configuration(SPEC)["turnserver.conf"])


def test_addresses_at_which_other_nodes_relay_are_peers() -> None:
    calls = CallsOptions(public_addresses=(("10.0.0.5", "192.168.7.5"), ("10.0.0.6", "192.168.7.6")))
    settings = configuration(evolve(SPEC, calls=calls))["turnserver.conf"]
    assert [relays_to(int(IPv4Address(f"192.168.7.{n}")), settings) for n in (4, 5, 6, 7)] == [False, True, True, False]


def test_no_file_has_the_secret_or_opens_a_door_of_administration() -> None:
    files = configuration(evolve(SPEC, tls=Certificate()))
    assert "static-auth-secret" not in files["turnserver.conf"]
    options = {line.partition("=")[0] for line in files["turnserver.conf"].splitlines() if line and not line.startswith("#")}
    assert not options & {"cli", "web-admin", "no-auth", "allow-loopback-peers", "user", "server-relay", "prometheus-username-labels"}


def test_every_option_has_a_value_once() -> None:
    lines = [line for line in configuration(evolve(SPEC, tls=Certificate()))["turnserver.conf"].splitlines() if line and line[0] != "#"]
    names = [line.partition("=")[0] for line in lines if not line.startswith(("denied-peer-ip", "allowed-peer-ip"))]
    assert len(set(names)) == len(names)
    assert all(" " not in line for line in lines)


def test_more_relayed_addresses_than_ports_are_refused() -> None:
    with pytest.raises(ValueError, match="101 relayed addresses on one node, and the relay ports 50000-50099 are only 100"):
        evolve(SPEC, calls=CallsOptions(relay_ports=PortRange(50_000, 50_099, "UDP")), total_quota=101)


def test_tls_is_offered_where_there_is_a_certificate() -> None:
    assert all(uri.startswith("turn:") for uri in (relay.uri for relay in SPEC.relays))
    assert evolve(SPEC, tls=Certificate()).relays[-1].uri == "turns:turn.example.com:5349?transport=tcp"


# -- the start script, with a program in coturn's place that prints what it is started with


def start(
    tmp_path: Path, secret: str = "s3cr3t", host: str = "10.0.0.5", public: tuple[tuple[str, str], ...] = ()
) -> subprocess.CompletedProcess[str]:
    files = configuration(evolve(SPEC, calls=CallsOptions(public_addresses=public)))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "secret").write_text(secret)
    (run := tmp_path / "run").mkdir(exist_ok=True)
    (program := tmp_path / "turnserver").write_text('#!/bin/sh\necho "arguments: $*"\ncat "$2"\nstat -c %a "$2"\n')
    program.chmod(0o755)
    environment = {"HOST_IP": host, "TURN_SECRET_FILE": str(tmp_path / "secret"), "COTURN_RUN": str(run), "TURNSERVER": str(program)}
    return subprocess.run(
        ["sh", str(tmp_path / "start.sh")], env={**os.environ, **environment}, capture_output=True, text=True, timeout=20, check=False
    )


def test_the_secret_is_in_a_file_that_nobody_else_reads_and_in_no_argument(tmp_path: Path) -> None:
    output = start(tmp_path).stdout.splitlines()
    assert output[0] == f"arguments: -c {tmp_path}/run/turnserver.conf"
    assert "static-auth-secret=s3cr3t" in output
    assert output[-1] == "600"


@pytest.mark.parametrize("secret", ["", "a b", "a\nmin-port=1", "a#b", "é"])
def test_a_secret_that_could_be_taken_for_settings_is_refused(tmp_path: Path, secret: str) -> None:
    result = start(tmp_path, secret)
    assert (result.returncode, result.stdout) == (1, "")
    assert "the shared secret must be" in result.stderr
    assert not secret or secret not in result.stderr


def test_a_node_that_clients_reach_by_its_own_address_listens_there(tmp_path: Path) -> None:
    output = start(tmp_path).stdout.splitlines()
    for option in ("listening-ip", "relay-ip", "allowed-peer-ip", "prometheus-address"):
        assert f"{option}=10.0.0.5" in output
    assert not any(line.startswith("external-ip") for line in output)


def test_a_node_behind_a_router_names_both_addresses(tmp_path: Path) -> None:
    output = start(tmp_path, public=(("10.0.0.4", "203.0.113.4"), ("10.0.0.5", "203.0.113.5"))).stdout.splitlines()
    assert {"external-ip=203.0.113.5/10.0.0.5", "listening-ip=10.0.0.5", "relay-ip=10.0.0.5"} <= set(output)


def test_a_node_with_a_public_address_beside_its_own_listens_at_the_public_one(tmp_path: Path) -> None:
    output = start(tmp_path, public=(("10.0.0.5", "127.0.0.1"),)).stdout.splitlines()
    assert {"listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "prometheus-address=10.0.0.5"} <= set(output)
    assert not any(line.startswith("external-ip") for line in output)


@pytest.mark.parametrize("pair", [("10.0.0.5", "x"), ("10.0.0.5'; rm -rf /", "10.0.0.6"), ("", "")])
def test_what_is_no_address_never_gets_into_a_script(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        NodeAddresses((pair,))
