"""Every query of every dashboard, run by a real Prometheus over what the programs of the booted platform tell it, returns numbers.

What does not run here, or not with metrics, is replaced by recordings, whose heads say where they come from (`expositions/`). Counters that
only an event makes (a server that does not answer, a push that fails) come from Synapse's own code, at nothing: tests/live/synapse_metrics.py.
Grafana itself is in no package registry.
"""

import math
import re
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cdk8s import App

from app.platform import assemble
from app.settings import read_site
from kit.monitoring import Scrape
from monitoring.grafana.board import Board, Look, Panel, Query, Source
from monitoring.grafana.dashboards import BOARDS
from monitoring.grafana.promql import INTERVAL
from monitoring.prometheus.memory import memory
from overlays import profiles
from tests.live.cluster import NODE, Cluster
from tests.live.installation import PUBLIC, PUSH_GATEWAY, SERVER_NAME, haproxy_logs, launch, metrics, register
from tests.live.measuring import RATE_INTERVAL, Measured, Prometheus, measuring
from tests.live.own_metrics import scan_worker
from tests.live.processes import LOOPBACK
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

EXPOSITIONS = Path(__file__).with_name("expositions")
RECORDED: Mapping[str, tuple[str, ...]] = {
    "postgresql-main": ("cnpg-1.30.0-primary-pg18", "barman-cloud-sources"),
    "redis": ("redis-exporter-1.86.0-primary", "redis-exporter-1.86.0-replica"),
    "redis-sentinel": ("redis-exporter-1.86.0-sentinel",),
    "minio-main": ("minio-cluster",),
    "livekit": ("livekit-1.13.5",),
    "coturn": ("coturn-sources",),
    "sygnal": ("sygnal-0.17.0",),
    "kube-state-metrics": ("kube-state-metrics-2.20.0", "sources"),
    "cert-manager": ("cert-manager-1.21.1",),
    "node-exporter": ("node-exporter-1.11.1",),
}
"""The job of a scrape to the files of `expositions/` that stand for its pods."""


@pytest.fixture(scope="module")
def scrapes(live_dist: Path) -> Sequence[Scrape]:
    """What the components offer where everything is watched."""
    site = read_site(live_dist / "site.yaml")
    return assemble(App(), evolve(site, features=evolve(site.features, monitoring=True)), profiles()[0]).declared.scrapes


@pytest.fixture(scope="module")
def live(cluster: Cluster, scrapes: Sequence[Scrape]) -> Mapping[str, Sequence[Measured]]:
    """Job to what its pods say, after people have used the platform."""
    if not any('"path"' in log for log in haproxy_logs(cluster)):
        people = register(cluster, "alice", "bob", "bot")
        place = {"server_name": SERVER_NAME, "federation": True, "openid": True, "push_gateway": PUSH_GATEWAY}
        launch(cluster, "use", {"base": PUBLIC, "host": f"matrix.{SERVER_NAME}", "people": people, "place": place}).wait(240).check()
    found = {scrape.job: list(_said(cluster, scrape)) for scrape in scrapes}
    return {job: pods for job, pods in found.items() if pods}


def _said(cluster: Cluster, scrape: Scrape) -> Iterator[Measured]:
    for pod in cluster.pods():
        if pod.namespace != scrape.pods.namespace or not pod.ready or not set(scrape.pods.labels) <= set(pod.labels.items()):
            continue
        if pod.labels.get("app.kubernetes.io/name") == "synapse":
            text = metrics(cluster, pod.name)
        else:
            query = "&".join(f"{name}={value}" for name, value in scrape.parameters)
            url = f"http://{pod.address}:{scrape.port.number}{scrape.path}" + (f"?{query}" if query else "")
            text = cluster.run(["curl", "--silent", "--fail", "--max-time", "10", url], at=NODE).output
        if "# TYPE" in text:
            yield Measured(labels(scrape, pod.name), text, scrape.of_others)


def labels(scrape: Scrape, pod: str) -> Mapping[str, str]:
    """What the rendered configuration calls the series of a pod."""
    ordinal = re.search(r"-(\d+)$", pod)
    given = {"job": scrape.job, "instance": pod, "pod": pod, "namespace": scrape.pods.namespace, "node": "node-0"}
    return given | ({"index": ordinal[1]} if ordinal else {})


@pytest.fixture(scope="module")
def pods(live: Mapping[str, Sequence[Measured]], scrapes: Sequence[Scrape]) -> Sequence[Measured]:
    """All that is measured."""
    by_job = {scrape.job: scrape for scrape in scrapes}
    own = subprocess.run(
        [synapse_python(), Path(__file__).with_name("synapse_metrics.py"), SERVER_NAME],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    everything = [pod for said in live.values() for pod in said]
    everything.append(Measured({**labels(by_job["synapse"], "own-code-0"), "job": "own-code"}, own))
    if "scan-worker" not in live:
        everything.append(Measured({**labels(by_job["haproxy"], "scan-worker-0"), "job": "scan-worker"}, scan_worker()))
    # Beside what runs here as well: MinIO tells of nothing that has not happened yet.
    for job, names in RECORDED.items():
        scrape = by_job.get(job) or evolve(by_job["haproxy"], job=job)
        for number, name in enumerate(names):
            text = (EXPOSITIONS / f"{name}.txt").read_text()
            everything.append(Measured(labels(scrape, f"{job}-recorded-{number}"), text, job == "kube-state-metrics"))
    return everything


@pytest.fixture(scope="module")
def prometheus(pods: Sequence[Measured], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with measuring(pods, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def filled(expression: str, values: Mapping[str, str]) -> str:
    """An expression with what Grafana puts into it when all is chosen."""
    for name, value in values.items():
        expression = expression.replace(f"${name}", value)
    return expression.replace(INTERVAL, RATE_INTERVAL)


_SPECIAL, _ESCAPED = r"[\\^$.|?*+()\[\]{}]", r"\\\\\g<0>"
"""What a value must not mean, as Grafana's prometheusRegularEscape has it."""


def chosen(board: Board, prometheus: Prometheus) -> Mapping[str, str]:
    """Everything that the variables of a dashboard offer, as Grafana writes it: (one|other)."""
    values: dict[str, str] = {}
    for variable in board.variables:
        offered = prometheus.values(variable.values_of, filled(variable.series, values))
        assert offered, f"{board.name}: {variable.label} offers nothing"
        values[variable.name] = f"({'|'.join(re.sub(_SPECIAL, _ESCAPED, value) for value in offered)})"
    return values


def troubles(panel: Panel, values: Mapping[str, str], prometheus: Prometheus) -> Iterator[str]:
    """What is wrong with the queries of a panel, a line each."""
    for query in panel.queries if panel.source is Source.METRICS else ():
        found = prometheus.query(filled(query.expression, values))
        if not found:
            yield f"{panel.title}: no series: {query.expression}"
        elif all(math.isnan(float(series["value"][1])) for series in found):
            yield f"{panel.title}: no number: {query.expression}"
        elif missing := named(query) - {label for series in found for label in series["metric"]} if panel.look is not Look.TABLE else set():
            yield f"{panel.title}: its series have no {', '.join(sorted(missing))}: {query.expression}"


def named(query: Query) -> set[str]:
    """The labels in the name of its series."""
    return set(re.findall(r"{{(\w+)}}", query.legend))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_query_returns_numbers_with_the_labels_that_name_them(board: Board, prometheus: Prometheus) -> None:
    values = chosen(board, prometheus)
    assert [trouble for panel in board.panels for trouble in troubles(panel, values, prometheus)] == []


def test_a_metric_a_label_and_a_value_that_do_not_exist_are_noticed(prometheus: Prometheus) -> None:
    def said(*queries: Query) -> Iterable[Any]:
        return [trouble.partition(":")[2].split(":")[0].strip() for trouble in troubles(Panel("a panel", "", queries), {}, prometheus)]

    assert said(Query("synapse_worker_queue_depth")) == ["no series"]
    assert said(Query('synapse_build_info{job="no-such-worker"}')) == ["no series"]
    assert said(Query("sum(synapse_build_info)", "{{job}}")) == ["its series have no job"]
    assert said(Query("0 * synapse_build_info / 0")) == ["no number"]


def test_synapse_and_its_proxies_are_measured_live(live: Mapping[str, Sequence[Measured]], scrapes: Sequence[Scrape]) -> None:
    workers = {scrape.job for scrape in scrapes if dict(scrape.pods.labels).get("app.kubernetes.io/name") == "synapse"}
    assert {"synapse", "event-persister", "client-reader"} <= workers
    assert workers | {"haproxy", "redis-proxy"} <= set(live)


def test_no_pod_has_more_series_than_its_component_says(live: Mapping[str, Sequence[Measured]], scrapes: Sequence[Scrape]) -> None:
    """Which decides what memory Prometheus gets. What people have done here touches every route of Synapse."""
    told = {scrape.job: [pod.text for pod in live.get(scrape.job, ())] for scrape in scrapes}
    for job, names in RECORDED.items():
        told.setdefault(job, []).extend((EXPOSITIONS / f"{name}.txt").read_text() for name in names)
    most = {job: max((counted(text) for text in texts), default=0) for job, texts in told.items()}
    assert [f"{s.job} has {most[s.job]} series, and says {s.series}" for s in scrapes if most[s.job] > s.series and not s.of_others] == []


def test_prometheus_has_memory_for_what_it_measures_and_not_many_times_as_much(prometheus: Prometheus) -> None:
    own = urllib.request.urlopen(f"http://{LOOPBACK}:{prometheus.port}/metrics", timeout=20).read().decode()
    (series,) = (int(float(line.split()[1])) for line in own.splitlines() if line.startswith("prometheus_tsdb_head_series "))
    taken = int(Path(f"/proc/{prometheus.program.process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024
    assert series > 20_000
    assert taken < memory(series).count < 4 * taken


def counted(text: str) -> int:
    return sum(not line.startswith("#") for line in text.splitlines() if line)


def test_what_is_recorded_says_where_it_comes_from() -> None:
    for path in EXPOSITIONS.glob("*.txt"):
        assert path.read_text().startswith("# Origin: "), path.name
    assert {name for names in RECORDED.values() for name in names} <= {path.stem for path in EXPOSITIONS.glob("*.txt")}
