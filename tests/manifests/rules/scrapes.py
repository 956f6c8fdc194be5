"""Who asks the pods that there are for metrics: no pod is unscraped, and none is asked twice for the same."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from kit.monitoring import Scrape
from tests.manifests.components import COMPONENTS, IN_PLACE, Nothing
from tests.manifests.rules.objects import Objects, operator_pods, workloads

TWICE = {("li-sync", "li-sync-follow"), ("redis", "redis-sentinel")}
"""Jobs that ask the same pods, each for another program in them."""
SILENT = {("li-sync", "beat"), ("li-sync", "broker")}
"""Parts of components that tell nothing, beside others that do: without them tasks are overdue, of which the others tell."""
ONLY_WATCHED = {"redis"}
"""Components with an exporter beside them, which is there only where a site has monitoring."""
SILENT_COMPONENTS = {name for name, row in (COMPONENTS | IN_PLACE).items() if isinstance(row.metrics, Nothing)}


@frozen
class _Pods:
    """Like pods. `ports`: on which they listen; None of those that an operator makes. `stay`: not what soon has ended."""

    title: str
    namespace: str
    labels: Mapping[str, str]
    ports: frozenset[int] | None
    stay: bool = True

    def silent(self, *, watched: bool) -> bool:
        """Whether they have nothing to tell. `watched`: whether the site has monitoring."""
        name, part = (self.labels.get(f"app.kubernetes.io/{label}", "") for label in ("name", "component"))
        return name in SILENT_COMPONENTS or (name, part) in SILENT or (name in ONLY_WATCHED and not watched)

    def asked_by(self, scrape: Scrape) -> bool:
        """Whether a scrape chooses them."""
        return self.namespace == scrape.pods.namespace and dict(scrape.pods.labels).items() <= self.labels.items()


def scrape_problems(objects: Objects, scrapes: Sequence[Scrape], *, watched: bool = True) -> list[str]:
    """Pods that nobody asks, that are asked twice or where they do not listen; and scrapes of pods that there are not.

    `watched`: whether the site has monitoring.
    """
    pods = list(_pods(objects))
    idle = [f"{scrape.job} asks nobody" for scrape in scrapes if not any(one.asked_by(scrape) for one in pods)]
    asked = ((one, [scrape for scrape in scrapes if one.asked_by(scrape)]) for one in pods)
    unscraped = [
        f"{one.title} is asked by nobody"
        for one in pods
        if one.stay and not one.silent(watched=watched) and not any(map(one.asked_by, scrapes))
    ]
    return [*idle, *unscraped, *(problem for one, asking in asked for problem in _problems(one, asking))]


def _pods(objects: Objects) -> Iterator[_Pods]:
    for workload in workloads(objects):
        yield _Pods(str(workload), workload.namespace, workload.labels, frozenset(workload.numbers), workload.runs_for_ever)
    for made in operator_pods(objects):
        yield _Pods(made.owner, made.namespace, made.labels, None)


def _problems(pods: _Pods, asking: list[Scrape]) -> Iterator[str]:
    jobs = tuple(sorted(scrape.job for scrape in asking))
    if len(jobs) > 1 and jobs not in TWICE:
        yield f"{pods.title} is asked by {', '.join(jobs)}"
    for (number, path, parameters), times in Counter((s.port.number, s.path, s.parameters) for s in asking).items():
        if times > 1:
            yield f"{pods.title} is asked {times} times for {number}{path} {dict(parameters)}"
    if pods.ports is not None:
        yield from (
            f"{pods.title} does not listen on {s.port.number}, where {s.job} asks" for s in asking if s.port.number not in pods.ports
        )
