"""Element Web: the client for the browser."""

from attrs import field, frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Exposure, Host, Port
from kit.pods import Container, Mount, PodSpec, Probe, Scratch
from kit.quantities import Resources, mib, millicores
from main_instance.element_web.configuration import FOLDER, PORT, ClientSpec, files

HTTP = Port("http", PORT)


@frozen
class ElementWebSpec:
    """Element Web as it is deployed at `host`. Its replicas only hand out files."""

    client: ClientSpec
    host: Host
    replicas: int = 2
    resources: Resources = field(factory=lambda: Resources(millicores(10), mib(32), mib(128)))


class ElementWeb(Component):
    """Static files behind an nginx with a configuration of our own: the image's start scripts write into its root file system."""

    folder = "main-instance/02-element-web"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: ElementWebSpec) -> None:
        super().__init__(installation, "element-web", namespace)
        config = self.config("element-web", {name: (f"element-web/{name}", text) for name, text in files(spec.client).items()})
        container = Container(
            name="nginx",
            image=image("element-web"),
            command=("nginx",),
            args=("-e", "stderr", "-c", f"{FOLDER}/nginx.conf"),
            ports=(HTTP,),
            mounts=(Mount(config, FOLDER), Mount(Scratch("tmp", mib(16)), "/tmp")),
            readiness=Probe(http=("/health", "http"), period_seconds=5),
            liveness=Probe(http=("/health", "http")),
            # The ingress sends no new requests after this.
            pre_stop=("sleep", "5"),
            resources=spec.resources,
        )
        web = self.deployment(
            "deployment.yaml", "element-web", PodSpec(containers=(container,)), part="element-web", replicas=spec.replicas
        )
        self.http = self.service("service.yaml", "element-web", web, {"http": PORT}).endpoint("http")
        self.expose(Exposure("element", spec.host, self.http, self.path("ingress.yaml")))
