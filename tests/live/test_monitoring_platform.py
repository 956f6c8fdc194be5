"""A site with monitoring, run as it is rendered: a real Prometheus scrapes the real programs through the policies, and faults raise alerts.

Discovery asks the Kubernetes API, of which the node has only what Secrets need: in its place Prometheus reads a file with the labels that its
own discovery would give to the node's pods. Everything after that, relabelling included, is as it is rendered. Time runs faster: rules ask for
seconds where they would for minutes.
"""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve, frozen

from antivirus.options import AntivirusOptions, Signatures
from app.compiler import compile_site
from app.settings import read_site
from app.site import Site
from monitoring.options import Keda
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.antivirus import EICAR, OWN, hdb, ndb
from tests.live.cluster import NODE, Cluster, Place, PodStatus, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.cluster.substitutes import minio_program
from tests.live.expressions import exposition, needs
from tests.live.own_metrics import scan_worker
from tests.live.processes import wait_for
from tests.live.test_antivirus_platform import put_signatures, with_own_signatures
from tests.live.traffic import traffic
from tests.manifests.components import COMPONENTS, Nothing
from tests.manifests.rules.objects import Object, workloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

NAMESPACE = "matrix-monitoring"
FASTER = 15
"""How many times faster time runs in the rules."""
TARGETS = "/prometheus/targets.json"
WITHOUT = {"minio-li", "element-web"}
"""Workloads that nobody asks anything of here."""
EXPOSITIONS = ROOT / "tests" / "live" / "expositions"
_TENANT, _CLUSTER = "v1.min.io/tenant", "cnpg.io/cluster"
LABELS_OF_TARGETS = {"namespace", "pod", "job", "instance", "node", "index"}
"""What Prometheus adds to every series of a pod."""


@pytest.fixture(scope="module")
def site() -> Site:
    example = read_site(ROOT / "tests" / "site.yaml")
    return evolve(
        example,
        features=evolve(example.features, li=False, calls=False, push=False, federation=True, antivirus=True, monitoring=True),
        antivirus=AntivirusOptions(signatures=Signatures.BUNDLE),
        monitoring=evolve(example.monitoring, keda=Keda()),
        cluster=evolve(
            example.cluster, pod_cidrs=(POD_CIDR,), service_cidrs=(SERVICE_CIDR,), node_cidrs=(NODE_CIDR,), api_server_cidrs=(NODE_CIDR,)
        ),
    )


@pytest.fixture(scope="module")
def objects(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """What is rendered, all of it."""
    folder: Path = tmp_path_factory.mktemp("monitoring")
    write(folder, compile_site(site, profiles()[:1]))
    return build(folder / "base")


@pytest.fixture(scope="module")
def platform(objects: list[Object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    run = [with_own_signatures(_adapted(dict(o))) for o in objects if o["metadata"]["name"] not in WITHOUT]
    with running_cluster(run, folder=tmp_path_factory.mktemp("node")) as node:
        node.wait_ready(240, "signature-mirror", "prometheus")
        put_signatures(node, {"test.hdb": hdb("Test.Eicar", EICAR), "test.ndb": ndb("Test.Own", OWN)})
        node.wait_ready(300)
        find_targets(node, objects)
        yield node


def _adapted(o: Object) -> Object:
    """Prometheus with a file in place of discovery, and faster."""
    if o["kind"] != "ConfigMap" or "prometheus.yaml" not in o.get("data", {}):
        return o
    texts = {name: _faster(text) if name.startswith("alerts-") else text for name, text in o["data"].items()}
    settings = yaml.safe_load(texts["prometheus.yaml"])
    settings["global"] |= {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    # There are no kubelets here, and no cert-manager.
    settings["scrape_configs"] = [job for job in settings["scrape_configs"] if job["job_name"] not in ("kubelet", "cert-manager")]
    for job in settings["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["file_sd_configs"] = [{"files": [TARGETS], "refresh_interval": "2s"}]
    return o | {"data": texts | {"prometheus.yaml": yaml.safe_dump(settings, sort_keys=False)}}


def _faster(text: str) -> str:
    """Rules that wait for seconds, and look at them, where they would for minutes. What is in hours looks at what there is."""
    document = yaml.safe_load(text)
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        if "for" in rule:
            rule["for"] = f"{int(rule['for'].removesuffix('m')) * 60 // FASTER}s"
        rule["expr"] = re.sub(r"\[(\d+)m\]", lambda found: f"[{max(int(found[1]) * 60 // FASTER, 10)}s]", rule["expr"])
    return yaml.safe_dump(document)


# -- what discovery would find


def find_targets(node: Cluster, objects: list[Object]) -> None:
    """Tell Prometheus of the pods that there are, as discovery names them (prometheus, discovery/kubernetes/pod.go): a target for each port."""
    ports = {(w.namespace, w.name): w for w in workloads(objects)}
    targets = []
    for pod in node.pods():
        workload = ports.get((pod.namespace, pod.workload))
        for number in _ports(workload.pod) if workload else _operators_ports(pod):
            labels = {f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value for key, value in pod.labels.items()}
            known = {"namespace": pod.namespace, "pod_name": pod.name, "pod_phase": pod.phase, "pod_node_name": "node"}
            meta = {f"__meta_kubernetes_{key}": value for key, value in known.items()}
            port = {"__meta_kubernetes_pod_container_port_number": str(number)}
            targets.append({"targets": [f"{pod.address}:{number}"], "labels": labels | meta | port})
    # Put in place at once: Prometheus reads the file whenever it likes.
    script = f"cat > {TARGETS}.new <<'END'\n{json.dumps(targets)}\nEND\nmv {TARGETS}.new {TARGETS}"
    node.exec("prometheus-0", ["/bin/sh", "-c", script]).check()


def _ports(pod: Mapping[str, Any]) -> list[int]:
    return [port["containerPort"] for c in (*pod.get("initContainers", ()), *pod["containers"]) for port in c.get("ports", ())]


def _operators_ports(pod: PodStatus) -> list[int]:
    """Of the pods that operators make: what stands in for them here has metrics only if it is MinIO."""
    return [9000] if _TENANT in pod.labels and minio_program() else []


# -- asking Prometheus


def ask(node: Cluster, path: str) -> Any:
    """The data of an answer of Prometheus' API, as somebody who forwards its port asks."""
    url = f"http://prometheus.{NAMESPACE}.svc.cluster.local:9090/api/v1/{path}"
    answer = node.run(["curl", "-sS", "--fail", "--globoff", url], at=NODE).check().json
    return answer["data"]


def query(node: Cluster, expression: str) -> list[dict[str, Any]]:
    """The series of an expression, with their values at this moment."""
    url = f"http://prometheus.{NAMESPACE}.svc.cluster.local:9090/api/v1/query"
    answer = node.run(["curl", "-sS", "--fail", "--data-urlencode", f"query={expression}", url], at=NODE).check().json
    return list(answer["data"]["result"])


def firing(node: Cluster) -> set[str]:
    """The alerts that people would be told of."""
    return {alert["labels"]["alertname"] for alert in ask(node, "alerts")["alerts"] if alert["state"] == "firing"}


@frozen
class Target:
    """Something that is scraped."""

    job: str
    pod: str
    health: str
    error: str


def targets(node: Cluster) -> list[Target]:
    """All that Prometheus scrapes at the moment."""
    found = ask(node, "targets?state=active")["activeTargets"]
    return [Target(t["labels"]["job"], t["labels"].get("pod", ""), t["health"], t["lastError"]) for t in found]


@pytest.fixture(scope="module")
def scraped(platform: Cluster) -> list[Target]:
    """Every target, when each has been scraped."""

    def all_known() -> bool:
        found = targets(platform)
        return bool(found) and all(target.health != "unknown" for target in found)

    wait_for(all_known, 60, "the first scrape of every target")
    return targets(platform)


def test_everything_that_is_scraped_answers(scraped: list[Target]) -> None:
    assert [target for target in scraped if target.health != "up"] == []


def test_every_pod_that_runs_is_scraped_once_or_not_for_a_reason(scraped: list[Target], platform: Cluster) -> None:
    """By component: the row of one that has no metrics says why. One pod may be asked for the metrics of several programs."""
    reasons = {name for name, row in COMPONENTS.items() if isinstance(row.metrics, Nothing)}
    known = Counter((target.job, target.pod) for target in scraped)
    assert [twice for twice, times in known.items() if times > 1] == []
    pods = {target.pod for target in scraped}
    unscraped = [pod for pod in platform.pods() if pod.name not in pods and pod.phase == "Running"]
    # What stands in for CloudNativePG here is PostgreSQL alone: the exporter is the operator's. Nor has moto metrics, in place of MinIO.
    silent = {_CLUSTER} if minio_program() else {_CLUSTER, _TENANT}
    left = [pod.name for pod in unscraped if pod.labels.get("app.kubernetes.io/name") not in reasons and not silent & pod.labels.keys()]
    assert left == []


def test_the_series_of_a_worker_are_called_as_synapses_dashboards_expect(platform: Cluster) -> None:
    wait_for(lambda: bool(query(platform, "synapse_build_info")), 30, "Synapse's series")
    found = {(s["metric"]["job"], s["metric"]["index"], s["metric"]["instance"]) for s in query(platform, "synapse_build_info")}
    assert {("synapse", "0", "synapse-0"), ("event-persister", "0", "event-persister-0")} <= found


# -- what alerts need


@pytest.fixture(scope="module")
def recorded() -> dict[str, set[str]]:
    """Metric to its labels, of all recorded expositions, and what a scan worker tells only after an engine has failed."""
    found: dict[str, set[str]] = {}
    for text in (*(path.read_text() for path in sorted(EXPOSITIONS.glob("*.txt"))), scan_worker()):
        for metric, labels in exposition(text).items():
            found.setdefault(metric, set()).update(labels)
    return found


def test_every_metric_and_label_of_every_alert_exists(platform: Cluster, objects: list[Object], recorded: dict[str, set[str]]) -> None:
    with traffic(platform, "watched", rooms=1):
        missing = _missing(platform, objects, recorded)
    assert missing == []


def _missing(node: Cluster, objects: list[Object], recorded: dict[str, set[str]]) -> list[str]:
    """What alerts need and neither Prometheus has scraped here nor is in a recorded exposition."""
    found = []
    for rule in rules(objects):
        for metric, labels in needs(rule["expr"]).items():
            series = query(node, metric)
            here = {label for one in series for label in one["metric"]} if series else set()
            there = recorded[metric] | LABELS_OF_TARGETS if metric in recorded else set()
            if not here and not there:
                found.append(f"{rule['alert']}: there is no {metric}")
            elif lacking := labels - here - there:
                found.append(f"{rule['alert']}: {metric} has no {', '.join(sorted(lacking))}")
    return found


def rules(objects: list[Object]) -> list[dict[str, Any]]:
    """The rules of Prometheus."""
    (files,) = (o["data"] for o in objects if o["kind"] == "ConfigMap" and "prometheus.yaml" in o.get("data", {}))
    documents = [yaml.safe_load(text) for name, text in files.items() if name.startswith("alerts-")]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


# -- KEDA

KEDA = Place("keda", {"app": "keda-operator"})


def test_keda_is_told_how_busy_the_workers_of_each_elastic_type_are_and_no_other_namespace_is(
    platform: Cluster, objects: list[Object]
) -> None:
    scalers = {o["metadata"]["name"]: o["spec"]["triggers"][0]["metadata"] for o in objects if o["kind"] == "ScaledObject"}
    assert {"synchrotron", "client-reader", "event-creator"} <= scalers.keys()
    for name, asked in scalers.items():
        # As pkg/scalers/prometheus_scaler.go asks.
        command = ["curl", "-sS", "--fail", "--get", "--max-time", "10", "--data-urlencode", f"query={asked['query']}"]
        command.append(f"{asked['serverAddress']}/api/v1/query")
        (found,) = platform.run(command, at=KEDA).check().json["data"]["result"]
        assert 0 <= float(found["value"][1]) <= 2, name
        assert platform.run(command, at=Place("elsewhere", KEDA.labels)).code != 0


# -- faults


def test_when_nothing_is_wrong_only_the_watchdog_is_on(platform: Cluster) -> None:
    wait_for(lambda: firing(platform) == {"Watchdog"}, 60, "no alert but the watchdog")


def test_alerts_reach_alertmanager(platform: Cluster) -> None:
    url = f"http://alertmanager.{NAMESPACE}.svc.cluster.local:9093/api/v2/alerts"

    def told() -> list[dict[str, Any]]:
        return list(platform.run(["curl", "-sS", "--fail", url], at=NODE).check().json)

    # What came before Alertmanager was there comes again within a minute.
    wait_for(told, 90, "an alert in Alertmanager")
    assert {alert["labels"]["alertname"] for alert in told()} == {"Watchdog"}
    assert {receiver["name"] for alert in told() for receiver in alert["receivers"]} == {"watchdog"}


EFFECTS_OF_NO_EVENTS = frozenset({"HAProxyBackendDown", "TargetDown", "HomeserverErrors"}) | {
    f"{what}BudgetBurns{fast}" for what in ("Send", "Sync") for fast in ("", "Fast")
}
HOLDS = 12.0
"""Seconds for which nothing else may come."""


def exactly(node: Cluster, *expected: str, effects: frozenset[str] = frozenset()) -> None:
    """These alerts come, and for a while after no other one does but `effects`, of which it depends on the moment which there are."""
    wanted = {"Watchdog", *expected}
    wait_for(lambda: wanted <= firing(node), 120, f"the alerts {', '.join(expected)}")
    end = time.monotonic() + HOLDS
    while time.monotonic() < end:
        assert firing(node) <= wanted | effects
        time.sleep(1)
    assert wanted <= firing(node)


@contextlib.contextmanager
def without(node: Cluster, objects: list[Object], pod: str, *, power: bool = False) -> Iterator[None]:
    """A pod is ended for the time of a `with` block, or its machine loses power; after that all is well again."""
    if power:
        node.power_off(pod)
    else:
        node.stop(pod, wait=60)
    try:
        yield
    finally:
        node.start(pod)
        node.wait_ready(180, pod)
        find_targets(node, objects)


@pytest.fixture
def calm(platform: Cluster) -> None:
    """What the test before has broken is mended, and nobody is told of it any more."""
    wait_for(lambda: firing(platform) == {"Watchdog"}, 120, "no alert but the watchdog")


@pytest.mark.usefixtures("calm")
def test_without_clamd_exactly_that_is_told(platform: Cluster, objects: list[Object]) -> None:
    with without(platform, objects, platform.pods("clamav")[0].name):
        exactly(platform, "ScanEngineDown")


@pytest.mark.usefixtures("calm")
def test_when_the_machine_of_a_redis_replica_loses_power_exactly_that_is_told(platform: Cluster, objects: list[Object]) -> None:
    """The primary hears nothing of it and counts the seconds. Prometheus does not reach both of its exporters' answers."""
    (replica, *_) = sorted(found["metric"]["pod"] for found in query(platform, 'redis_instance_info{job="redis",role="slave"}'))
    with without(platform, objects, replica, power=True):
        exactly(platform, "RedisReplicaLags", "TargetDown")
    assert {alert["labels"]["job"] for alert in ask(platform, "alerts")["alerts"] if alert["labels"]["alertname"] == "TargetDown"} <= {
        "redis",
        "redis-sentinel",
    }


@pytest.mark.usefixtures("calm")
def test_without_an_event_persister_exactly_that_is_told(platform: Cluster, objects: list[Object]) -> None:
    # It is the last one: the budget of errors remembers for hours.
    with traffic(platform, "unheard", rooms=1), without(platform, objects, "event-persister-0"):
        exactly(platform, "EventsNotPersisted", effects=EFFECTS_OF_NO_EVENTS)
