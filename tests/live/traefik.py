"""Traefik with a real API server, and programs behind the Services that it is told of."""

import http.client
import json
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from infrastructure.ingress.component import TRAEFIK_VALUES
from tests.kustomize import ROOT
from tests.live.control_plane import ControlPlane
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running
from tests.live.programs import chosen
from tests.live.servers import HttpHandler, serving
from tests.manifests.rules.objects import Object, Objects

Backend = tuple[str, str, int]
"""A port of a Service, with the Service's namespace and name."""
_FOLDER = ROOT / ".tools" / "traefik"


@frozen
class Answer:
    """What somebody got who asked: the code, the headers, the text, and which Service's stand-in answered what, if one did."""

    code: int
    headers: http.client.HTTPMessage
    text: str
    service: str
    heard: dict[str, Any]


def ask(stream: socket.socket, host: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask for a page as a browser does, on a connection that is there."""
    connection = http.client.HTTPConnection(host)
    connection.sock = stream
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    said = json.loads(text) if answer.headers.get("X-Stand-In") else {}
    return Answer(answer.status, answer.headers, text, said.get("service", ""), said)


def traefik() -> str:
    """The program; where it is not built, the test is skipped and says how to build it."""
    return chosen("TRAEFIK", [_FOLDER / "traefik"], "Traefik, which Go builds: make traefik")


def define(plane: ControlPlane, folder: Path) -> None:
    """Give an API server the definitions of the Gateway API and of Traefik's own objects."""
    definitions = [o for file in sorted((_FOLDER / "files").glob("*.yaml")) for o in yaml.safe_load_all(file.read_text())]
    plane.apply([o for o in definitions if o and o["kind"] == "CustomResourceDefinition"], folder)
    plane.wait_for_definitions()


def own_address() -> str:
    """An address of this machine that a pod may have: the API server takes no loopback address for one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("192.0.2.254", 9))
            address: str = out.getsockname()[0]
        except OSError:
            address = LOOPBACK
    if address.startswith("127."):
        pytest.skip("needs an address beside 127.0.0.1")
    return address


def stand_in(service: str) -> type[HttpHandler]:
    """A program that says for which Service it stands and what it was asked."""

    class Handler(HttpHandler):
        """As a Service."""

        def do_GET(self) -> None:
            """Say it."""
            said = {"service": service, "path": self.path, "headers": dict(self.headers.items())}
            self.answer(200, json.dumps(said).encode(), {"X-Stand-In": "yes"})

    return Handler


def slices(
    backends: Collection[Backend], services: Objects, address: str, held: ExitStack, real: Mapping[Backend, int] | None = None
) -> Iterator[Object]:
    """For each port of a Service, where it leads: to a stand-in, or to the port on which the real program listens."""
    named = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in services}
    for namespace, name, number in sorted(backends):
        (port,) = (p for p in named[namespace, name]["spec"]["ports"] if p["port"] == number)
        leads = (real or {}).get((namespace, name, number))
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{number}", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [
                {
                    "name": port["name"],
                    "port": leads or held.enter_context(serving(stand_in(f"{namespace}/{name}:{number}"), address)),
                    "protocol": "TCP",
                }
            ],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        }


@contextmanager
def running_traefik(
    program: str, plane: ControlPlane, folder: Path, providers: Mapping[str, Any], believed: Collection[str] = ()
) -> Iterator[tuple[Program, int, int]]:
    """Run it with the values that the platform says its chart needs; it, and its ports for HTTP and HTTPS.

    `believed`: load balancers in front, as the deployment guide says that Traefik has to be told of them.
    """
    http_port, https_port = free_ports(2)
    values = TRAEFIK_VALUES["ports"]["websecure"]
    # By its chart all that comes in there is TLS.
    websecure = {**values, "http": {**values["http"], "tls": {}}, **({"forwardedHeaders": {"trustedIPs": [*believed]}} if believed else {})}
    configuration = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"web": {"address": f"{LOOPBACK}:{http_port}"}, "websecure": {"address": f"{LOOPBACK}:{https_port}", **websecure}},
        "providers": {"providersThrottleDuration": "200ms", **providers},
        "log": {"level": "INFO"},
    }
    (folder / "traefik.yaml").write_text(yaml.safe_dump(configuration))
    command = [program, f"--configFile={folder / 'traefik.yaml'}"]
    with running(command, name="traefik", environment={"KUBECONFIG": str(plane.kubeconfig)}, folder=folder) as started:
        started.ready(lambda: accepts_connections(https_port) and accepts_connections(http_port), 60)
        yield started, http_port, https_port
