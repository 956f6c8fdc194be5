"""What every alert asks for, metrics, labels and values, programs really have: running ones, Synapse's own code, or recordings with their origin."""

import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from kit.installation import Installation
from tests.kustomize import ROOT
from tests.live import own_metrics
from tests.live.expressions import Choice, Series, choices, needs, series
from tests.live.monitoring import debian, in_a_root, installation, monitoring_files, rules, watched_site
from tests.live.processes import LOOPBACK, free_ports, running
from tests.live.programs import haproxy_program, installed
from tests.live.recordings import chosen
from tests.live.synapse_site import synapse_python
from tests.manifests.rules.objects import workloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

EXPOSITIONS = ROOT / "tests" / "live" / "expositions"
OF_TARGETS = {"namespace", "pod", "job", "instance", "node", "index"}
"""Labels that Prometheus adds to what a pod tells it."""
OF_PROMETHEUS = "up 1\n"
"""What Prometheus itself knows of every target."""
STATUSES = {str(status.value) for status in HTTPStatus}

PROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend operations
    bind 127.0.0.1:{port}
    http-request use-service prometheus-exporter
backend pusher
    server pusher-0 127.0.0.1:9
"""


@cache
def declared() -> Installation:
    """The site in which everything is."""
    return installation(watched_site())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """Metric to its labels to their values, of everybody."""
    found: dict[str, dict[str, set[str]]] = {}
    for text in (OF_PROMETHEUS, *_told(tmp_path_factory.mktemp("programs"))):
        for metric, labels in series(text).items():
            of_metric = found.setdefault(metric, {})
            for label, values in labels.items():
                of_metric.setdefault(label, set()).update(values)
    return found


def _told(folder: Path) -> Iterator[str]:
    """What programs say, one text each."""
    yield from (path.read_text() for path in sorted(EXPOSITIONS.glob("*.txt")))
    script = ROOT / "tests" / "live" / "synapse_metrics.py"
    servlets = sorted({choice.value for choice in chosen() if choice.label == "servlet"})
    command = [synapse_python(), str(script), "example.com", *servlets]
    yield subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    yield own_metrics.scan_worker()
    for name in ("li-sync", "key-vault"):
        (folder / name).mkdir()
    yield own_metrics.li_sync(folder / "li-sync")
    yield own_metrics.li_follow()
    yield own_metrics.key_vault(folder / "key-vault")
    proxy, prometheus, alertmanager, node = free_ports(4)
    (folder / "haproxy.cfg").write_text(PROXY.format(port=proxy))
    yield from _asked([haproxy_program(), "-db", "-f", str(folder / "haproxy.cfg")], proxy)
    files = monitoring_files(declared(), folder)
    # No rule needs to be true for Prometheus to count how its rules went, and no Alertmanager to be there to count what it could not give it.
    settings = {
        "rule_files": ["alerts-haproxy.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{LOOPBACK}:9"]}]}]},
    }
    (folder / "prometheus-alone.yaml").write_text(yaml.safe_dump(settings))
    command = [debian("prometheus", "prometheus"), f"--config.file={files}/prometheus-alone.yaml", f"--storage.tsdb.path={folder}/data"]
    yield from _asked([*command, f"--web.listen-address={LOOPBACK}:{prometheus}"], prometheus, "/-/ready")
    program = debian("prometheus-alertmanager", "prometheus-alertmanager")
    # It asks for its templates by their usual path.
    inside = [installed("bwrap"), "--dev-bind", "/", "/", "--ro-bind", str(Path(program).parents[1] / "share"), "/usr/share"]
    command = [*inside, program, "--cluster.listen-address=", f"--storage.path={folder}/alertmanager"]
    (folder / "alone.yaml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n")
    yield from _asked(
        [*command, f"--config.file={folder}/alone.yaml", f"--web.listen-address={LOOPBACK}:{alertmanager}"], alertmanager, "/-/ready"
    )
    yield from _asked(_node_exporter(node, folder), node)


def _node_exporter(port: int, folder: Path) -> list[str | Path]:
    """It as its pod runs it, whose one folder on the node's disk is all of the node's file systems that it sees."""
    (workload,) = (w for w in workloads([dict(o) for o in declared().rendering().manifests()]) if w.name == "node-exporter")
    (container,) = workload.containers
    (there,) = (mount["mountPath"] for mount in container["volumeMounts"])
    (folder / "disk").mkdir()
    program = Path(debian("prometheus-node-exporter", "prometheus-node-exporter"))
    arguments = [f"--web.listen-address={LOOPBACK}:{port}" if "listen-address" in one else one for one in container["args"]]
    return [*in_a_root(program, [(folder / "disk", there, True)], "--unshare-pid"), *arguments]


def _asked(command: Sequence[str | Path], port: int, ready: str = "/metrics") -> Iterable[str]:
    """What a program tells as soon as it is ready, which `ready` answers."""
    with running(command, name=Path(command[0]).name) as program:
        program.ready(lambda: _answers(f"http://{LOOPBACK}:{port}{ready}"), 60)
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=20) as answer:
            yield answer.read().decode()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def missing(alerts: Mapping[str, Mapping[str, str]], known: Series) -> list[str]:
    """What alerts need and nobody has."""
    found = []
    for name, rule in alerts.items():
        for metric, labels in needs(rule["expr"]).items():
            if metric not in known:
                found.append(f"{name}: there is no {metric}")
            elif lacking := labels - known[metric].keys() - OF_TARGETS:
                found.append(f"{name}: {metric} has no {', '.join(sorted(lacking))}")
    return found


def test_every_metric_and_label_of_every_alert_is_one_that_a_program_has(known: Series, tmp_path: Path) -> None:
    assert missing(rules(monitoring_files(declared(), tmp_path)), known) == []


def test_a_metric_and_a_label_that_nobody_has_are_noticed(known: Series) -> None:
    alerts = {
        # The two names that are often given and do not exist, and a label.
        "A": {"expr": "synapse_worker_queue_depth > 1000"},
        "B": {"expr": "pg_replication_lag_seconds > 5"},
        "C": {"expr": 'max by (namespace, worker) (synapse_replication_tcp_command_queue{stream_name="events"}) > 1'},
    }
    assert missing(alerts, known) == [
        "A: there is no synapse_worker_queue_depth",
        "B: there is no pg_replication_lag_seconds",
        "C: synapse_replication_tcp_command_queue has no worker",
    ]


def unknown(asked: Iterable[Choice], known: Series) -> list[str]:
    """Values that nobody gives to the label of a metric."""
    scrapes = declared().declared.scrapes
    of_targets = {"job": {scrape.job for scrape in scrapes}, "namespace": {scrape.pods.namespace for scrape in scrapes}}
    found = []
    for choice in asked:
        values = of_targets.get(choice.label) or known.get(choice.metric, {}).get(choice.label, set())
        # Where one status of HTTP is told, any other one may come.
        if not choice.among(STATUSES if values and values <= STATUSES else values):
            found.append(f"{choice}: there is {', '.join(sorted(values)) or 'none'}")
    return found


def test_every_value_by_which_an_alert_chooses_is_one_that_a_program_gives(known: Series) -> None:
    assert len(chosen()) > 30
    assert unknown(chosen(), known) == []


def test_a_value_that_nobody_gives_is_noticed(known: Series) -> None:
    asked = {
        'redis_instance_info{role="primary"}': "redis_instance_info{role=primary}",
        'kube_job_failed{condition=~"true|failed"}': "kube_job_failed{condition=failed}",
        'up{job="sygnal-0"}': "up{job=sygnal-0}",
        'sygnal_pushgateway_status_codes_total{code="6.."}': "sygnal_pushgateway_status_codes_total{code=6..}",
        'synapse_http_server_requests_received_total{servlet!="RoomSendServlet"}': (
            "synapse_http_server_requests_received_total{servlet=RoomSendServlet}"
        ),
    }
    found = unknown([choice for expression in asked for choice in choices(expression)], known)
    assert [one.partition(": there is")[0] for one in found] == list(asked.values())
