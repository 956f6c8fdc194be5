"""Services and their names: which pods are behind an address, and which addresses a name has."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

Manifest = Mapping[str, Any]


@frozen
class Backend:
    """A pod as Services know it."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    address: str
    ready: bool
    ports: tuple[tuple[str, int, str], ...] = ()
    """Name, number and protocol of each declared port."""
    subdomain: str = ""
    hostname: str = ""


@frozen
class Forward:
    """A port of a Service's address, and the pods' addresses and ports that connections to it go to, by chance."""

    address: str
    port: int
    protocol: str
    targets: tuple[tuple[str, int], ...]


def endpoints(service: Manifest, pods: Iterable[Backend]) -> list[Backend]:
    """The pods behind a Service: those that it selects, if they are ready or it publishes also the others."""
    spec, namespace = service["spec"], service["metadata"].get("namespace", "default")
    selector = spec.get("selector")
    if not selector:
        return []
    chosen = [pod for pod in pods if pod.namespace == namespace and selector.items() <= pod.labels.items()]
    return [pod for pod in chosen if pod.ready or spec.get("publishNotReadyAddresses")]


def headless(service: Manifest) -> bool:
    """Whether a Service has no address of its own."""
    return bool(service["spec"].get("clusterIP") == "None")


def forwards(service: Manifest, address: str, pods: Iterable[Backend]) -> list[Forward]:
    """Where connections to a Service's address go."""
    behind = endpoints(service, pods)
    found = []
    for port in service["spec"].get("ports") or ():
        target, protocol = port.get("targetPort", port["port"]), port.get("protocol", "TCP")
        targets = [(pod.address, number) for pod in behind for number in _numbers(pod, target, protocol)]
        found.append(Forward(address, port["port"], protocol, tuple(targets)))
    return found


def _numbers(pod: Backend, target: int | str, protocol: str) -> list[int]:
    if isinstance(target, int):
        return [target]
    return [number for name, number, known in pod.ports if (name, known) == (target, protocol)]


def names(
    services: Sequence[Manifest], addresses: Mapping[tuple[str, str], str], pods: Sequence[Backend], domain: str
) -> dict[str, list[str]]:
    """All names of the cluster's DNS, without their final dot, and their addresses.

    https://github.com/kubernetes/dns/blob/master/docs/specification.md
    """
    found: dict[str, list[str]] = {}
    for service in services:
        namespace, name = service["metadata"].get("namespace", "default"), service["metadata"]["name"]
        own = f"{name}.{namespace}.svc.{domain}"
        if not headless(service):
            found[own] = [addresses[namespace, name]]
            continue
        behind = endpoints(service, pods)
        if behind:
            found[own] = sorted(pod.address for pod in behind)
        found |= {f"{pod.hostname}.{own}": [pod.address] for pod in behind if pod.hostname and pod.subdomain == name}
    return found
