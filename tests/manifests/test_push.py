"""Sygnal in a site that pushes: who may call it, whom it may call, and that Synapse is told where it is."""

import pytest
import yaml
from attrs import evolve
from cdk8s import App

from app.inspection.reach import Cluster, can_reach, read_cluster
from app.platform import assemble
from app.site import Site
from kit.rendering import Rendering
from overlays import profiles

HOMESERVER = "config/synapse/homeserver.yaml"
PORT, METRICS = 5000, 8000


@pytest.fixture(scope="module")
def rendering(full_site: Site) -> Rendering:
    return assemble(App(), full_site, profiles()[0]).rendering()


@pytest.fixture(scope="module")
def cluster(rendering: Rendering) -> Cluster:
    """With a network plugin for which an address range also means pods."""
    return read_cluster([dict(manifest) for manifest in rendering.manifests()], pod_network=["10.42.0.0/16"])


def callers(cluster: Cluster, port: int) -> set[str]:
    """The workloads that reach Sygnal on a port."""
    targets = cluster.workloads["matrix/sygnal"].pods
    return {
        name
        for name, workload in cluster.workloads.items()
        if any(can_reach(cluster, source, target, port, "TCP") for source in workload.pods for target in targets)
    }


def test_synapses_pushers_alone_call_sygnal(cluster: Cluster) -> None:
    assert callers(cluster, PORT) == {"matrix/pusher"}
    assert callers(cluster, METRICS) == {"matrix-monitoring/prometheus"}


def test_sygnal_calls_nobody_in_the_cluster(cluster: Cluster) -> None:
    (source, *_) = cluster.workloads["matrix/sygnal"].pods
    others = [pod for name, workload in cluster.workloads.items() if name != "matrix/sygnal" for pod in workload.pods[:1]]
    reached = [
        (str(pod), port.number) for pod in others for port in pod.ports if can_reach(cluster, source, pod, port.number, port.protocol)
    ]
    assert [(pod, number) for pod, number in reached if not pod.startswith("kube-system/")] == []


def test_synapse_is_told_of_the_addresses_of_services_and_of_no_others(rendering: Rendering, full_site: Site) -> None:
    assert yaml.safe_load(rendering.files[HOMESERVER])["ip_range_whitelist"] == list(full_site.cluster.service_cidrs)


def test_without_push_synapse_calls_no_private_address(site: Site) -> None:
    without = evolve(site, features=evolve(site.features, push=False))
    files = assemble(App(), without, profiles()[0]).rendering().files
    assert yaml.safe_load(files[HOMESERVER])["ip_range_whitelist"] == []
    assert not [path for path in files if "sygnal" in path]
