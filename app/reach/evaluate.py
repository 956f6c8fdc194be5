"""The question itself: can A reach B on a port? Both ends must allow it, and the answer says who does and who does not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product

from attrs import frozen

from app.reach.cluster import WORLD, Cluster, Gate
from app.reach.pods import Address, Peer, Pod, Workload
from app.reach.services import Service

Source = Pod | Address | Workload
Target = Pod | Address | Workload | Service


@frozen
class Answer:
    """Whether every pod of the source reaches every pod of the target, with one sentence per end that allows or denies it."""

    source: str
    target: str
    port: str
    allowed: bool
    reasons: tuple[str, ...]


@frozen
class _Refusal:
    """There is nothing to connect to, whatever the policies say."""

    reason: str


_Endpoints = list[tuple[Peer, int, str]] | _Refusal


def reach(cluster: Cluster, source: Source, target: Target, port: int | str, protocol: str | None = None) -> Answer:
    """Whether `source` can open a connection to `target` on a port, given by number or name (TCP unless `protocol` says otherwise).

    A Service is followed to the pods behind it, on their own port. A workload stands for all its pods: the answer is yes only if each of
    the source's reaches each of the target's. Only policies are judged, and whether a Service leads anywhere: not whether a program
    listens, nor whether an address is routed. The node under a pod always reaches it, which no policy can deny: the peer `node` is another.
    """
    endpoints = _endpoints(cluster, target, port, protocol)
    if isinstance(endpoints, _Refusal):
        return Answer(str(source), str(target), _label(port, protocol), allowed=False, reasons=(endpoints.reason,))
    every = [(peer, *endpoint) for peer, endpoint in product(_peers(source), endpoints)]
    # Between replicas it is the others that count: each of them reaches itself.
    pairs = [pair for pair in every if not _loopback(pair[0], pair[1])] or every
    failing = [pair for pair in pairs if not can_reach(cluster, *pair)]
    # Replicas nearly always agree, and then one sentence about the workload says it.
    naming = _workload_name if len(failing) in (0, len(pairs)) else str
    sentences = dict.fromkeys(sentence for pair in failing or pairs for sentence in _explain(cluster, *pair, naming))
    return Answer(str(source), str(target), _label(port, pairs[0][3]), allowed=not failing, reasons=tuple(sentences))


def can_reach(cluster: Cluster, source: Peer, target: Peer, number: int, protocol: str = "TCP") -> bool:
    """The bare verdict for one pair and one port of the target itself: what `reach` explains."""
    if _loopback(source, target):
        return True
    names = _names(target, number, protocol)
    leaves = not isinstance(source, Pod) or cluster.egress[source].passes(target, number, protocol, names)
    return leaves and (not isinstance(target, Pod) or cluster.ingress[target].passes(source, number, protocol, names))


def endpoints_of(cluster: Cluster, service: Service, port: int | str, protocol: str | None = None) -> list[tuple[Peer, int, str]]:
    """The pods (or addresses) behind a port of a Service, each with its own port's number and protocol; empty if it leads nowhere."""
    found = _endpoints(cluster, service, port, protocol)
    return [] if isinstance(found, _Refusal) else found


def _peers(source: Source) -> tuple[Peer, ...]:
    return source.pods if isinstance(source, Workload) else (source,)


def _loopback(source: Peer, target: Peer) -> bool:
    return source is target and (not isinstance(source, Pod) or source.alone)


def _names(target: Peer, number: int, protocol: str) -> frozenset[str]:
    # A name is looked up on a pod; behind a node's address there is none to look at.
    return target.names_of(number, protocol) if isinstance(target, Pod) and not target.host_network else frozenset()


def _endpoints(cluster: Cluster, target: Target, port: int | str, protocol: str | None) -> _Endpoints:
    if isinstance(target, Service):
        return _behind(cluster, target, port, protocol, seen=frozenset())
    peers = _peers(target)
    if isinstance(port, int):
        return [(peer, port, protocol or "TCP") for peer in peers]
    named: list[tuple[Peer, int, str]] = [
        (pod, known.number, known.protocol) for pod in peers if isinstance(pod, Pod) for known in pod.numbers_of(port, protocol)
    ]
    return named or _Refusal(f"{target} has no port named {port}")


def _behind(cluster: Cluster, service: Service, port: int | str, protocol: str | None, seen: frozenset[Service]) -> _Endpoints:
    if service.external_name:
        return _behind_name(cluster, service, port, protocol, seen)
    known = service.port(port, protocol)
    pods = _selected(cluster, service)
    if service.headless and isinstance(port, int):
        # The name means the pods themselves, and no port is translated on the way there.
        own = protocol or (known.protocol if known else "TCP")
        peers: list[Peer] = [*pods, *(address for address, _ in service.backends)]
        return [(peer, port, own) for peer in peers] or _Refusal(f"{service} selects no pod")
    if known is None:
        offered = ", ".join(f"{other.number}/{other.protocol}" for other in service.ports) or "none"
        return _Refusal(f"{service} has no port {_label(port, protocol)} (it has {offered})")
    if service.selector is None:
        default = known.target if isinstance(known.target, int) else known.number
        listed: list[tuple[Peer, int, str]] = [
            (address, ports.get(known.name, default), known.protocol) for address, ports in service.backends
        ]
        return listed or _Refusal(f"{service} selects no pod and no EndpointSlice lists its endpoints")
    if isinstance(known.target, int):
        return [(pod, known.target, known.protocol) for pod in pods] or _Refusal(f"{service} selects no pod")
    # A pod without a port of that name and protocol is no endpoint of this port.
    named: list[tuple[Peer, int, str]] = [
        (pod, target.number, target.protocol) for pod in pods for target in pod.numbers_of(known.target, known.protocol)
    ]
    return named or _Refusal(f"{service}: no pod that it selects names a port {known.target}")


def _behind_name(cluster: Cluster, service: Service, port: int | str, protocol: str | None, seen: frozenset[Service]) -> _Endpoints:
    """An ExternalName Service is an alias in DNS: the client keeps its port, and its traffic goes wherever the name leads."""
    suffix = f".svc.{cluster.domain}"
    if service.external_name.rstrip(".").endswith(suffix):
        name, _, namespace = service.external_name.rstrip(".").removesuffix(suffix).partition(".")
        other = next((known for known in cluster.services if (known.namespace, known.name) == (namespace, name)), None)
        if other is None or other in seen:
            return _Refusal(f"{service} is an alias of {service.external_name}, which does not exist")
        return _behind(cluster, other, port, protocol, seen | {service})
    if isinstance(port, str):
        return _Refusal(f"{service} is an alias of {service.external_name}, where no port can be named")
    return [(WORLD, port, protocol or "TCP")]


def _selected(cluster: Cluster, service: Service) -> list[Pod]:
    wanted = (service.selector or {}).items()
    return [pod for pod in cluster.pods if pod.namespace == service.namespace and wanted and wanted <= pod.labels.items()]


def _workload_name(peer: Peer) -> str:
    return peer.workload if isinstance(peer, Pod) else str(peer)


def _label(port: int | str, protocol: str | None) -> str:
    return f"{port}/{protocol}" if protocol else f"{port}"


def _explain(cluster: Cluster, source: Peer, target: Peer, number: int, protocol: str, naming: Callable[[Peer], str]) -> Iterator[str]:
    if _loopback(source, target):
        yield f"{naming(source)} always reaches itself"
        return
    question = (number, protocol, _names(target, number, protocol))
    yield f"egress of {naming(source)} {_judgement(source, cluster.egress, target, question, naming)}"
    yield f"ingress of {naming(target)} {_judgement(target, cluster.ingress, source, question, naming)}"
    if isinstance(target, Pod) and target.ports and not any((known.number, known.protocol) == (number, protocol) for known in target.ports):
        yield f"note: no container of {naming(target)} declares {number}/{protocol}"


def _judgement(
    here: Peer, gates: Mapping[Pod, Gate], there: Peer, question: tuple[int, str, frozenset[str]], naming: Callable[[Peer], str]
) -> str:
    if isinstance(here, Address):
        return "is open: it is outside the pod network, where no policy applies"
    if here.host_network:
        return "is open: it is on its node's network, where no policy applies"
    gate = gates[here]
    if not gate.policies:
        return "is open: no policy isolates it"
    knowing = [door for door in gate.doors if door.admits(there)]
    if admitting := [door for door in knowing if door.opens(*question)]:
        return f"is admitted by {_list(str(door.policy) for door in admitting)}"
    number, protocol, _ = question
    refusal = f"is denied: no rule of {_list(map(str, gate.policies))} admits {naming(there)} on {number}/{protocol}"
    elsewhere = _list(str(port) for door in knowing for port in door.ports)
    return f"{refusal} (only on {elsewhere})" if elsewhere else refusal


def _list(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
