"""PodMonitors: what a Prometheus that is there already is told to scrape, and how the series are called."""

from collections.abc import Iterator

from tests.manifests.rules.objects import Object, Objects, OperatorPods, Workload, of_kind, operator_pods, title, workloads

SCRAPED = {
    "haproxy": "8405/metrics",
    "key-vault": "8003/metrics",
    "li-proxy": "8405/metrics",
    "li-sync": "8080/metrics",
    "li-sync-follow": "9108/metrics",
    "media-sweep": "8080/metrics",
    "minio-li": "9000/minio/v2/metrics/cluster",
    "minio-main": "9000/minio/v2/metrics/cluster",
    "postgresql-li": "9187/metrics",
    "postgresql-main": "9187/metrics",
    "redis": "9121/scrape",
    "redis-proxy": "8404/metrics",
    "redis-sentinel": "9121/scrape",
    "scan-worker": "8080/metrics",
    "sygnal": "8000/metrics",
}
"""Job to port and path. What is not here is Synapse, each type of worker a job of its own."""
_NAME = "app.kubernetes.io/name"
_SYNAPSE = "9001/_synapse/metrics"
PARAMETERS = {
    "redis": {"target": ["redis://localhost:6379"]},
    "redis-sentinel": {"target": ["redis://localhost:26379"]},
}
_FOUND = "__meta_kubernetes_"
LABELS = {
    "namespace": f"{_FOUND}namespace",
    "pod": f"{_FOUND}pod_name",
    "instance": f"{_FOUND}pod_name",
    "node": f"{_FOUND}pod_node_name",
    "index": f"{_FOUND}pod_label_apps_kubernetes_io_pod_index",
}


def monitor_problems(objects: Objects) -> list[str]:
    """PodMonitors that choose no pods, or others than their job's, and series that are called otherwise than alerts and dashboards expect."""
    running, of_operators = [w for w in workloads(objects) if w.kind != "Job"], operator_pods(objects)
    return [f"{title(o)}: {problem}" for o in of_kind(objects, "PodMonitor") for problem in _problems(o, running, of_operators)]


def _problems(o: Object, running: list[Workload], of_operators: list[OperatorPods]) -> Iterator[str]:
    spec, job = o["spec"], o["metadata"]["name"]
    namespaces, labels = spec.get("namespaceSelector", {}).get("matchNames"), spec.get("selector", {}).get("matchLabels", {})
    (endpoint,) = spec["podMetricsEndpoints"]
    chosen = [w for w in running if [w.namespace] == namespaces and _NAME in labels and labels.items() <= w.labels.items()]
    made = [pods for pods in of_operators if [pods.namespace] == namespaces and pods.labels == labels]
    called = {pods.owner.rpartition("/")[2] for pods in made} | {_job(w.name, w.labels) for w in chosen}
    if called != {job.removesuffix("-sentinel").removesuffix("-follow")}:
        yield f"it chooses the pods of {sorted(called)}"
    where = f"{endpoint.get('portNumber')}{endpoint.get('path')}"
    if where != SCRAPED.get(job, _SYNAPSE):
        yield f"it asks {where}"
    if any(endpoint.get("portNumber") not in w.numbers for w in chosen):
        yield "its pods do not listen there"
    if endpoint.get("params", {}) != PARAMETERS.get(job, {}):
        yield f"it asks for {endpoint.get('params')}"
    named = ({"sourceLabels": [f], "targetLabel": label} for label, f in LABELS.items())
    wanted = [{"action": "replace", **relabeling} for relabeling in ({"targetLabel": "job", "replacement": job}, *named)]
    if endpoint.get("relabelings") != wanted:
        yield f"its series are called {endpoint.get('relabelings')}"
    if extra := endpoint.keys() - {"portNumber", "path", "params", "relabelings"}:
        yield f"what {sorted(extra)} is for nobody says"


def _job(workload: str, labels: dict[str, str]) -> str:
    """What the series of a workload's pods are called by: Synapse's main process is called like Synapse."""
    return labels.get("app.kubernetes.io/name", "") if labels.get("app.kubernetes.io/component") in ("main", "server") else workload
