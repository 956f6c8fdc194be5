"""Ketesa: accounts and rooms of a homeserver, for administrators in a browser."""

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch
from kit.quantities import Resources, mib, millicores
from main_instance.synapse_admin.configuration import SynapseAdminSpec, client_config

HTTP = Port("http", 8080)


class SynapseAdmin(Component):
    """Static files behind the image's own web server (static-web-server)."""

    directory = "12-synapse-admin"
    noticed = "users nothing; a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: SynapseAdminSpec) -> None:
        super().__init__(installation, "synapse-admin", place)
        config = self.config(self.name, {"config.json": client_config(spec)})
        container = Container(
            name="ketesa",
            image=image("ketesa"),
            ports=(HTTP,),
            env={"SERVER_HOST": "0.0.0.0"},
            mounts=(Mount(config, "/var/public/config.json", file="config.json"), Mount(Scratch("tmp", mib(16)), "/tmp")),
            readiness=Probe.http("/health", "http", period_seconds=5),
            liveness=Probe.http("/health", "http"),
            resources=Resources(millicores(10), mib(16), mib(64)),
        )
        web = self.deployment("deployment.yaml", self.name, PodSpec(containers=(container,)), part=self.name, replicas=1)
        self.http = self.service("service.yaml", self.name, web, {"http": HTTP.number}).endpoint("http")
