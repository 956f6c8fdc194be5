"""HAProxy: the one way in to Synapse, which sends each request to the worker that serves it."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Host, Pods, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe
from kit.quantities import Resources, mib
from main_instance.haproxy.alerts import ALERTS
from main_instance.haproxy.configuration import TOKENS_MEMORY, HAProxySpec, Ports, configuration
from main_instance.haproxy.size import HAProxySize

NAME = "haproxy"
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
    size: HAProxySize
    backends: tuple[Endpoint, ...]
    server_name: Host | None = None
    administration: Administration | None = None
    bridges: tuple[Pods, ...] = ()
    """The pods of application services, which are answered where `routing` says."""


def _resources(spec: ProxySpec) -> Resources:
    size, known = spec.size.resources, TOKENS_MEMORY if spec.routing.whose else mib(0)
    # Requests are for what is there when nothing happens: the table is full only when very many people come.
    return Resources(size.cpu, size.memory, size.memory_limit + known)


@frozen
class Entrances:
    """Where the proxies of a place answer: known before they are, since they have to know some of those who call them.

    `public`: what clients and other servers may ask. `internal`: Synapse with its administration, for the platform's own services.
    """

    public: Endpoint
    internal: Endpoint


def entrances(installation: Installation, place: Place) -> Entrances:
    """The entrances of a place."""
    name, ports = f"{NAME}{place.suffix}", Ports()
    pods = Pods(name, place.namespace, (("app.kubernetes.io/name", name),))
    host = installation.facts.service_host(name, place.namespace)
    public, internal = Port("public", ports.public), Port("internal", ports.internal)
    return Entrances(Endpoint(pods, host, public.number, public), Endpoint(pods, host, internal.number, internal))


class HAProxy(Component):
    """Two or more equal proxies: each knows every instance that may ever be, so all of them agree on who serves whom."""

    directory = "03-haproxy"
    noticed = "nothing: a new one is ready before an old one goes, and what an old one has begun it ends"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: ProxySpec) -> None:
        super().__init__(installation, NAME, place)
        ports, found = spec.routing.ports, entrances(installation, place)
        self.public, self.internal = found.public, found.internal
        operations = Port("metrics", ports.operations)
        bridges = (Port("bridges", ports.bridges),) if spec.routing.bridges else ()
        texts = configuration(spec.routing)
        files = self.config(self.name, texts)
        container = Container(
            name="haproxy",
            image=image("haproxy"),
            command=("haproxy",),
            args=("-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"),
            ports=(self.public.target, self.internal.target, *bridges, operations),
            mounts=(Mount(files, "/etc/haproxy"),),
            startup=Probe.http("/live", "metrics", period_seconds=1, failures=30),
            readiness=Probe.http("/ready", "metrics", period_seconds=2, failures=1),
            liveness=Probe.http("/live", "metrics", period_seconds=PROBE_PERIOD),
            resources=_resources(spec),
        )
        pod = PodSpec(containers=(container,), grace_seconds=spec.routing.termination_grace_seconds)
        proxies = self.deployment("deployment.yaml", self.name, pod, part=self.name, replicas=spec.size.replicas)
        listening = {"public": ports.public, "internal": ports.internal, "metrics": ports.operations}
        proxy = self.service("service.yaml", self.name, proxies, listening | {port.name: port.number for port in bridges})
        self.connect(self.pods, *spec.backends)
        for pods in spec.bridges:
            self.connect(pods, proxy.endpoint("bridges"))
        self.offers_metrics(self.pods, operations, series=_series(texts["haproxy.cfg"]))
        self.alerts(*ALERTS)
        if spec.server_name and spec.routing.well_known:
            self.expose("well-known", spec.server_name, self.public, spec.routing.well_known.folders)
        if spec.administration:
            self._publish_administration(spec.administration)

    def _publish_administration(self, administration: Administration) -> None:
        """The admin API, and of the client API what its tools need under the same host: to log in, and to show and send media."""
        host, sources = administration.host, administration.allowed_sources
        self.expose("admin", host, self.internal, ("/_synapse/admin",), sources)
        self.expose("admin-client", host, self.public, ("/_matrix/client", "/_matrix/media"), sources)


def _series(settings: str) -> int:
    """Of metrics: so many of each server, and at most so many of each frontend and backend, as HAProxy 3.2 tells them."""
    words = [line.split()[0] for line in settings.splitlines() if line.strip()]
    return 60 * words.count("server") + 100 * sum(map(words.count, ("frontend", "backend", "listen")))
