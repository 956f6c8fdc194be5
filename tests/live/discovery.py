"""What Prometheus makes of the pods that it finds: asked of its own tool, job by job."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.live.monitoring import promtool
from tests.manifests.rules.scrapes import SILENT, SILENT_COMPONENTS, TWICE

META = "__meta_kubernetes_"


@frozen
class Found:
    """Something that a job scrapes: the labels of its series, and where it is asked."""

    job: str
    labels: Mapping[str, str]
    asked: tuple[str, str, str]
    """Address, path and parameters."""

    @property
    def pod(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.labels.get("namespace", ""), self.labels.get("pod", "")


def configuration(text: str, discovery: Mapping[str, Any]) -> dict[str, Any]:
    """prometheus.yaml with the jobs of pods alone, which look for them by `discovery`."""
    document: dict[str, Any] = yaml.safe_load(text)
    jobs = [job for job in document["scrape_configs"] if "metrics_path" in job]
    for job in jobs:
        found = job.pop("kubernetes_sd_configs")
        for key, configs in discovery.items():
            job[key] = [(found[0] if key == "kubernetes_sd_configs" else {}) | one for one in configs]
    return {"global": document["global"], "scrape_configs": jobs}


def discovered(document: Mapping[str, Any], folder: Path) -> list[Found]:
    """What every job finds and keeps."""
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(document))
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda job: list(_of_job(file, job["job_name"])), document["scrape_configs"])
    return [one for of_job in found for one in of_job]


def _of_job(file: Path, job: str) -> Iterator[Found]:
    # It looks for as long as it is told to; a busy machine has found nothing after a second.
    for seconds in (1, 5, 20):
        command = [promtool(), "check", "service-discovery", f"--timeout={seconds}s", str(file), job]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
        if targets := json.loads(said):
            break
    for target in targets:
        assert not target.get("error"), (job, target)
        if labels := target.get("labels"):
            parameters = ",".join(f"{k}={v}" for k, v in sorted(labels.items()) if k.startswith("__param_"))
            yield Found(job, labels, (labels["__address__"], labels["__metrics_path__"], parameters))


@frozen
class Pod:
    """A pod as Prometheus' discovery finds it."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    phase: str = "Running"
    stays: bool = True
    """Whether somebody has to ask it: not what soon has ended."""

    @property
    def part(self) -> tuple[str, str]:
        """The component that it belongs to, and which part it is."""
        return self.labels.get("app.kubernetes.io/name", ""), self.labels.get("app.kubernetes.io/component", "")


def problems(pods: Sequence[Pod], found: Iterable[Found]) -> list[str]:
    """Pods that nobody asks, that are asked twice for the same, or asked though they have ended; and jobs without pods."""
    kept = list(found)
    said = [f"{asked} is asked {times} times" for asked, times in Counter(one.asked for one in kept).items() if times > 1]
    jobs: dict[tuple[str, str], set[str]] = {}
    for one in kept:
        jobs.setdefault(one.pod, set()).add(one.job)
    for pod in pods:
        asking = tuple(sorted(jobs.get((pod.namespace, pod.name), ())))
        if pod.phase != "Running" and asking:
            said.append(f"{pod.name} has ended, and is asked by {asking}")
        if pod.stays and not asking and pod.part[0] not in SILENT_COMPONENTS and pod.part not in SILENT:
            said.append(f"{pod.name} is asked by nobody")
        if len(asking) > 1 and asking not in TWICE:
            said.append(f"{pod.name} is asked by {', '.join(asking)}")
    return said
