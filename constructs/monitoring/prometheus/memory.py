"""How much memory Prometheus needs: by how many series the pods of a size have."""

from collections.abc import Iterable, Sequence

from kit.footprint import pod_sets
from kit.monitoring import Scrape
from kit.quantities import Bytes, Cpu, Resources, mib
from kit.rendering import Manifest

SERIES_BYTES = 2560
"""Of one series: 2.4 kB were measured with 44,000 of them, with what Go has yet to collect (tests/live/test_dashboards.py)."""
ITSELF = mib(80)
"""Without a series: 77 MiB were measured."""
_NODES = 3
"""As many as a size needs at least."""
_KUBELET = 100
"""Series of the kubelet of a node: two for each volume there."""
_TWICE = 2
"""A pod that is replaced has other series: those of both are in memory until the older are written, which is after three hours."""
_STEP = mib(32)
_THERE = 0.6
"""Components say the most that a pod may tell. What is there is less: 1500 of the 2600 of most of Synapse's processes."""


def prometheus_resources(cpu: Cpu, scrapes: Sequence[Scrape], objects: Iterable[Manifest]) -> Resources:
    """Requests for what is there when nothing happens. The limit is for the most that there can be, each once replaced."""
    pods = list(pod_sets(objects, _NODES))
    least, most = _NODES * _KUBELET, _NODES * _KUBELET
    for scrape in scrapes:
        told = (
            pods
            if scrape.of_others
            else [of for of in pods if of.namespace == scrape.pods.namespace and of.labels >= {*scrape.pods.labels}]
        )
        least += scrape.series * sum(of.least for of in told)
        most += scrape.series * sum(of.most for of in told)
    return Resources(cpu, memory(round(least * _THERE)), memory(most * _TWICE))


def memory(series: int) -> Bytes:
    """For so many series."""
    needed = ITSELF.count + series * SERIES_BYTES
    return Bytes(-(-needed // _STEP.count) * _STEP.count)
