"""Services: from a name and a port to the pods and ports behind them."""

from collections.abc import Iterable, Mapping

from attrs import frozen

from app.inspection.reach.pods import Address, addresses, namespace_of
from app.inspection.reach.policies import Labels, Manifest


@frozen
class ServicePort:
    """A port of a Service. `target` is the number, or the name on each pod, of the port behind it."""

    name: str
    number: int
    protocol: str
    target: int | str


@frozen(eq=False)
class Service:
    """A Service. Without `selector` its endpoints are what EndpointSlices list, or (`external_name`) whatever a DNS name means.

    A headless Service is a name for its pods and nothing else: a client goes straight to a pod, on the very port that it asks for, and
    `target` is not applied.
    """

    namespace: str
    name: str
    selector: Labels | None
    ports: tuple[ServicePort, ...]
    headless: bool = False
    external_name: str = ""
    backends: tuple[tuple[Address, Mapping[str, int]], ...] = ()
    """Addresses listed by hand, each with the port's number by the name of the Service's port."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def port(self, port: int | str, protocol: str | None = None) -> ServicePort | None:
        """The port with a number or name, of any protocol unless one is given; None if the Service has no such port."""
        return next((known for known in self.ports if port in (known.number, known.name) and protocol in (None, known.protocol)), None)


def read_services(objects: Iterable[Manifest]) -> tuple[Service, ...]:
    """All Services, with the endpoints that EndpointSlices give to those which select nothing."""
    listed = list(objects)
    slices = [manifest for manifest in listed if manifest["kind"] == "EndpointSlice"]
    return tuple(_service(manifest, slices) for manifest in listed if manifest["kind"] == "Service")


def _service(manifest: Manifest, slices: Iterable[Manifest]) -> Service:
    spec: Manifest = manifest.get("spec") or {}
    namespace, name = namespace_of(manifest), manifest["metadata"]["name"]
    external = spec.get("externalName") or "" if spec.get("type") == "ExternalName" else ""
    return Service(
        namespace=namespace,
        name=name,
        selector=None if external else spec.get("selector") or None,
        ports=tuple(_port(port) for port in spec.get("ports") or ()),
        headless=spec.get("clusterIP") == "None",
        external_name=external,
        backends=tuple(backend for manifest in slices if _belongs(manifest, namespace, name) for backend in _backends(manifest)),
    )


def _port(port: Manifest) -> ServicePort:
    target = port.get("targetPort")
    return ServicePort(port.get("name") or "", port["port"], port.get("protocol") or "TCP", port["port"] if target is None else target)


def _belongs(endpoints: Manifest, namespace: str, service: str) -> bool:
    labels = endpoints["metadata"].get("labels") or {}
    return namespace_of(endpoints) == namespace and labels.get("kubernetes.io/service-name") == service


def _backends(endpoints: Manifest) -> list[tuple[Address, dict[str, int]]]:
    ports = {port.get("name") or "": port["port"] for port in endpoints.get("ports") or ()}
    return [(Address(ip, addresses((ip,))), ports) for endpoint in endpoints.get("endpoints") or () for ip in endpoint["addresses"]]
