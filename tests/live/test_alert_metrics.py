"""Every metric and label of every alert is one that a program really has: a running one, Synapse's own code, or a recording with its origin."""

import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from tests.kustomize import ROOT
from tests.live import own_metrics
from tests.live.expressions import exposition, needs
from tests.live.monitoring import debian, installation, monitoring_files, rules, watched_site
from tests.live.processes import LOOPBACK, free_ports, running
from tests.live.programs import haproxy_program, installed
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

EXPOSITIONS = ROOT / "tests" / "live" / "expositions"
OF_TARGETS = {"namespace", "pod", "job", "instance", "node", "index"}
"""Labels that Prometheus adds to what a pod tells it."""
OF_PROMETHEUS = {"up": set[str]()}
"""What Prometheus itself knows of every target."""

Known = Mapping[str, set[str]]

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


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Metric to its labels, of everybody."""
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for text in _told(tmp_path_factory.mktemp("programs")):
        for metric, labels in exposition(text).items():
            found.setdefault(metric, set()).update(labels)
    return found


def _told(folder: Path) -> Iterator[str]:
    """What programs say, one text each."""
    yield from (path.read_text() for path in sorted(EXPOSITIONS.glob("*.txt")))
    script = ROOT / "tests" / "live" / "synapse_metrics.py"
    yield subprocess.run([synapse_python(), str(script), "example.com"], capture_output=True, text=True, check=True, timeout=120).stdout
    yield own_metrics.scan_worker()
    for name in ("li-sync", "key-vault"):
        (folder / name).mkdir()
    yield own_metrics.li_sync(folder / "li-sync")
    yield own_metrics.li_follow()
    yield own_metrics.key_vault(folder / "key-vault")
    proxy, prometheus, alertmanager, node = free_ports(4)
    (folder / "haproxy.cfg").write_text(PROXY.format(port=proxy))
    yield from _asked([haproxy_program(), "-db", "-f", str(folder / "haproxy.cfg")], proxy)
    files = monitoring_files(installation(watched_site()), folder)
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
    command = [debian("prometheus-node-exporter", "prometheus-node-exporter"), f"--web.listen-address={LOOPBACK}:{node}"]
    yield from _asked(command, node)


def _asked(command: list[str], port: int, ready: str = "/metrics") -> Iterable[str]:
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


def missing(alerts: Mapping[str, Mapping[str, str]], known: Known) -> list[str]:
    """What alerts need and nobody has."""
    found = []
    for name, rule in alerts.items():
        for metric, labels in needs(rule["expr"]).items():
            if metric not in known:
                found.append(f"{name}: there is no {metric}")
            elif lacking := labels - known[metric] - OF_TARGETS:
                found.append(f"{name}: {metric} has no {', '.join(sorted(lacking))}")
    return found


def test_every_metric_and_label_of_every_alert_is_one_that_a_program_has(known: Known, tmp_path: Path) -> None:
    assert missing(rules(monitoring_files(installation(watched_site()), tmp_path)), known) == []


def test_a_metric_and_a_label_that_nobody_has_are_noticed(known: Known) -> None:
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
