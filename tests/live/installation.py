"""The installation that the live tests use: a site with everything on that runs here, compiled as an operator does, and its people."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.certificates import authority
from tests.live.cluster import INGRESS, Client, Cluster, Place
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.report import Report

SERVER_NAME = "example.com"
NAMESPACE = "matrix"
PUBLIC = f"http://haproxy.{NAMESPACE}.svc.cluster.local:8008"
"""What the ingress controller calls."""
INTERNAL = f"http://haproxy.{NAMESPACE}.svc.cluster.local:8009"
"""With Synapse's administration, for the platform itself and for who may forward a port."""

REPORT = pytest.StashKey[Report]()

PUSH_APP, PUSH_PROJECT = "com.example.app", "example-project"
PUSH_GATEWAY = f"http://sygnal.{NAMESPACE}.svc.cluster.local:5000/_matrix/push/v1/notify"

AUTHORITY = authority("authority of the partners")
"""By which the certificates of everybody outside are."""
WORLD_CIDR = "1.1.1.0/24"
"""Where the node has its visitors from outside."""
MAIL_SERVER = "smtp.partner.example"
MAIL_PASSWORD = """ it's "a pass: {word}" # with %s in it """.rstrip()
"""Whatever is in it reaches the mail server as it is."""

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "features": {"federation": True, "li": False},
    "federation": {"internet": False, "networks": [WORLD_CIDR], "ca_secret": "partners"},
    "push": {
        "gateways": "networks",
        "gateway_networks": [WORLD_CIDR],
        "gateway_ca_secret": "partners",
        "fcm_apps": {PUSH_APP: PUSH_PROJECT},
    },
    "mail": {
        "server": MAIL_SERVER,
        "sender": f"Matrix <matrix@{SERVER_NAME}>",
        "user": "matrix",
        "networks": [WORLD_CIDR],
        "ca_secret": "partners",
        "notify_after": "1s",
    },
    "homeserver": {"url_previews": True},
    "cluster": {"pod_cidrs": [POD_CIDR], "service_cidrs": [SERVICE_CIDR], "node_cidrs": [NODE_CIDR], "api_server_cidrs": [NODE_CIDR]},
}
"""What the site of the tests has beyond the site.yaml of the repository."""


def compile_live_site(folder: Path) -> None:
    """Write `dist/` of the tests' site to a folder."""
    yaml = YAML()
    document = yaml.load(ROOT / "tests" / "site.yaml")
    for section, options in CHANGES.items():
        document.setdefault(section, {}).update(options)
    del document["li"]  # test_li_platform.py has a site of its own.
    folder.mkdir(parents=True, exist_ok=True)
    yaml.dump(document, folder / "site.yaml")
    write(folder, compile_site(read_site(folder / "site.yaml"), profiles()))


@cache
def objects(folder: Path, profile: str) -> Sequence[dict[str, Any]]:
    """What `kubectl kustomize` prints for a profile of a compiled site, and the Secrets that only a site's operator can give."""
    credentials = {f"fcm-{PUSH_PROJECT}.json": base64.b64encode(b"{}").decode()}
    authority = {"ca.crt": base64.b64encode(AUTHORITY.certificate.encode()).decode()}
    password = {"password": base64.b64encode(MAIL_PASSWORD.encode()).decode()}
    given = {"push-credentials": credentials, "partners": authority, "mail": password}
    return [*build(folder / "overlays" / profile), *(secret(name, data, NAMESPACE) for name, data in given.items())]


def secret(name: str, data: Mapping[str, str], namespace: str) -> dict[str, Any]:
    """A Secret. `data`: in base64."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def register(cluster: Cluster, *names: str, administrators: bool = False, namespace: str = NAMESPACE) -> dict[str, str]:
    """Make accounts as the deployment guide says, by the shared secret that only the pod of main has. Returns passwords by name."""
    passwords = {name: secrets.token_hex(12) for name in names}
    role, shared = "--admin" if administrators else "--no-admin", "/secrets/synapse/registration_shared_secret"
    for name, password in passwords.items():
        command = f'register_new_matrix_user -u {name} -p {password} {role} --exists-ok -k "$(cat {shared})" http://localhost:8008'
        # A second time, as a person would, if the server fails: it may after PostgreSQL was lost, once for each connection that was open.
        again = f"for _ in 1 2 3 4; do {command} && exit 0; sleep 0.5; done; {command}"
        cluster.exec(f"{namespace}/synapse-0", ["sh", "-c", again]).check()
    return passwords


def messaging(cluster: Cluster) -> set[str]:
    """The workloads that messages need. Those of calls are replaced when the last call over them has ended, within hours."""
    return {pod.workload for pod in cluster.pods() if pod.namespace == NAMESPACE}


def haproxy_logs(cluster: Cluster) -> list[str]:
    """The output of every HAProxy in front of Synapse."""
    return [cluster.logs(pod.name) for pod in cluster.pods("haproxy")]


def metrics(cluster: Cluster, pod: str) -> str:
    """What a Synapse process tells Prometheus."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9001/_synapse/metrics', timeout=10).read().decode())"
    return cluster.exec(pod, ["python", "-c", ask]).check().output


def launch(cluster: Cluster, command: str, given: Mapping[str, Any], at: Place = INGRESS) -> Client:
    """Start `python -m tests.live.clients <command>` where the ingress controller is, or elsewhere."""
    return cluster.launch(["python", "-m", "tests.live.clients", command], at, given=json.dumps(given))
