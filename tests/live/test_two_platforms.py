"""Two platforms, each as it is rendered, federate through their enforced policies: neither has a way to the other but its senders."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from app.compiler import compile_site
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import build, write
from tests.live.cluster import Cluster, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.installation import AUTHORITY, WORLD_CIDR, launch, register, secret
from tests.live.outside import ingress_controller
from tests.live.test_outside import BETWEEN_SERVERS

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

SITE = """
server_name: {server}
images: {{registry: registry.example.com/matrix}}
cluster: {{pod_cidrs: [{pods}], service_cidrs: [{services}], node_cidrs: [{nodes}], api_server_cidrs: [{nodes}]}}
namespaces: {{main: {name}, li: {name}-li, rtc: {name}-rtc}}
features: {{federation: true}}
federation: {{internet: false, networks: [{world}], ca_secret: partners, allowed_domains: [{partner}], key_servers: [{partner}]}}
"""


@frozen
class Platform:
    """One of the two; `name` is that of its namespace."""

    name: str
    partner: str

    @property
    def server(self) -> str:
        """Its server name."""
        return f"{self.name}.example"

    def objects(self, folder: Path) -> list[dict[str, Any]]:
        """What is applied, without the client for the browser."""
        networks = {"world": WORLD_CIDR, "pods": POD_CIDR, "services": SERVICE_CIDR, "nodes": NODE_CIDR}
        text = SITE.format(server=self.server, name=self.name, partner=f"{self.partner}.example", **networks)
        write(folder, compile_site(parse_site(text), profiles()[:1]))
        authority = {"ca.crt": base64.b64encode(AUTHORITY.certificate.encode()).decode()}
        rendered = [dict(o) for o in build(folder / "base") if o["metadata"]["name"] != "element-web"]
        return [*rendered, secret("partners", authority, self.name)]

    def people(self) -> dict[str, str]:
        """What clients must know of it."""
        base = f"http://haproxy.{self.name}.svc.cluster.local:8008"
        return {"base": base, "host": f"matrix.{self.server}", "server_name": self.server}


ALPHA, BETA = Platform("alpha", "beta"), Platform("beta", "alpha")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    objects = [o for platform in (ALPHA, BETA) for o in platform.objects(tmp_path_factory.mktemp(platform.name))]
    with running_cluster(objects, folder=tmp_path_factory.mktemp("node")) as node:
        node.wait_ready(300)
        with ingress_controller(node, ALPHA.server, ALPHA.name), ingress_controller(node, BETA.server, BETA.name):
            yield node


def test_people_of_both_platforms_do_with_each_other_what_people_of_one_do(both: Cluster) -> None:
    passwords = register(both, "anna", "carl", namespace=ALPHA.name) | register(both, "bert", namespace=BETA.name)
    given = {
        **ALPHA.people(),
        "place": {"server_name": ALPHA.server, "federation": True},
        "people": {name: passwords[name] for name in ("anna", "bert", "carl")},
        "elsewhere": {"bert": BETA.people()},
        "only": BETWEEN_SERVERS,
    }
    answers = launch(both, "use", given).wait(400).check().json["scenarios"]
    assert {name: result["failed"] for name, result in answers.items() if "failed" in result} == {}
    assert set(answers) == {"rooms", *BETWEEN_SERVERS}
    own = {pod.name for pod in both.pods()}
    assert [refused for refused in both.denied() if refused.source in own] == []


@pytest.mark.parametrize(("platform", "partner"), [(ALPHA, BETA), (BETA, ALPHA)], ids=["alpha", "beta"])
def test_only_senders_reach_the_other_platform(both: Cluster, platform: Platform, partner: Platform) -> None:
    attempt = ["python", "-c", f"import socket; socket.create_connection(('matrix.{partner.server}', 443), 3)"]
    assert both.exec(f"{platform.name}/federation-sender-0", attempt).code == 0
    for pod in ("synapse-0", "federation-reader-0", "media-repository-0"):
        assert "TimeoutError" in both.exec(f"{platform.name}/{pod}", attempt).errors, pod
    both.forget_denied()
