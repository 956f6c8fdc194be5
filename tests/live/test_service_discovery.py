"""No pod is unscraped and none is scraped twice: by Prometheus' own discovery and relabelling, of what is rendered.

`promtool check service-discovery` gets the pods from a file, with the labels that Kubernetes gives them (discovery/kubernetes/pod.go); and from
a real control plane, as the service account of Prometheus, where one is built.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.compiler import compile_site
from monitoring.prometheus.relabelling import INDEX, identifier
from overlays import profiles
from tests.definitions import definition
from tests.kustomize import build, write
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.discovery import META, Pod, configuration, discovered, problems
from tests.live.monitoring import watched_site
from tests.live.processes import LOOPBACK, wait_for
from tests.live.test_control_plane import BUILT_IN, NODE
from tests.manifests.rules.objects import Object, Objects, config_maps, of_kind, workloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

OF_OPERATORS = {"Cluster": ("cnpg.io/cluster", 3, (5432, 9187, 8000)), "Tenant": ("v1.min.io/tenant", 4, (9000, 9443))}
"""A custom resource to the label of the pods that its operator makes, how many there are here, and their ports."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """The smallest size of a site with everything on."""
    folder: Path = tmp_path_factory.mktemp("site")
    write(folder, compile_site(watched_site(), profiles()[:1]))
    return build(folder / "base")


@pytest.fixture(scope="module")
def rendered(objects: Objects) -> str:
    """prometheus.yaml."""
    (files,) = (files for files in config_maps(objects).values() if "prometheus.yaml" in files)
    return files["prometheus.yaml"]


def pods(objects: Objects) -> Iterator[tuple[Pod, tuple[int, ...]]]:
    """Every pod with its ports; of Jobs one that runs, and one that has ended."""
    for workload in workloads(objects):
        ports = tuple(port["containerPort"] for c in workload.containers for port in c.get("ports", ()))
        for ordinal in range(max(workload.least, 1)):
            index = {INDEX: str(ordinal)} if workload.kind == "StatefulSet" else {}
            for phase in ("Running",) if workload.runs_for_ever else ("Running", "Succeeded"):
                name = f"{workload.name}-{ordinal}" if workload.runs_for_ever else f"{workload.name}-{phase.lower()}"
                yield Pod(workload.namespace, name, workload.labels | index, phase, workload.runs_for_ever), ports
    for kind, (label, count, ports) in OF_OPERATORS.items():
        for o in of_kind(objects, kind):
            for ordinal in range(count):
                name = o["metadata"]["name"]
                yield Pod(o["metadata"]["namespace"], f"{name}-{ordinal}", {label: name}), ports


def groups(found: Iterator[tuple[Pod, tuple[int, ...]]]) -> Iterator[dict[str, Any]]:
    """The pods as a file for Prometheus: a target for each port, or one without a port."""
    for number, (pod, ports) in enumerate(found):
        known = {"namespace": pod.namespace, "pod_name": pod.name, "pod_phase": pod.phase, "pod_node_name": "node"}
        labels = {f"{META}{key}": value for key, value in known.items()}
        labels |= {f"{META}pod_label_{identifier(key)}": value for key, value in pod.labels.items()}
        address = f"10.42.{number // 250}.{number % 250 + 1}"
        for port in ports or (None,):
            of_port = {f"{META}pod_container_port_number": str(port)} if port else {}
            yield {"targets": [f"{address}:{port}" if port else address], "labels": labels | of_port}


def by_file(text: str, objects: Objects, folder: Path) -> list[str]:
    (folder / "targets.json").write_text(json.dumps(list(groups(pods(objects)))))
    document = configuration(text, {"file_sd_configs": [{"files": [str(folder / "targets.json")]}]})
    found = discovered(document, folder)
    empty = {job["job_name"] for job in document["scrape_configs"]} - {one.job for one in found}
    return [*(f"{job} asks nobody" for job in sorted(empty)), *problems([pod for pod, _ in pods(objects)], found)]


def test_every_pod_is_scraped_and_none_twice(rendered: str, objects: Objects, tmp_path: Path) -> None:
    assert by_file(rendered, objects, tmp_path) == []


def test_a_job_that_finds_nobody_or_others_too_is_noticed(rendered: str, objects: Objects, tmp_path: Path) -> None:
    document = yaml.safe_load(rendered)
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    document["scrape_configs"] = [jobs[name] for name in ("sygnal", "pusher", "alloy")]
    by_port, by_part, ended = (job["relabel_configs"] for job in document["scrape_configs"])
    next(step for step in by_port if "port_number" in step["source_labels"][0])["regex"] = "8001"
    by_part.remove(next(step for step in by_part if "component" in step["source_labels"][0]))
    said = by_file(yaml.safe_dump(document), objects, tmp_path)
    assert {"sygnal asks nobody", "sygnal-0 is asked by nobody", "haproxy-0 is asked by nobody"} <= set(said)
    # Every worker, in place of one type of them: so no other one may ask for it.
    assert not {"event-persister-0 is asked by nobody", "synapse-0 is asked by nobody"} & set(said)
    # All pods there are, those too that have ended.
    ended[:] = [step for step in ended if step.get("action") is None]
    said = by_file(yaml.safe_dump(document), objects, tmp_path)
    assert any("has ended, and is asked by" in one for one in said)
    assert any(one.startswith("pusher-0 is asked by") and ", pusher" in one for one in said)
    assert any(one.endswith("is asked 2 times") for one in said)


# -- the real control plane


@pytest.fixture(scope="module")
def cluster(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with all of it, whose pods have an address, as a kubelet gives it to them."""
    folder: Path = tmp_path_factory.mktemp("control-plane")
    with control_plane(folder) as plane:
        kinds = sorted({(o["apiVersion"], o["kind"]) for o in objects} - {kind for kind in _kinds(objects) if kind[0] in BUILT_IN})
        custom = [definition(*kind) for kind in kinds]
        plane.apply([*custom, NODE], folder)
        plane.wait_for_definitions()
        plane.apply([o for o in objects if o["kind"] == "Namespace"], folder)
        plane.apply([dict(o) for o in objects], folder)
        least = sum(w.least for w in workloads(objects) if w.kind in ("StatefulSet", "Deployment"))
        wait_for(lambda: len(plane.objects("pods")) >= least, 120, "the pods")
        for number, pod in enumerate(plane.objects("pods")):
            status = {"phase": "Running", "podIP": f"10.42.{number // 250}.{number % 250 + 1}"}
            status["podIPs"] = [{"ip": status["podIP"]}]  # type: ignore[assignment]
            of = (f"pod/{pod['metadata']['name']}", "--namespace", pod["metadata"]["namespace"])
            plane.kubectl("patch", *of, "--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
        yield plane


def _kinds(objects: Objects) -> set[tuple[str, str]]:
    return {(o["apiVersion"], o["kind"]) for o in objects}


@pytest.mark.optional
def test_prometheus_finds_the_pods_of_a_real_cluster_by_its_own_rights(rendered: str, cluster: ControlPlane, tmp_path: Path) -> None:
    namespace = "matrix-monitoring"
    (token,) = cluster.kubectl("create", "token", "prometheus", "--namespace", namespace).lines
    (tmp_path / "token").write_text(token)
    api = {
        "api_server": f"https://{LOOPBACK}:{cluster.port}",
        "authorization": {"credentials_file": str(tmp_path / "token")},
        "tls_config": {"insecure_skip_verify": True},
    }
    found = discovered(configuration(rendered, {"kubernetes_sd_configs": [api]}), tmp_path)
    there = [
        Pod(o["metadata"]["namespace"], o["metadata"]["name"], o["metadata"].get("labels", {}))
        for o in cluster.objects("pods")
        # An autoscaler may have made another one since.
        if o["metadata"]["ownerReferences"][0]["kind"] != "Job" and "podIP" in o["status"]
    ]
    assert len(there) > 50
    assert problems(there, [one for one in found if one.pod in {(pod.namespace, pod.name) for pod in there}]) == []
