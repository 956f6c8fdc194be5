"""np-guard's analyzer, which others wrote, reads the rendered network policies as our evaluator does: every pair of pods, and the outside."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.inspection.reach import Address, Cluster, Pod, can_reach, read_cluster
from tests.kustomize import ROOT
from tests.manifests.rules.objects import Object, Objects, of_kind
from tests.manifests.test_network_policies import OTHERS

ANALYZER = ROOT / ".venv-np-guard" / "bin" / "nca"

pytestmark = pytest.mark.skipif(
    not ANALYZER.exists() and not os.environ.get("CI"), reason="needs network-config-analyzer: make .venv-np-guard/.done"
)

OUTSIDE = [Address(address, (ip_address(address),)) for address in ("10.0.0.7", "10.9.9.9", "198.51.100.7")]
"""A node, an address of another private network, and one of the internet."""
BESIDE = ((1, "TCP"), (53, "UDP"))
"""Ports that are asked for besides those that a pod declares."""


def one_of_each(cluster: Cluster) -> dict[str, Pod]:
    """A pod of each workload in the network of pods, by a name that both readers know it by."""
    pods = [workload.pods[0] for workload in cluster.workloads.values() if workload.pods and not workload.pods[0].host_network]
    return {f"{pod.namespace}/p{number}": pod for number, pod in enumerate(pods)}


def manifests(pods: Mapping[str, Pod], objects: Objects) -> list[Object]:
    """The pods, their namespaces and the policies: operators' pods too, which no manifest has."""
    labels = {o["metadata"]["name"]: o["metadata"].get("labels", {}) for o in of_kind(objects, "Namespace")}
    spaces = sorted({pod.namespace for pod in pods.values()} | labels.keys())
    return [
        *(
            _object("Namespace", "", space, labels={**labels.get(space, {}), "kubernetes.io/metadata.name": space}, spec={})
            for space in spaces
        ),
        *(_pod(name.partition("/")[2], number, pod) for number, (name, pod) in enumerate(pods.items())),
        *of_kind(objects, "NetworkPolicy"),
    ]


def _pod(name: str, number: int, pod: Pod) -> Object:
    ports = [{"containerPort": port.number, "protocol": port.protocol, **({"name": port.name} if port.name else {})} for port in pod.ports]
    made = _object("Pod", pod.namespace, name, dict(pod.labels), {"containers": [{"name": "c", "image": "i", "ports": ports}]})
    address = f"10.42.{number // 250}.{number % 250 + 1}"
    return {**made, "status": {"hostIP": "10.41.0.1", "podIP": address, "podIPs": [{"ip": address}]}}


def _object(kind: str, namespace: str, name: str, labels: dict[str, str], spec: Any) -> Object:
    metadata = {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


def analyzed(folder: Path, objects: Sequence[Object]) -> dict[tuple[str, str], str]:
    """Source and target to what may pass, as the analyzer says it; addresses as ranges."""
    (folder / "objects.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    said = folder / "said.txt"
    command = [str(ANALYZER), "--connectivity", "--resource_list", str(folder), "--output_format", "txt_no_fw_rules"]
    run = subprocess.run(
        [*command, "--output_endpoints", "pods", "--file_out", str(said)], capture_output=True, text=True, check=False, timeout=120
    )
    assert said.exists(), run.stdout + run.stderr
    lines = re.findall(r"^(\S+) => (\S+) : (.+)$", said.read_text(), re.MULTILINE)
    return {(source, target): passes for source, target, passes in lines}


def allows(passes: str, number: int, protocol: str) -> bool:
    """Whether a port is among what may pass. AssertionError for words that are not known here."""
    if passes == "All connections":
        return True
    parts = re.findall(r"\{([^}]*)\}", passes)
    assert parts, passes
    assert ",".join(f"{{{part}}}" for part in parts) == passes, passes
    for part in parts:
        said = re.fullmatch(r"protocols:([A-Z, ]+?)(?:,dst_ports:([0-9,-]+))?", part)
        assert said, passes
        ranges = [(low, high or low) for low, _, high in (one.partition("-") for one in (said[2] or "1-65535").split(","))]
        if protocol in said[1].split(", ") and any(int(low) <= number <= int(high) for low, high in ranges):
            return True
    return False


def disagreements(folder: Path, objects: Objects, read: Objects) -> list[str]:
    """Where the analyzer, of `objects`, says something else than our evaluator, of `read`."""
    cluster = read_cluster([*read, *OTHERS])
    pods = one_of_each(cluster)
    verdicts = analyzed(folder, manifests(pods, objects))
    by_name: dict[str, Pod | Address] = {**pods, **{address.name: address for address in OUTSIDE}}
    ranges = {name: _range_of(address, verdicts) for name, address in by_name.items() if isinstance(address, Address)}
    found = []
    for a, b in product(by_name, by_name):
        source, target = by_name[a], by_name[b]
        if a == b or (isinstance(source, Address) and isinstance(target, Address)):
            continue
        passes = [verdicts.get((x, y)) for x in ranges.get(a, [a]) for y in ranges.get(b, [b])]
        asked = {(port.number, port.protocol) for port in target.ports} if isinstance(target, Pod) else {(443, "TCP"), (6443, "TCP")}
        for number, protocol in sorted(asked | set(BESIDE)):
            theirs = any(allows(said, number, protocol) for said in passes if said)
            if theirs != can_reach(cluster, source, target, number, protocol):
                found.append(f"{source} -> {target}:{number}/{protocol}: np-guard says {'yes' if theirs else 'no'}")
    return found


def _range_of(address: Address, verdicts: Mapping[tuple[str, str], str]) -> list[str]:
    """The ranges of the analyzer that an address is in: it has one for each source or target."""
    said = {end for pair in verdicts for end in pair if re.fullmatch(r"[0-9.]+(-[0-9.]+|/[0-9]+)?", end)}
    return [one for one in said if _within(str(address.addresses[0]), one)]


def _within(address: str, span: str) -> bool:
    low, _, high = span.partition("-")
    assert "/" not in span, span
    return IPv4Address(low) <= IPv4Address(address) <= IPv4Address(high or low)


def test_another_reader_of_the_policies_gives_the_same_answers(everything: Objects, tmp_path: Path) -> None:
    assert disagreements(tmp_path, everything, everything) == []


def test_a_policy_that_only_one_of_them_sees_is_noticed(everything: Objects, tmp_path: Path) -> None:
    few = [o for o in everything if o["kind"] == "Namespace" or o["metadata"].get("namespace") == "matrix-rtc"]
    fewer = [o for o in few if (o["kind"], o["metadata"]["name"]) != ("NetworkPolicy", "lk-jwt-service")]
    assert len(fewer) == len(few) - 1
    assert any("lk-jwt-service" in line for line in disagreements(tmp_path, fewer, few))
