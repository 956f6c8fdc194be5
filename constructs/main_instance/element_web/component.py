"""Element Web: the client for the browser."""

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch
from kit.quantities import Resources, mib, millicores
from main_instance.element_web.configuration import FOLDER, PORT, ElementWebSpec, files

HTTP = Port("http", PORT)
REPLICAS = 2


class ElementWeb(Component):
    """Static files behind an nginx with a configuration of our own: the image's start scripts write into its root file system."""

    directory = "02-element-web"
    noticed = "nothing: a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: ElementWebSpec) -> None:
        super().__init__(installation, "element-web", place)
        config = self.config(self.name, files(spec))
        container = Container(
            name="nginx",
            image=image("element-web"),
            command=("nginx",),
            args=("-e", "stderr", "-c", f"{FOLDER}/nginx.conf"),
            ports=(HTTP,),
            mounts=(Mount(config, FOLDER), Mount(Scratch("tmp", mib(16)), "/tmp")),
            readiness=Probe.http("/health", "http", period_seconds=5),
            liveness=Probe.http("/health", "http"),
            # The ingress sends no new requests after this.
            pre_stop=("sleep", "5"),
            # Measured: nginx with two workers keeps some 10 MiB (proportional set size).
            resources=Resources(millicores(10), mib(24), mib(128)),
        )
        web = self.deployment("deployment.yaml", self.name, PodSpec(containers=(container,)), part=self.name, replicas=REPLICAS)
        self.http = self.service("service.yaml", self.name, web, {"http": PORT}).endpoint("http")
        if not spec.interception:
            self.expose("element", spec.host, self.http)
