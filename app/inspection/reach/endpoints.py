"""From what a caller dials to what it gets: the pods and addresses, each with its own port, behind a Service, a workload or a name."""

from attrs import frozen

from app.inspection.reach.cluster import WORLD, Cluster
from app.inspection.reach.pods import Address, Peer, Pod, Workload
from app.inspection.reach.services import Service

Target = Pod | Address | Workload | Service
Endpoint = tuple[Peer, int, str]
"""Who answers, on which port and protocol of its own."""


@frozen
class Refusal:
    """There is nothing to connect to, whatever the policies say."""

    reason: str


def endpoints(cluster: Cluster, target: Target, port: int | str, protocol: str | None = None) -> list[Endpoint] | Refusal:
    """What a connection to a port of the target, by number or name, leads to. Without a protocol it is the port's own, else TCP."""
    if isinstance(target, Service):
        return _behind(cluster, target, port, protocol, seen=frozenset())
    peers = peers_of(target)
    if isinstance(port, int):
        return [(peer, port, protocol or "TCP") for peer in peers]
    named: list[Endpoint] = [
        (pod, known.number, known.protocol) for pod in peers if isinstance(pod, Pod) for known in pod.numbers_of(port, protocol)
    ]
    return named or Refusal(f"{target} has no port named {port}")


def port_label(port: int | str, protocol: str | None) -> str:
    """`5432/TCP`, or only what is known."""
    return f"{port}/{protocol}" if protocol else f"{port}"


def peers_of(source: Pod | Address | Workload) -> tuple[Peer, ...]:
    """The pods of a workload; anything else is one already."""
    return source.pods if isinstance(source, Workload) else (source,)


def _behind(
    cluster: Cluster, service: Service, port: int | str, protocol: str | None, seen: frozenset[Service]
) -> list[Endpoint] | Refusal:
    if service.external_name:
        return _behind_name(cluster, service, port, protocol, seen)
    known = service.port(port, protocol)
    pods = _selected(cluster, service)
    if service.headless and isinstance(port, int):
        # The name means the pods themselves, and no port is translated on the way there.
        own = protocol or (known.protocol if known else "TCP")
        peers: list[Peer] = [*pods, *(address for address, _ in service.backends)]
        return [(peer, port, own) for peer in peers] or Refusal(f"{service} selects no pod")
    if known is None:
        offered = ", ".join(f"{other.number}/{other.protocol}" for other in service.ports) or "none"
        return Refusal(f"{service} has no port {port_label(port, protocol)} (it has {offered})")
    if service.selector is None:
        default = known.target if isinstance(known.target, int) else known.number
        listed: list[Endpoint] = [(address, ports.get(known.name, default), known.protocol) for address, ports in service.backends]
        return listed or Refusal(f"{service} selects no pod and no EndpointSlice lists its endpoints")
    if not pods:
        return Refusal(f"{service} selects no pod")
    if isinstance(known.target, int):
        return [(pod, known.target, known.protocol) for pod in pods]
    # A pod without a port of that name and protocol is no endpoint of this port.
    named: list[Endpoint] = [
        (pod, target.number, target.protocol) for pod in pods for target in pod.numbers_of(known.target, known.protocol)
    ]
    return named or Refusal(f"{service}: no pod that it selects names a port {known.target}")


def _behind_name(
    cluster: Cluster, service: Service, port: int | str, protocol: str | None, seen: frozenset[Service]
) -> list[Endpoint] | Refusal:
    """An ExternalName Service is an alias in DNS: the client keeps its port, and its traffic goes wherever the name leads."""
    suffix = f".svc.{cluster.domain}"
    if service.external_name.rstrip(".").endswith(suffix):
        name, _, namespace = service.external_name.rstrip(".").removesuffix(suffix).partition(".")
        other = next((known for known in cluster.services if (known.namespace, known.name) == (namespace, name)), None)
        if other is None or other in seen:
            return Refusal(f"{service} is an alias of {service.external_name}, which does not exist")
        return _behind(cluster, other, port, protocol, seen | {service})
    if isinstance(port, str):
        return Refusal(f"{service} is an alias of {service.external_name}, where no port can be named")
    return [(WORLD, port, protocol or "TCP")]


def _selected(cluster: Cluster, service: Service) -> list[Pod]:
    wanted = (service.selector or {}).items()
    return [pod for pod in cluster.pods if pod.namespace == service.namespace and wanted and wanted <= pod.labels.items()]
