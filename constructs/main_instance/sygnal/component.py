"""Sygnal: passes notifications on to the push services of Apple and Google, for apps that the site publishes itself."""

from attrs import field, frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import External, Pods, Port
from kit.pods import Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Given, SecretSpec
from kit.text import yaml_text
from main_instance.sygnal.configuration import CONFIG_FOLDER, METRICS_PORT, PORT, SECRETS_FOLDER, PushSpec, sygnal_config

HTTP = Port("http", PORT)
METRICS = Port("metrics", METRICS_PORT)
SECRET = "push-credentials"


@frozen
class SygnalSpec:
    """Sygnal as it is deployed. `pushers`: the Synapse processes that call it."""

    push: PushSpec
    pushers: Pods
    replicas: int = 2
    resources: Resources = field(factory=lambda: Resources(millicores(20), mib(96), mib(256)))


class Sygnal(Component):
    """A push gateway without state: only Synapse may call it, and it calls Apple and Google alone.

    Apps set up their pushers with `url`.
    """

    folder = "main-instance/07-sygnal"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: SygnalSpec) -> None:
        super().__init__(installation, "sygnal", namespace)
        given = spec.push.key_files
        self.secret(SecretSpec(SECRET, namespace, {name: Given(description) for name, description in given.items()}))
        config = self.config("sygnal", {"sygnal.yaml": ("sygnal/sygnal.yaml", yaml_text(sygnal_config(spec.push)))})
        container = Container(
            name="sygnal",
            image=image("sygnal"),
            command=("python", "-m", "sygnal.sygnal"),
            env={"SYGNAL_CONF": f"{CONFIG_FOLDER}/sygnal.yaml"},
            ports=(HTTP, METRICS),
            mounts=(
                Mount(config, CONFIG_FOLDER),
                Mount(SecretFiles(SECRET, items=tuple((name, name) for name in given)), SECRETS_FOLDER),
                # Twisted puts large requests there.
                Mount(Scratch("tmp", mib(16)), "/tmp"),
            ),
            startup=Probe(http=("/health", "http"), period_seconds=2, failures=60),
            readiness=Probe(http=("/health", "http"), period_seconds=5),
            liveness=Probe(http=("/health", "http"), timeout_seconds=5),
            # It ends at once, and Synapse sends again what was under way: let it be left alone first.
            pre_stop=("sleep", "5"),
            resources=spec.resources,
        )
        gateway = self.deployment("deployment.yaml", "sygnal", PodSpec(containers=(container,)), part="sygnal", replicas=spec.replicas)
        service = self.service("service.yaml", "sygnal", gateway, {"http": PORT, "metrics": METRICS_PORT})
        self.http = service.endpoint("http")
        self.connect(spec.pushers, self.http)
        # Apple takes notifications on 2197 as well, but Sygnal sends them to 443 (aioapns, connection.py).
        self.connect(self.pods, External("push-services", (443,), public=True))

    @property
    def url(self) -> str:
        """What apps give as `data.url` when they set a pusher: Synapse accepts this path alone (synapse/push/httppusher.py)."""
        return f"http://{self.http.address}/_matrix/push/v1/notify"
