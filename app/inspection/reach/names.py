"""From the words of a person, or the host names of a configuration file, to pods and Services."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TypeVar

from attrs import frozen

from app.inspection.reach.cluster import WORLD, Cluster
from app.inspection.reach.endpoints import Target
from app.inspection.reach.evaluate import Answer, Source, reach
from app.inspection.reach.pods import Address, Pod, Workload
from app.inspection.reach.policies import PROTOCOLS
from app.inspection.reach.services import Service

_Thing = TypeVar("_Thing", bound=Workload | Pod | Service)


class UnknownNameError(LookupError):
    """Nobody has that name, or several have; the message says which names are near, or how to tell them apart."""


@frozen
class Destination:
    """`name`, `name:port`, `name:port/udp`, `[address]:port`: where a person wants to go."""

    name: str
    port: int | str | None
    protocol: str | None


def ask(cluster: Cluster, source: str, destination: str) -> tuple[Answer, ...]:
    """Answer a person's question: one answer for the port that `destination` names, or for each port of it if it names none.

    Names are short (`receipts`), qualified (`matrix/receipts`), one pod's (`redis-0`), `world`, `node`, `api-server`, `dns`, or an IP
    address. A name that both a Service and a workload have means the Service where it has the port, as for a program; `svc/redis` and
    `pod/redis` decide it. Raises UnknownNameError.
    """
    start = find_source(cluster, source)
    wanted = parse_destination(destination)
    ends = find_targets(cluster, wanted.name)
    if wanted.port is None:
        questions: list[tuple[Target, int | str, str | None]] = [(end, port, protocol) for end in ends for port, protocol in _ports(end)]
        if not questions:
            raise UnknownNameError(f"{wanted.name} declares no port; name one, e.g. {wanted.name}:443")
    else:
        having = [end for end in ends if isinstance(end, Service) and end.port(wanted.port, wanted.protocol)]
        questions = [((having or ends[-1:])[0], wanted.port, wanted.protocol)]
    return tuple(reach(cluster, start, end, port, protocol) for end, port, protocol in questions)


def parse_destination(text: str) -> Destination:
    """Split `name:port/protocol`. Raises UnknownNameError if the protocol is none."""
    head, slash, protocol = text.rpartition("/")
    if slash and protocol.upper() in PROTOCOLS:
        text = head
    elif slash and ":" in head:
        raise UnknownNameError(f"unknown protocol {protocol}: one of {', '.join(PROTOCOLS)}")
    else:
        protocol = ""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        name, port = text, ""
    else:
        name, _, port = text.partition(":")
    return Destination(name, int(port) if port.isdecimal() else port or None, protocol.upper() or None)


def find_source(cluster: Cluster, name: str) -> Source:
    """Who has a name and can call: a workload, one pod of it, or an address. Raises UnknownNameError."""
    return _address(cluster, name) or _one(name.removeprefix("pod/"), _callers(cluster))


def find_targets(cluster: Cluster, name: str) -> tuple[Target, ...]:
    """Who has a name and can be called: the Service first, then the workload or pod. Raises UnknownNameError."""
    if address := _address(cluster, name):
        return (address,)
    if name == "dns":
        return (_one("kube-dns", _services(cluster)),)
    kind, _, rest = name.partition("/")
    if kind in ("svc", "service"):
        return (_one(rest, _services(cluster)),)
    if kind == "pod":
        return (_one(rest, _callers(cluster)),)
    services, callers = _services(cluster), _callers(cluster)
    if name in services:
        return (_one(name, services), *([_one(name, callers)] if name in callers else []))
    return (_one(name, {**services, **callers}),)


def resolve(cluster: Cluster, host: str, namespace: str) -> Target:
    """What a host name means to a pod in `namespace`: a Service, one pod behind a headless Service, an address, or the world.

    Follows the search list of a pod's resolv.conf (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/): a name
    with dots that leads to no Service is one of the world. Raises UnknownNameError for a name without dots that is no Service, and for
    one that ends in a namespace of the cluster, or in `.svc`, without being a Service's.
    """
    name = host.rstrip(".")
    if address := _address(cluster, name):
        return address
    for suffix in (f".svc.{cluster.domain}", ".svc", ""):
        if not name.endswith(suffix):
            continue
        labels = name.removesuffix(suffix).split(".")
        for complete in (labels,) if suffix else ([*labels, namespace], labels):
            found = _by_labels(cluster, complete)
            if found is not None:
                return found
        if suffix or len(labels) == 1 or labels[-1] in {service.namespace for service in cluster.services}:
            break
    else:
        return Address(host, WORLD.addresses)
    near = get_close_matches(name, _host_names(cluster, namespace), n=1)
    raise UnknownNameError(f"no Service answers to {host} in namespace {namespace}" + (f"; did you mean {near[0]}?" if near else ""))


def _by_labels(cluster: Cluster, labels: list[str]) -> Target | None:
    """The Service `service.namespace`, or the pod `pod.service.namespace`, of which these are the labels."""
    match labels:
        case [service, namespace]:
            return next((known for known in cluster.services if (known.name, known.namespace) == (service, namespace)), None)
        case [pod, service, namespace]:
            own = (known for known in cluster.pods if (known.name, known.subdomain, known.namespace) == (pod, service, namespace))
            return next(own, None) if _by_labels(cluster, [service, namespace]) else None
        case _:
            return None


def _host_names(cluster: Cluster, namespace: str) -> list[str]:
    short = [service.name for service in cluster.services if service.namespace == namespace]
    return [*short, *(f"{service.name}.{service.namespace}.svc" for service in cluster.services)]


def _ports(target: Target) -> list[tuple[int, str]]:
    match target:
        case Service():
            known = [(port.number, port.protocol) for port in target.ports]
        case Workload():
            known = [(port.number, port.protocol) for pod in target.pods for port in pod.ports]
        case Pod():
            known = [(port.number, port.protocol) for port in target.ports]
        case _:
            known = []
    return list(dict.fromkeys(known))


def _address(cluster: Cluster, name: str) -> Address | None:
    for known in (WORLD, cluster.node, cluster.api_server):
        if name == known.name:
            return known
    try:
        return Address(name, (ip_address(name),))
    except ValueError:
        return None


def _services(cluster: Cluster) -> Mapping[str, tuple[Service, ...]]:
    return _table(cluster.services)


def _callers(cluster: Cluster) -> Mapping[str, tuple[Workload | Pod, ...]]:
    workloads = cluster.workloads.values()
    # A pod has a name of its own only where its workload has several or calls it something else.
    return _table([*workloads, *(pod for pod in cluster.pods if str(pod) not in cluster.workloads)])


def _table(things: Iterable[_Thing]) -> Mapping[str, tuple[_Thing, ...]]:
    """Everything by its qualified and by its short name; a short name may mean several."""
    table: dict[str, tuple[_Thing, ...]] = {}
    for thing in things:
        for name in (thing.name, f"{thing.namespace}/{thing.name}"):
            table[name] = (*table.get(name, ()), thing)
    return table


def _one(name: str, table: Mapping[str, tuple[_Thing, ...]]) -> _Thing:
    found = table.get(name, ())
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownNameError(f"{name} is ambiguous: {' or '.join(str(thing) for thing in found)}")
    names = [*table, WORLD.name, "node", "api-server", "dns"]
    near = get_close_matches(name, [known for known in names if ("/" in known) == ("/" in name)], n=3)
    raise UnknownNameError(f"nothing is called {name}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
