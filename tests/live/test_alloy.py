"""Grafana Alloy as it is rendered: its own validator, its own stages, and Alloy itself, which reads pods of a real control plane into a real Loki.

A kubelet is stood in for: it says what the test lets containers say. Nothing but where Loki is and where Alloy listens is the test's own.
"""

import contextlib
import json
import re
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from app.compiler import render
from app.settings import parse_site
from app.site import Site
from kit.rendering import Rendering
from monitoring.loki.configuration import AUDIT, PLATFORM
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.homeservers import write_certificates
from tests.live.monitoring import installation, watched_site
from tests.live.processes import LOOPBACK, free_ports, running, wait_for
from tests.live.programs import chosen
from tests.live.recordings import told
from tests.live.servers import HttpHandler, serving
from tests.live.test_control_plane import NODE
from tests.live.test_loki import SITE, Loki, loki_program, running_loki
from tests.manifests.rules.objects import workloads
from tests.unit.test_alloy_configuration import PLAIN, SAID

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(300)]

CONFIG = "config/alloy/config.alloy"
ALONE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\nfeatures: {monitoring: true}\n"


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return render(parse_site(SITE), profiles()[0])


@pytest.fixture(scope="module")
def alloy() -> str:
    return chosen("ALLOY", [ROOT / ".tools" / "alloy" / "alloy"], "Grafana Alloy, which Go builds: make alloy")


def asked(program: str, command: str, config: str, folder: Path, lines: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """What a command of Alloy says of a configuration."""
    (folder / "config.alloy").write_text(config)
    given = "".join(f"{line}\n" for line in lines)
    command_line = [program, command, str(folder / "config.alloy")]
    return subprocess.run(command_line, input=given, capture_output=True, text=True, check=False, timeout=60)


# -- the configuration


@pytest.mark.parametrize("site", [parse_site(ALONE), parse_site(SITE), watched_site()], ids=["alone", "lawful interception", "everything"])
def test_alloy_validates_the_configuration_of_every_kind_of_site(site: Site, alloy: str, tmp_path: Path) -> None:
    read = asked(alloy, "validate", installation(site).rendering().files[CONFIG], tmp_path)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize(
    ("there", "mistake", "said"),
    [
        ("loki.process.lines.receiver", "loki.process.line.receiver", "does not exist"),
        ('loki.source.kubernetes "pods"', 'loki.source.pods "pods"', "cannot find the definition of component"),
        ("max_backoff_period", "longest_backoff", "unrecognized attribute"),
        ("stage.tenant {", "stage.owner {", "unrecognized block"),
        ("max_backoff_retries = 0", 'max_backoff_retries = "none"', "expected number"),
        ('"30s"', '"30 moments"', "invalid duration|unknown unit|missing unit"),
        ('level  = "warn"', 'level  = "loud"', "unrecognized log level"),
        ("targets    = discovery.relabel.pods.output", "", "missing required attribute"),
        ("stage.replace {", "stage.replace ", "expected"),
    ],
)
def test_alloy_says_what_is_wrong_with_a_configuration(
    there: str, mistake: str, said: str, alloy: str, rendering: Rendering, tmp_path: Path
) -> None:
    config = rendering.files[CONFIG]
    assert there in config
    read = asked(alloy, "validate", config.replace(there, mistake), tmp_path)
    assert read.returncode == 1
    assert re.search(said, read.stderr)


def test_every_secret_is_taken_out_of_a_line(alloy: str, rendering: Rendering, tmp_path: Path) -> None:
    read = asked(alloy, "stages", rendering.files[CONFIG], tmp_path, (*SAID, *PLAIN))
    assert read.stderr == ""
    found = [json.loads(line)["line"] for line in read.stdout.splitlines()]
    for secret, line in zip(SAID.values(), found, strict=False):
        assert secret not in line
        assert "<redacted>" in line
    assert found[len(SAID) :] == list(PLAIN)


def test_levels_are_those_of_synapse_whoever_speaks(alloy: str, rendering: Rendering, tmp_path: Path) -> None:
    said = {
        '{"log":"x","level":"WARNING"}': "WARNING",
        '{"level":"info","msg":"an ERROR in the text"}': "INFO",
        '{"level":"warn"}': "WARNING",
        # CloudNativePG passes PostgreSQL's lines on as records.
        '{"level":"info","logger":"postgres","record":{"error_severity":"FATAL","message":"x"}}': "CRITICAL",
        '{"level":"info","logger":"postgres","record":{"error_severity":"LOG","message":"x"}}': "INFO",
        '{"time":"2026-11-26","status":500}': "INFO",
        "2026-11-26 02:22:24 GMT [326] FATAL:  the database system is starting up": "CRITICAL",
        "[WARNING]  (25) : Server primary/redis-0 is UP": "WARNING",
        "1:M 26 Nov 2026 02:20:47.006 * Synchronization succeeded": "INFO",
    }
    read = asked(alloy, "stages", rendering.files[CONFIG], tmp_path, tuple(said))
    assert [json.loads(line)["level"] for line in read.stdout.splitlines()] == list(said.values())


def test_a_pattern_that_is_none_is_noticed(alloy: str, rendering: Rendering, tmp_path: Path) -> None:
    broken = rendering.files[CONFIG].replace("expression = `", "expression = `(", 1)
    assert "could not compile regular expression" in asked(alloy, "stages", broken, tmp_path, ("a line",)).stderr


# -- Alloy itself


@frozen
class Speaker:
    """A pod with one container, by the labels that make it what it is, and where its lines belong."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    tenant: str
    job: str

    @property
    def pod(self) -> dict[str, Any]:
        """As it is applied, on the node already: nobody schedules here."""
        metadata = {"name": self.name, "namespace": self.namespace, "labels": dict(self.labels)}
        spec = {"nodeName": "node", "automountServiceAccountToken": False, "containers": [{"name": "main", "image": "none"}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def speakers(rendering: Rendering) -> list[Speaker]:
    """Of each way to be called, one: by name, by type of worker, by what an operator's pod belongs to; of both tenants; and a stranger."""
    found = {workload.name: workload for workload in workloads([dict(o) for o in rendering.manifests()])}

    def of(name: str, tenant: str) -> Speaker:
        return Speaker(found[name].namespace, f"{name}-0", found[name].labels, tenant, name)

    return [
        of("synapse", PLATFORM),
        of("redis", PLATFORM),
        Speaker("matrix", "synapse-db-1", {"cnpg.io/cluster": "synapse-db"}, PLATFORM, "synapse-db"),
        of("key-vault", AUDIT),
        Speaker("matrix-li", "li-sync-0", {"app.kubernetes.io/name": "li-sync"}, AUDIT, "li-sync"),
        Speaker("elsewhere", "stranger-0", {"app.kubernetes.io/name": "stranger"}, "", ""),
    ]


@frozen
class Kubelet:
    """What the containers of pods have said, with the time, by namespace and pod; and which of them were asked for."""

    said: dict[tuple[str, str], list[tuple[datetime, str]]]
    asked: set[tuple[str, str]]

    def handler(self) -> type[HttpHandler]:
        """Answers as a kubelet does, and ends each answer after what has been said so far."""
        kubelet = self

        class Handler(HttpHandler):
            """`GET /containerLogs/NAMESPACE/POD/CONTAINER`: pkg/kubelet/server/server.go."""

            def do_GET(self) -> None:
                """One container's lines, with their times."""
                path, _, query = self.path.partition("?")
                _, what, namespace, pod, _ = path.split("/")
                options = dict(urllib.parse.parse_qsl(query))
                assert what == "containerLogs"
                assert options["timestamps"] == "true"
                kubelet.asked.add((namespace, pod))
                since = datetime.fromisoformat(options.get("sinceTime", "1970-01-01T00:00:00Z"))
                lines = [f"{at:%Y-%m-%dT%H:%M:%S.%fZ} {line}\n" for at, line in kubelet.said.get((namespace, pod), ()) if at >= since]
                self.answer(200, "".join(lines).encode(), {"Content-Type": "text/plain"})

        return Handler

    def say(self, speaker: Speaker, line: str) -> None:
        """Let a container say something."""
        self.said.setdefault((speaker.namespace, speaker.name), []).append((datetime.now(UTC), line))


@pytest.fixture(scope="module")
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    with running_loki(loki_program(), tmp_path_factory.mktemp("loki")) as server:
        yield server


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kubelet, int]]:
    """One that listens, and its port."""
    own = Kubelet({}, set())
    folder, context = tmp_path_factory.mktemp("kubelet"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    write_certificates(folder)
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    with serving(own.handler(), context=context) as port:
        yield own, port


@pytest.fixture(scope="module")
def plane(rendering: Rendering, kubelet: tuple[Kubelet, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the pods that speak, and with the rights that Alloy is rendered with."""
    folder = tmp_path_factory.mktemp("control-plane")
    namespaces = sorted({o["metadata"]["name"] for o in rendering.manifests() if o["kind"] == "Namespace"} | {"elsewhere"})
    kinds = ("Role", "RoleBinding", "ServiceAccount")
    rights = [dict(o) for o in rendering.manifests() if o["kind"] in kinds and o["metadata"]["name"].startswith("alloy")]
    with control_plane(folder) as started:
        started.apply([NODE, *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces)], folder)
        endpoints = {"kubeletEndpoint": {"Port": kubelet[1]}}
        status = {"addresses": [{"type": "InternalIP", "address": LOOPBACK}], "daemonEndpoints": endpoints}
        _status(started, "node/node", status)
        wait_for(
            lambda: len([o for o in started.objects("serviceaccounts") if o["metadata"]["name"] == "default"]) > len(namespaces),
            60,
            "accounts",
        )
        started.apply([*rights, *(one.pod for one in speakers(rendering))], folder)
        for number, one in enumerate(speakers(rendering), 1):
            address = {"podIP": f"10.42.0.{number}", "podIPs": [{"ip": f"10.42.0.{number}"}]}
            running_since = {"running": {"startedAt": "2026-11-26T00:00:00Z"}}
            container = {"name": "main", "image": "none", "imageID": "none", "ready": True, "restartCount": 0, "state": running_since}
            _status(started, f"pod/{one.name}", {"phase": "Running", **address, "containerStatuses": [container]}, one.namespace)
        yield started


def _status(plane: ControlPlane, what: str, status: Mapping[str, Any], namespace: str = "default") -> None:
    patch = json.dumps({"status": status})
    plane.kubectl("patch", what, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", patch)


@contextlib.contextmanager
def running_alloy(program: str, rendering: Rendering, plane: ControlPlane, loki: Loki, folder: Path) -> Iterator[int]:
    """Alloy with its rendered file and arguments, and the account's token where a pod has it; its port."""
    config, count = re.subn(r'url = "http://[^/]+/', f'url = "http://{LOOPBACK}:{loki.port}/', rendering.files[CONFIG])
    assert count == 1
    (port,) = free_ports(1)
    account, data = folder / "account", folder / "data"
    for path in (account, data):
        path.mkdir(exist_ok=True)
    (folder / "config.alloy").write_text(config)
    (workload,) = (one for one in workloads([dict(o) for o in rendering.manifests()]) if one.name == "alloy")
    changes = {"/etc/alloy": str(folder), "/var/lib/alloy": str(data), "0.0.0.0:12345": f"{LOOPBACK}:{port}"}
    arguments = list(workload.containers[0]["args"])
    for old, new in changes.items():
        assert any(old in argument for argument in arguments)
        arguments = [argument.replace(old, new) for argument in arguments]
    inside, environment = plane.as_pod("alloy", workload.namespace, account)
    with running([*inside, program, *arguments], name="alloy", environment=environment) as process:
        process.ready(lambda: "ready" in told(f"http://{LOOPBACK}:{port}/-/ready").lower(), 60)
        yield port


def lines(loki: Loki, tenant: str, speaker: Speaker) -> list[str]:
    """What Loki has of a pod, in the order of time. Alloy leaves the end of a line in it."""
    selector = f'{{namespace="{speaker.namespace}", pod="{speaker.name}", container="main", job="{speaker.job}"}}'
    return [line.rstrip() for _, line in sorted(tuple(value) for stream in loki.find(tenant, selector) for value in stream["values"])]


def test_alloy_reads_every_pod_by_its_own_rights_into_the_right_tenant_without_secrets_and_no_line_twice(
    alloy: str, rendering: Rendering, plane: ControlPlane, kubelet: tuple[Kubelet, int], loki: Loki, tmp_path: Path
) -> None:
    node, ours = kubelet[0], [one for one in speakers(rendering) if one.tenant]
    token = "syt_YWxpY2U_AbCdEfGhIjKlMnOpQrSt_1a2b3c"
    for one in speakers(rendering):
        node.say(one, f'{{"log":"{one.name} has {token}","level":"ERROR"}}')
    first = {one.name: f'{{"log":"{one.name} has <redacted>","level":"ERROR"}}' for one in ours}
    with running_alloy(alloy, rendering, plane, loki, tmp_path):
        for one in ours:
            found = wait_for(lambda: lines(loki, one.tenant, one), 60, f"what {one.name} says")  # noqa: B023
            assert found == [first[one.name]]
            other = PLATFORM if one.tenant == AUDIT else AUDIT
            assert lines(loki, other, one) == [], f"{one.name} is not for {other}"
        (stream,) = loki.find(PLATFORM, '{job="synapse"}')
        assert stream["stream"]["level"] == "ERROR"
    for one in ours:
        node.say(one, "INFO a second line")
    with running_alloy(alloy, rendering, plane, loki, tmp_path):
        for one in ours:
            wait_for(lambda: len(lines(loki, one.tenant, one)) > 1, 60, f"what {one.name} says later")  # noqa: B023
            assert lines(loki, one.tenant, one) == [first[one.name], "INFO a second line"], "once each, also after a new start"
    assert node.asked == {(one.namespace, one.name) for one in ours}, "nobody of another namespace"


def test_alloy_may_read_what_pods_say_and_nothing_else(plane: ControlPlane) -> None:
    account = "--as=system:serviceaccount:matrix-monitoring:alloy"
    for verb, what, namespace, answer in (
        ("get", "pods/log", "matrix", "yes"),
        ("get", "pods/log", "matrix-li", "yes"),
        ("get", "secrets", "matrix", "no"),
        ("create", "pods/exec", "matrix", "no"),
        ("get", "pods/log", "elsewhere", "no"),
    ):
        said = plane.kubectl("auth", "can-i", verb, what, "--namespace", namespace, account, codes=(0, 1))
        assert said.lines == (answer,), (verb, what, namespace)
