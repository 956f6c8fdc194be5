"""The question itself: can A reach B on a port? Both ends must allow it, and the answer says who does and who does not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product

from attrs import frozen

from app.inspection.reach.cluster import Cluster, Gate
from app.inspection.reach.endpoints import Refusal, Target, endpoints, peers_of, port_label
from app.inspection.reach.pods import Address, Peer, Pod, Workload

Source = Pod | Address | Workload


@frozen
class Answer:
    """Whether every pod of the source reaches every pod of the target, with one sentence per end that allows or denies it."""

    source: str
    target: str
    port: str
    allowed: bool
    reasons: tuple[str, ...]


def reach(cluster: Cluster, source: Source, target: Target, port: int | str, protocol: str | None = None) -> Answer:
    """Whether `source` can open a connection to `target` on a port, given by number or name (TCP unless `protocol` says otherwise).

    A Service is followed to the pods behind it, on their own port. A workload stands for all its pods: the answer is yes only if each of
    the source's reaches each of the target's. Only policies are judged, and whether a Service leads anywhere: not whether a program
    listens, nor whether an address is routed. The node under a pod always reaches it, which no policy can deny: the peer `node` is another.
    """
    found = endpoints(cluster, target, port, protocol)
    if isinstance(found, Refusal):
        return Answer(str(source), str(target), port_label(port, protocol), allowed=False, reasons=(found.reason,))
    every = [(peer, *endpoint) for peer, endpoint in product(peers_of(source), found)]
    # Between replicas it is the others that count: each of them reaches itself.
    pairs = [pair for pair in every if not _loopback(pair[0], pair[1])] or every
    failing = [pair for pair in pairs if not can_reach(cluster, *pair)]
    # Replicas nearly always agree, and then one sentence about the workload says it.
    naming = _workload_name if len(failing) in (0, len(pairs)) else str
    sentences = dict.fromkeys(sentence for pair in failing or pairs for sentence in _explain(cluster, *pair, naming))
    return Answer(str(source), str(target), port_label(port, pairs[0][3]), allowed=not failing, reasons=tuple(sentences))


def can_reach(cluster: Cluster, source: Peer, target: Peer, number: int, protocol: str = "TCP") -> bool:
    """The bare verdict for one pair and one port of the target itself: what `reach` explains."""
    if _loopback(source, target):
        return True
    names = _names(target, number, protocol)
    leaves = not isinstance(source, Pod) or cluster.egress[source].passes(target, number, protocol, names)
    return leaves and (not isinstance(target, Pod) or cluster.ingress[target].passes(source, number, protocol, names))


def _loopback(source: Peer, target: Peer) -> bool:
    return source is target and (not isinstance(source, Pod) or source.alone)


def _names(target: Peer, number: int, protocol: str) -> frozenset[str]:
    # A name is looked up on a pod; behind a node's address there is none to look at.
    return target.names_of(number, protocol) if isinstance(target, Pod) and not target.host_network else frozenset()


def _workload_name(peer: Peer) -> str:
    return peer.workload if isinstance(peer, Pod) else str(peer)


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
