"""HAProxy: the one way in to Synapse, which sends each request to the worker that serves it."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Exposure, Host, Pods, Port
from kit.pods import Container, Mount, PodSpec, Probe
from kit.quantities import Resources
from main_instance.haproxy.configuration import HAProxySpec, Ports, configuration

PROBE_PERIOD = 5
"""Seconds. It must fit several times into the grace period in which `/ready` says that the pod stops."""


@frozen
class Administration:
    """Where administrators' tools find Synapse, and the addresses that they may come from."""

    host: Host
    allowed_sources: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        if not self.allowed_sources:
            raise ValueError(f"{self.host.name} would be open to the whole world")


@frozen
class ProxySpec:
    """HAProxy as it is deployed. `backends`: the Synapse pods that it calls and asks for their health.

    `server_name`: the host of the server name, where `routing.well_known` is published. `administration`: None publishes it nowhere.
    """

    routing: HAProxySpec
    replicas: int
    resources: Resources
    host: Host
    backends: tuple[Endpoint, ...]
    server_name: Host | None = None
    administration: Administration | None = None


def internal_endpoint(installation: Installation, namespace: str) -> Endpoint:
    """Synapse with its administration, for the platform's own services: known before the proxy is, which has to know some of them."""
    pods = Pods("haproxy", namespace, (("app.kubernetes.io/name", "haproxy"),))
    number = Ports().internal
    return Endpoint(pods, installation.facts.service_host("haproxy", namespace), number, Port("internal", number))


class HAProxy(Component):
    """Two or more equal proxies: each knows every instance that may ever be, so all of them agree on who serves whom."""

    folder = "main-instance/03-haproxy"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: ProxySpec) -> None:
        super().__init__(installation, "haproxy", namespace)
        ports = spec.routing.ports
        public, internal, operations = Port("public", ports.public), Port("internal", ports.internal), Port("metrics", ports.operations)
        files = self.config("haproxy", {name: (f"haproxy/{name}", text) for name, text in configuration(spec.routing).items()})
        container = Container(
            name="haproxy",
            image=image("haproxy"),
            command=("haproxy",),
            args=("-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"),
            ports=(public, internal, operations),
            mounts=(Mount(files, "/etc/haproxy"),),
            startup=Probe(http=("/live", "metrics"), period_seconds=1, failures=30),
            readiness=Probe(http=("/ready", "metrics"), period_seconds=2, failures=1),
            liveness=Probe(http=("/live", "metrics"), period_seconds=PROBE_PERIOD),
            resources=spec.resources,
        )
        pod = PodSpec(containers=(container,), grace_seconds=spec.routing.termination_grace_seconds)
        proxies = self.deployment("deployment.yaml", "haproxy", pod, part="haproxy", replicas=spec.replicas)
        service = self.service(
            "service.yaml", "haproxy", proxies, {"public": ports.public, "internal": ports.internal, "metrics": ports.operations}
        )
        self.public, self.internal = service.endpoint("public"), service.endpoint("internal")
        self.connect(self.pods, *spec.backends)
        paths = ("/_matrix", "/_synapse/client")
        self.expose(Exposure("matrix", spec.host, self.public, "main-instance/01-synapse/ingress.yaml", paths))
        if spec.server_name:
            well_known = ("/.well-known/matrix",)
            self.expose(Exposure("well-known", spec.server_name, self.public, "main-instance/03-haproxy/ingress.yaml", well_known))
        if spec.administration:
            self._publish_administration(spec.administration)

    def _publish_administration(self, administration: Administration) -> None:
        """The admin API, and of the client API what its tools need under the same host: to log in, and to show and send media."""
        host, sources, file = administration.host, administration.allowed_sources, "main-instance/03-haproxy/ingress.yaml"
        self.expose(Exposure("admin", host, self.internal, file, ("/_synapse/admin",), sources))
        self.expose(Exposure("admin-client", host, self.public, file, ("/_matrix/client", "/_matrix/media"), sources))
