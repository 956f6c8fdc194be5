"""Answers for people: one answer in a few lines, and the whole installation as a table of who reaches what."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from textwrap import wrap

from attrs import frozen

from app.inspection.reach.cluster import WORLD, Cluster
from app.inspection.reach.evaluate import Answer, can_reach
from app.inspection.reach.pods import ContainerPort, Peer, Workload


@frozen(order=True)
class Row:
    """Who reaches a port: workloads as `namespace/name`, then addresses by their names. Targets and ports that agree share a row."""

    namespace: str
    targets: tuple[str, ...]
    ports: tuple[str, ...]
    sources: tuple[str, ...]


def render_answer(answer: Answer) -> str:
    """The verdict on one line, its reasons below."""
    verdict = "allowed" if answer.allowed else "DENIED"
    return "\n".join([f"{answer.source} -> {answer.target}:{answer.port}  {verdict}", *(f"  {reason}" for reason in answer.reasons)])


def matrix(cluster: Cluster, only: Iterable[str] = ()) -> tuple[Row, ...]:
    """Who reaches each declared port of each workload, or of those in `only`, by qualified or short name."""
    chosen = set(only)
    asked = [workload for workload in cluster.workloads.values() if not chosen or chosen & {workload.name, str(workload)}]
    reached = {(workload, port): _reaching(cluster, workload, port) for workload in asked for port in _declared(workload)}
    alike = Counter((workload.namespace, port, sources) for (workload, port), sources in reached.items())
    by_target: dict[tuple[Workload, tuple[str, ...]], list[str]] = {}
    for (workload, port), sources in reached.items():
        # That a lone pod reaches itself is worth a word only where it makes the pod one of a family whose members call one another.
        if len(workload.pods) == 1 and workload.pods[0].alone and alike[workload.namespace, port, sources] == 1:
            sources = tuple(source for source in sources if source != str(workload))
        by_target.setdefault((workload, sources), []).append(_describe(port))
    rows: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (workload, sources), ports in by_target.items():
        rows.setdefault((workload.namespace, tuple(ports), sources), []).append(workload.name)
    return tuple(sorted(Row(namespace, tuple(sorted(names)), ports, sources) for (namespace, ports, sources), names in rows.items()))


def render_matrix(cluster: Cluster, only: Iterable[str] = (), width: int = 120) -> str:
    """The matrix as text: a block per namespace; in it a target, its ports, and namespace by namespace who reaches them."""
    rows = matrix(cluster, only)
    if not rows:
        return "No workload declares a port."
    names = {namespace: [w.name for w in group] for namespace, group in groupby(sorted(cluster.workloads.values(), key=str), _namespace)}
    columns = (width // 4, width // 5, width - width // 4 - width // 5 - 6)
    lines: list[str] = []
    for namespace, group in groupby(rows, lambda row: row.namespace):
        lines += [*([""] if lines else []), namespace]
        for row in group:
            cells = (
                wrap(", ".join(row.targets), columns[0]),
                wrap(", ".join(row.ports), columns[1]),
                list(_sources(row, names, columns[2])),
            )
            for target, port, source in zip_longest(*cells, fillvalue=""):
                lines.append(f"  {target:<{columns[0]}}  {port:<{columns[1]}}  {source}".rstrip())
    return "\n".join(lines)


def _declared(workload: Workload) -> tuple[ContainerPort, ...]:
    return tuple(dict.fromkeys(port for pod in workload.pods for port in pod.ports))


def _describe(port: ContainerPort) -> str:
    number = f"{port.number}" if port.protocol == "TCP" else f"{port.number}/{port.protocol}"
    return f"{number} {port.name}".rstrip()


def _reaching(cluster: Cluster, target: Workload, port: ContainerPort) -> tuple[str, ...]:
    """A workload reaches the port if each of its pods reaches every pod that declares it."""
    listening = [pod for pod in target.pods if port in pod.ports]
    callers: list[tuple[str, tuple[Peer, ...]]] = [(name, workload.pods) for name, workload in cluster.workloads.items()]
    callers += [(str(address), (address,)) for address in (WORLD, cluster.node, cluster.api_server)]
    return tuple(
        name
        for name, peers in callers
        if all(can_reach(cluster, peer, pod, port.number, port.protocol) for peer in peers for pod in listening)
    )


def _namespace(workload: Workload) -> str:
    return workload.namespace


def _sources(row: Row, names: Mapping[str, Sequence[str]], width: int) -> Iterator[str]:
    reached = [source.split("/") for source in row.sources if "/" in source]
    outside = [source for source in row.sources if "/" not in source]
    if len(reached) == sum(map(len, names.values())):
        yield from wrap("; ".join(["every pod", *outside]), width)
        return
    if not row.sources:
        yield "nobody"
    for namespace, group in groupby(sorted(reached), lambda parts: parts[0]):
        yield from wrap(f"{namespace}: {_summary([name for _, name in group], names[namespace])}", width, subsequent_indent="  ")
    yield from wrap(", ".join(outside), width)


def _summary(names: Sequence[str], everyone: Sequence[str]) -> str:
    """The names, or in fewer words those that are missing."""
    missing = [name for name in everyone if name not in names]
    if missing:
        return f"all but {', '.join(missing)}" if len(missing) * 4 <= len(names) else ", ".join(names)
    return f"all {len(names)}" if len(names) > 3 else ", ".join(names)
