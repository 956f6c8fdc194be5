"""Prometheus' memory: by the pods that there are, the series of each, and the pods that autoscalers may add."""

import pytest

from kit.monitoring import Scrape
from kit.network import Pods, Port
from kit.quantities import Resources, mib, millicores
from monitoring.prometheus.memory import ITSELF, SERIES_BYTES, memory, prometheus_resources

HTTP = Port("http", 9000)


def workload(name: str, replicas: int, namespace: str = "matrix") -> dict[str, object]:
    share = {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"memory": "1Mi"}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"resources": share}]}}
    spec = {"replicas": replicas, "template": template}
    return {"kind": "StatefulSet", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def scaled(name: str, most: int) -> dict[str, object]:
    spec = {"scaleTargetRef": {"kind": "StatefulSet", "name": name}, "minReplicas": 1, "maxReplicas": most}
    return {"kind": "HorizontalPodAutoscaler", "metadata": {"namespace": "matrix", "name": name}, "spec": spec}


def wanted(*objects: dict[str, object], series: int = 10_000) -> Resources:
    scrape = Scrape("a", Pods("a", "matrix", (("app", "a"),)), HTTP, series)
    return prometheus_resources(millicores(100), [scrape], objects)


def test_every_pod_counts_with_its_series_and_the_limit_with_what_replaces_it() -> None:
    one, three = wanted(workload("a", 1)), wanted(workload("a", 3))
    assert three.memory.count - one.memory.count == pytest.approx(0.6 * 20_000 * SERIES_BYTES, abs=mib(32).count)
    assert three.memory_limit.count - one.memory_limit.count == pytest.approx(2 * 20_000 * SERIES_BYTES, abs=mib(32).count)


def test_only_pods_that_are_scraped_count() -> None:
    assert wanted(workload("a", 1), workload("b", 50), workload("a", 50, "another")) == wanted(workload("a", 1))


def test_the_limit_is_for_all_that_an_autoscaler_may_add() -> None:
    few, many = wanted(workload("a", 1), scaled("a", 2)), wanted(workload("a", 1), scaled("a", 20))
    assert few.memory == many.memory
    assert few.memory_limit < many.memory_limit


def test_it_is_rounded_up() -> None:
    assert memory(1).count % mib(32).count == 0
    assert memory(1) > ITSELF
