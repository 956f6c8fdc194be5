"""The lawful-intercept instance's Synapse: one process that shows what main's database has, and writes nothing of it."""

from importlib import resources

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.place import Place
from kit.pods import Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import gib, mib
from kit.text import yaml_text
from li_instance.synapse.configuration import MAIN_PROCESS, li_config
from li_instance.synapse.size import SynapseLiSize
from main_instance.synapse import process
from main_instance.synapse.component import CHANGES, CLIENT, HEALTH, METRICS, SERIES, homeserver_secret, media_mounts
from main_instance.synapse.configuration import SHARED_SECRETS, HomeserverSpec, log_config
from main_instance.synapse.topology import Topology

_START = "/etc/synapse/start"


@frozen
class SynapseLiSpec:
    """`main`: who writes what on the main instance."""

    homeserver: HomeserverSpec
    main: Topology
    size: SynapseLiSize
    redis_secret: str


class SynapseLi(Component):
    """It begins where main is (services/li_sync/synapse_start.py), and is then told by li_sync what has come."""

    directory = "01-synapse"
    noticed = "users nothing; officers wait until it is back"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: SynapseLiSpec) -> None:
        super().__init__(installation, "synapse", place)
        homeserver = spec.homeserver
        self.secret(
            homeserver_secret(self.name, self.namespace, SHARED_SECRETS),
            {key: CHANGES[key] if key != "signing_key" else CHANGES["form_secret"] for key in SHARED_SECRETS},
        )
        files = self.config(
            f"{self.name}-homeserver",
            {"homeserver.yaml": yaml_text(li_config(homeserver, spec.main, spec.size.resources)), "log.yaml": yaml_text(log_config())},
            stored={"log.yaml": "log-config.yaml"},
        )
        program = (resources.files("services.li_sync") / "synapse_start.py").read_text()
        start = process.start_after(f"{_START}/synapse_start.py", MAIN_PROCESS)
        media, environment = media_mounts(homeserver.bucket)
        container = Container(
            name="synapse",
            image=image("synapse"),
            command=start.command,
            args=start.args,
            ports=(CLIENT, HEALTH, METRICS),
            mounts=(
                Mount(files, process.HOMESERVER_FOLDER),
                Mount(self.config(f"{self.name}-start", {"synapse_start.py": program}), _START),
                Mount(SecretFiles(self.name, items=tuple((key, key) for key in SHARED_SECRETS)), process.SECRETS_FOLDER),
                Mount(SecretFiles(spec.redis_secret, items=(("password", "password"),)), "/secrets/redis"),
                Mount(SecretFiles(homeserver.database.password_secret, items=(("pgpass", "pgpass"),)), "/secrets/database"),
                Mount(SecretFiles(homeserver.database.authority_secret, items=(("ca.crt", "ca.crt"),)), "/secrets/database-ca"),
                Mount(Scratch("media", gib(5)), process.MEDIA_CACHE),
                *media,
                Mount(Scratch("run", mib(1), in_memory=True), process.RUN_FOLDER),
                Mount(Scratch("tmp", gib(1)), "/tmp"),
            ),
            env={**process.ENVIRONMENT, **environment, "POD_NAME": PodField("metadata.name"), "PGAPPNAME": PodField("metadata.name")},
            # The first time it waits until all of main's database is copied: the kubelet has a day's patience.
            startup=Probe.http("/health", "health", period_seconds=10, failures=8640),
            readiness=Probe.http("/health", "health", period_seconds=2, timeout_seconds=5, failures=8),
            liveness=Probe.http("/health", "health", period_seconds=6, timeout_seconds=12, failures=8),
            resources=spec.size.resources,
        )
        pod = PodSpec(containers=(container,), grace_seconds=30)
        server = self.deployment("deployment.yaml", self.name, pod, part=self.name, replicas=1, one_at_a_time=True)
        service = self.service("service.yaml", self.name, server, {"http": CLIENT.number, "health": HEALTH.number})
        self.http, self.health = service.endpoint("http"), service.endpoint("health")
        self.connect(self.pods, homeserver.redis, homeserver.database.endpoint, homeserver.bucket.peer)
        self.offers_metrics(self.pods, METRICS, "/_synapse/metrics", series=SERIES)
