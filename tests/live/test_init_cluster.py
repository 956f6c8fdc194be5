"""`init --cluster` reads a real API server: what it says becomes the site, and somebody who may read little is told what is missing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.inspection.prerequisites import RESOURCES
from app.settings import read_site
from app.site import Site
from tests.kustomize import ROOT, kubectl
from tests.live.control_plane import ControlPlane, control_plane

pytestmark = [pytest.mark.optional, pytest.mark.timeout(300)]
NEEDED = ("--server-name", "example.com", "--registry", "registry.example.com/matrix")
KUBEADM = 'networking:\n  dnsDomain: k8s.example\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: "198.19.0.0/16"\n'


def node(number: int, zone: str) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": f"node-{number}"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}", "labels": labels}}


def there() -> list[dict[str, Any]]:
    """What an installer of clusters, a network plugin and an ingress controller leave behind."""
    labels = {"app.kubernetes.io/name": "traefik"}
    container = {"name": "traefik", "image": "example.org/traefik:3"}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return [
        node(11, "a"),
        node(12, "b"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config", "namespace": "kube-system"}}
        | {"data": {"ClusterConfiguration": KUBEADM}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        }
        | {"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast", "annotations": default}}
        | {"provisioner": "example.org/disk"},
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "traefik"}}
        | {"spec": {"controller": "traefik.io/ingress-controller"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "traefik", "namespace": "edge", "labels": labels}}
        | {"spec": {"selector": {"matchLabels": labels}, "template": pods}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.3"]}],
            "ports": [{"name": "https", "port": 6443}],
        },
    ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("plane")
    with control_plane(folder) as plane:
        plane.apply(there(), folder)
        for number in (11, 12):
            status = {"status": {"addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}]}}
            plane.kubectl("patch", "node", f"node-{number}", "--subresource=status", "--type=merge", "--patch", json.dumps(status))
        yield plane


VERSION = {"serverVersion": {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}}
"""What a released API server says of itself. The one that runs here is built from a module, and says that it has no version."""


def init(kubeconfig: Path, out: Path) -> subprocess.CompletedProcess[str]:
    tools = out.parent / "bin"
    tools.mkdir()
    program = tools / "kubectl"
    program.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo \'{json.dumps(VERSION)}\'; exit; fi\nexec {kubectl()} "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "app", "init", "--cluster", "--no-questions", "--out", str(out), *NEEDED]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def told(site: Site) -> dict[str, Any]:
    cluster = site.cluster
    return {
        "domain": cluster.domain,
        "dns": cluster.dns.namespace,
        "multi_zone": cluster.multi_zone,
        "api_servers": [str(cidr) for cidr in cluster.api_server_cidrs],
        "nodes": [str(cidr) for cidr in cluster.node_cidrs],
        "pods": [str(cidr) for cidr in cluster.pod_cidrs],
        "services": [str(cidr) for cidr in cluster.service_cidrs],
        "ingress": (site.ingress.class_name, site.ingress.controller_namespace),
    }


def test_what_an_api_server_says_becomes_the_site(cluster: ControlPlane, tmp_path: Path) -> None:
    done = init(cluster.kubeconfig, tmp_path / "site.yaml")
    assert done.returncode == 0, done.stderr
    assert told(read_site(tmp_path / "site.yaml")) == {
        "domain": "k8s.example",
        "dns": "kube-system",
        "multi_zone": True,
        "api_servers": ["10.0.0.1/32", "10.0.0.3/32"],
        "nodes": ["10.0.0.0/24"],
        "pods": ["10.244.0.0/16"],
        # As the API server was started with: it keeps a ServiceCIDR itself.
        "services": ["198.19.0.0/16"],
        "ingress": ("traefik", "edge"),
    }
    assert "caution" not in done.stderr


def test_who_may_read_little_gets_a_site_and_is_told_what_is_missing(cluster: ControlPlane, tmp_path: Path) -> None:
    """Somebody who may list what is asked of a cluster's state, and nothing else: no ConfigMap, no Service, and nothing may be written."""
    groups = [word.split(".", 1)[1] if "." in word else "" for word in RESOURCES]
    rules = [
        {"apiGroups": [group], "resources": [word.partition(".")[0]], "verbs": ["get", "list"]}
        for word, group in zip(RESOURCES, groups, strict=True)
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "looks"}, "rules": rules}
    subject = {"kind": "User", "name": "anna", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "looks", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "looks"}}
    cluster.apply([role, {**binding, "subjects": [subject], "roleRef": reference}], tmp_path)
    settings = json.loads(cluster.kubeconfig.read_text())
    settings["users"][0]["user"]["as"] = "anna"
    (tmp_path / "kubeconfig").write_text(json.dumps(settings))
    done = init(tmp_path / "kubeconfig", tmp_path / "site.yaml")
    assert done.returncode == 0, done.stderr
    site = told(read_site(tmp_path / "site.yaml"))
    assert (site["nodes"], site["pods"], site["ingress"][0]) == (["10.0.0.0/24"], [], "traefik")
    assert "the networks of the pods are not known: give them with --pod-cidrs" in done.stderr
    assert "no Service of the cluster's DNS was found: give its namespace with --dns-namespace" in done.stderr


def test_a_server_that_refuses_is_named_in_its_own_words_and_nothing_is_written(cluster: ControlPlane, tmp_path: Path) -> None:
    settings = json.loads(cluster.kubeconfig.read_text())
    settings["users"][0]["user"]["as"] = "nobody-we-know"
    (tmp_path / "kubeconfig").write_text(json.dumps(settings))
    done = init(tmp_path / "kubeconfig", tmp_path / "site.yaml")
    assert done.returncode == 2
    assert "forbidden" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "site.yaml").exists()
