"""Sygnal: passes notifications on to the push services of Apple and Google, for apps that the site publishes itself."""

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import External, Pods, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Given, SecretSpec
from kit.text import yaml_text
from main_instance.sygnal.alerts import ALERTS
from main_instance.sygnal.configuration import CONFIG_FOLDER, METRICS_PORT, PORT, SECRETS_FOLDER, key_files, sygnal_config
from main_instance.sygnal.options import PUSH_SERVICES, PushOptions

HTTP = Port("http", PORT)
METRICS = Port("metrics", METRICS_PORT)
SECRET = "push-credentials"
REPLICAS = 2
NEW_KEY = Change(
    "As Apple and Google have it: both let two keys be valid at a time.",
    "Restart `sygnal`, then take the old key back at Apple or Google.",
)


class Sygnal(Component):
    """A push gateway without state: only Synapse may call it, and it calls Apple and Google alone.

    Apps set up their pushers with `url`.
    """

    directory = "07-sygnal"
    noticed = "nothing: a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, options: PushOptions, pushers: Pods) -> None:
        """`pushers`: the Synapse processes that call it. Raises ValueError for apps that Sygnal could not serve."""
        super().__init__(installation, "sygnal", place)
        given = key_files(options)
        keys = SecretSpec(SECRET, self.namespace, {name: Given(description) for name, description in given.items()})
        self.secret(keys, dict.fromkeys(given, NEW_KEY))
        config = self.config(self.name, {"sygnal.yaml": yaml_text(sygnal_config(options))})
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
            startup=Probe.http("/health", "http", period_seconds=2, failures=60),
            readiness=Probe.http("/health", "http", period_seconds=5),
            liveness=Probe.http("/health", "http", timeout_seconds=5),
            # It ends at once, and Synapse sends again what was under way: let it be left alone first.
            pre_stop=("sleep", "5"),
            resources=Resources(millicores(20), mib(96), mib(256)),
        )
        gateway = self.deployment("deployment.yaml", self.name, PodSpec(containers=(container,)), part=self.name, replicas=REPLICAS)
        service = self.service("service.yaml", self.name, gateway, {"http": PORT, "metrics": METRICS_PORT})
        self.http = service.endpoint("http")
        self.connect(pushers, self.http)
        self.offers_metrics(self.pods, METRICS, series=200)
        self.alerts(*ALERTS)
        # Apple takes notifications on 2197 as well, but Sygnal sends them to 443 (aioapns, connection.py).
        self.connect(self.pods, External(PUSH_SERVICES, (443,), public=True))

    @property
    def url(self) -> str:
        """What apps give as `data.url` when they set a pusher: Synapse accepts this path alone (synapse/push/httppusher.py)."""
        return f"http://{self.http.address}/_matrix/push/v1/notify"
