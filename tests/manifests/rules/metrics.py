"""What Prometheus has to remember, and what that takes: the series of each pod, times the pods, times what one costs."""

from collections.abc import Iterator
from typing import Any

import yaml

from kit.quantities import Bytes, mib, parse_bytes
from tests.manifests.rules.objects import Objects, config_maps, namespace_of, of_kind, title, workloads

OF_A_WORKER = 2500
SERIES = {"haproxy": 4000}
"""The most series that a pod of a job tells (tests/live/test_monitoring_platform.py); Synapse's processes have no row of their own."""
EMPTY, EACH = mib(100), Bytes(4096)
"""Of Prometheus itself, and of each series: bench/metrics.py has measured 81 MiB and 2.2 KiB, without queries and two hours of samples."""
NODES = 3


def series(objects: Objects) -> int:
    """How many there are at the most, with every autoscaler at its ceiling."""
    (text,) = (files["prometheus.yaml"] for files in config_maps(objects).values() if "prometheus.yaml" in files)
    pods = list(_pods(objects))
    total = 0
    for job in yaml.safe_load(text)["scrape_configs"]:
        steps = [step for step in job.get("relabel_configs", ()) if step.get("action") == "keep"]
        if "metrics_path" in job:
            total += sum(count for found, count in pods if _kept(steps, found)) * SERIES.get(job["job_name"], OF_A_WORKER)
    return total


def _pods(objects: Objects) -> Iterator[tuple[dict[str, str], int]]:
    """What discovery knows of like pods, and how many there are."""
    for workload in workloads(objects):
        if workload.runs_for_ever:
            labels, count = workload.labels, NODES if workload.kind == "DaemonSet" else workload.most
            yield {"namespace": workload.namespace, **_named(labels)}, count
    for o in of_kind(objects, "Cluster", "Tenant"):
        label = "cnpg.io/cluster" if o["kind"] == "Cluster" else "v1.min.io/tenant"
        count = o["spec"]["instances"] if o["kind"] == "Cluster" else sum(pool["servers"] for pool in o["spec"]["pools"])
        yield {"namespace": namespace_of(o), **_named({label: o["metadata"]["name"]})}, count


def _named(labels: dict[str, str]) -> dict[str, str]:
    return {"pod_label_" + "".join(c if c.isalnum() else "_" for c in label): value for label, value in labels.items()}


def _kept(steps: list[dict[str, Any]], found: dict[str, str]) -> bool:
    """Whether a job keeps such pods; of their ports it keeps one."""
    asked = {step["source_labels"][0].removeprefix("__meta_kubernetes_"): step["regex"].replace("\\.", ".") for step in steps}
    return all(found.get(label) == value for label, value in asked.items() if label != "pod_container_port_number")


def memory_problems(objects: Objects) -> list[str]:
    """A Prometheus that has not the memory for its series, or whose limit leaves no room for what people ask it; or much more than that."""
    found = []
    for o in of_kind(objects, "StatefulSet"):
        if o["metadata"]["name"] != "prometheus":
            continue
        (container,) = o["spec"]["template"]["spec"]["containers"]
        requested, limit = (parse_bytes(container["resources"][kind]["memory"]) for kind in ("requests", "limits"))
        count = series(objects)
        needed = Bytes(EMPTY.count + EACH.count * count)
        if not needed.count <= requested.count <= 2 * needed.count:
            found.append(f"{title(o)} requests {requested} for {count} series, which take {needed}")
        if limit.count < 2 * requested.count:
            found.append(f"{title(o)}: {limit} at the most leaves no room for queries and for what is written to the disk")
    return found
