"""Synapse: the main process and every worker type, each a StatefulSet whose pods are named like the workers they are."""

from collections.abc import Mapping

from attrs import field, frozen

from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql import Database
from kit.component import Component, Priority, Workload
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.pods import ConfigMap, Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Bytes, Resources, gib, mib, millicores
from kit.secrets import KeyRef, RandomText, SecretSpec, Shared, SynapseSigningKey
from kit.text import yaml_text
from main_instance.synapse import process
from main_instance.synapse.configuration import (
    CLIENT_PORT,
    HEALTH_PORT,
    MAIN_SECRETS,
    METRICS_PORT,
    REPLICATION_PORT,
    SHARED_SECRETS,
    HomeserverSpec,
    homeserver_config,
    log_config,
    main_config,
    shard_config,
    worker_config,
)
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import Listener, Load, Scaling, WorkerType
from main_instance.synapse.workers import MAIN, worker_types

CLIENT = Port("http", CLIENT_PORT)
REPLICATION = Port("replication", REPLICATION_PORT)
HEALTH = Port("health", HEALTH_PORT)
METRICS = Port("metrics", METRICS_PORT)

SERVICE = "synapse"
"""The headless Service that gives every Synapse pod its name: `receipts-0.synapse.<namespace>.svc.<domain>`."""
SECRET = "synapse"
TURN = "turn"
"""The Secret that Synapse shares with the TURN server."""


@frozen
class Authentication:
    """The Matrix Authentication Service as Synapse calls it: `secret` is the Secret, and `key` its key, that both of them know."""

    endpoint: Endpoint
    secret: str
    key: str


@frozen
class SynapseSpec:
    """One homeserver. `counts`: worker type name to instances; `ceilings`: to how many an elastic type may grow (absent: no autoscaler).

    `sizes`: what a process of each load class gets; `main_size`: the main process. `media_cache`: disk for each media worker's cache.
    """

    homeserver: HomeserverSpec
    counts: Mapping[str, int]
    ceilings: Mapping[str, int]
    sizes: Mapping[Load, Resources]
    main_size: Resources
    database: Database
    redis_endpoint: Endpoint
    redis_secret: str
    media: Bucket
    authentication: Authentication | None = None
    """With it, `homeserver` names its endpoint and `process.AUTHENTICATION_SECRET`."""
    turn_secret: KeyRef | None = None
    """What Synapse shares with the TURN server. With it, `homeserver` names `process.TURN_SECRET`."""
    media_cache: Bytes = field(default=gib(10))


class Synapse(Component):
    """The homeserver. A worker's configuration, workload and place in the shard map all come from its record in `workers.py`."""

    folder = "main-instance/01-synapse"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: SynapseSpec) -> None:
        super().__init__(installation, "synapse", namespace)
        self._spec = spec
        types = worker_types(authentication_service=spec.authentication is not None)
        self.topology = topology(spec.counts, types)
        self.secret(_secret(namespace))
        if spec.turn_secret:
            self.secret(SecretSpec(TURN, namespace, {"shared_secret": Shared(spec.turn_secret)}))
        self._homeserver = self.config(
            "synapse-homeserver",
            {
                "homeserver.yaml": ("synapse/homeserver.yaml", yaml_text(homeserver_config(spec.homeserver))),
                "log.yaml": ("synapse/log-config.yaml", yaml_text(log_config())),
            },
        )
        self._shards = self.config(
            "synapse-shards", {"shards.yaml": ("synapse/shards.yaml", yaml_text(shard_config(self.topology, self.address)))}
        )
        main = self._main()
        for kind in types:
            self._worker(kind)
        # Names resolve before a pod is ready: the proxy and the other processes find out by themselves who answers.
        service = self.service("services.yaml", SERVICE, main, {"http": CLIENT_PORT}, headless=True, publish_not_ready=True, pods=self.pods)
        self.http = service.endpoint("http")
        replication = Endpoint(self.pods, service.host, REPLICATION_PORT, REPLICATION)
        self.health = Endpoint(self.pods, service.host, HEALTH_PORT, HEALTH)
        self.connect(self.pods, replication, spec.redis_endpoint, spec.database.endpoint)
        self.connect(self.pods_of("media-repository"), spec.media.peer)
        if spec.authentication:
            self.connect(self.pods, spec.authentication.endpoint)

    def address(self, instance: str) -> str:
        """The host name of a process: `main`, or the name of a worker instance."""
        pod = "synapse-0" if instance == MAIN else instance
        return self.installation.facts.service_host(f"{pod}.{SERVICE}", self.namespace)

    def _main(self) -> Workload:
        files = self.config("synapse-main", {"kind.yaml": ("synapse/main.yaml", yaml_text(main_config(self._spec.homeserver)))})
        # A new version migrates the database before it listens: ten minutes, not a restart in the middle.
        startup = Probe(http=("/health", "health"), period_seconds=5, failures=120)
        container = self._container(self._spec.main_size, files, startup, (CLIENT, REPLICATION, HEALTH, METRICS), worker=False)
        pod = PodSpec(containers=(container,), grace_seconds=60)
        return self.stateful_set("main-deployment.yaml", "synapse", pod, part="main", replicas=1, governing_service=SERVICE)

    def _worker(self, kind: WorkerType) -> None:
        path = f"synapse/workers/{kind.name}.yaml"
        config = worker_config(kind, self._spec.homeserver)
        files = self.config(f"synapse-{kind.name}", {"kind.yaml": (path, yaml_text(config))})
        listening = {listener["port"] for listener in config["worker_listeners"]}
        ports = tuple(port for port in (REPLICATION, CLIENT, HEALTH, METRICS) if port.number in listening)
        startup = Probe(http=("/health", "health"), period_seconds=2, failures=60)
        container = self._container(self._spec.sizes[kind.load], files, startup, ports, worker=True, kind=kind)
        count, ceiling = self._spec.counts[kind.name], self._spec.ceilings.get(kind.name)
        elastic = kind.scaling is Scaling.ELASTIC and ceiling is not None
        self.stateful_set(
            f"workers/{kind.name}.yaml",
            kind.name,
            PodSpec(containers=(container,), init=self._beside(kind), grace_seconds=kind.termination_grace_seconds),
            part=kind.name,
            replicas=None if elastic else count,
            autoscaled=(count, ceiling) if elastic and ceiling else None,
            governing_service=SERVICE,
        )

    def _beside(self, kind: WorkerType) -> tuple[Container, ...]:
        """What runs beside the workers of a type."""
        if Listener.MEDIA not in kind.listeners:
            return ()
        # A tenth is left for what arrives between two looks.
        start = process.keep_cache_small(Bytes(self._spec.media_cache.count * 9 // 10))
        return (
            Container(
                name="media-cache",
                image=image("synapse"),
                command=start.command,
                args=start.args,
                mounts=(Mount(self._media_cache, process.MEDIA_CACHE),),
                resources=Resources(millicores(10), mib(16), mib(128)),
                readiness=Probe(command=process.CACHE_KEEPER_LIVES, period_seconds=60),
                liveness=Probe(command=process.CACHE_KEEPER_LIVES, period_seconds=60),
                sidecar=True,
            ),
        )

    @property
    def _media_cache(self) -> Scratch:
        return Scratch("media", self._spec.media_cache)

    def _container(
        self,
        size: Resources,
        files: ConfigMap,
        startup: Probe,
        ports: tuple[Port, ...],
        *,
        worker: bool,
        kind: WorkerType | None = None,
    ) -> Container:
        spec, start = self._spec, process.start(worker=worker)
        secrets = SHARED_SECRETS if worker else (*SHARED_SECRETS, *MAIN_SECRETS)
        mounts = [
            Mount(self._homeserver, process.HOMESERVER_FOLDER),
            Mount(self._shards, process.SHARDS_FOLDER),
            Mount(files, process.KIND_FOLDER),
            Mount(SecretFiles(SECRET, items=tuple((key, key) for key in secrets)), process.SECRETS_FOLDER),
            Mount(SecretFiles(spec.redis_secret, items=(("password", "password"),)), "/secrets/redis"),
            Mount(SecretFiles(spec.database.password_secret, items=(("pgpass", "pgpass"),)), "/secrets/database"),
            Mount(SecretFiles(spec.database.authority_secret, items=(("ca.crt", "ca.crt"),)), "/secrets/database-ca"),
            Mount(Scratch("run", mib(1), in_memory=True), process.RUN_FOLDER),
            Mount(Scratch("tmp", gib(1)), "/tmp"),
        ]
        if spec.turn_secret:
            mounts.append(Mount(SecretFiles(TURN, items=(("shared_secret", "shared_secret"),)), "/secrets/turn"))
        if spec.authentication:
            shared = SecretFiles(spec.authentication.secret, items=((spec.authentication.key, "secret"),))
            mounts.append(Mount(shared, process.AUTHENTICATION_FOLDER))
        env: dict[str, str | PodField] = {
            **process.ENVIRONMENT,
            "POD_NAME": PodField("metadata.name"),
            "PGAPPNAME": PodField("metadata.name"),
        }
        if kind and Listener.MEDIA in kind.listeners:
            keys = spec.media.credentials
            mounts += [
                Mount(self._media_cache, process.MEDIA_CACHE),
                Mount(SecretFiles(keys.secret, items=((keys.shared_file, "credentials"),)), "/secrets/media"),
            ]
            env["AWS_SHARED_CREDENTIALS_FILE"] = process.MEDIA_CREDENTIALS
            if spec.media.authority:
                authority = spec.media.authority
                mounts.append(Mount(SecretFiles(authority.secret, items=((authority.key, "ca.crt"),)), "/secrets/media-ca"))
                env["AWS_CA_BUNDLE"] = "/secrets/media-ca/ca.crt"
        return Container(
            name="synapse",
            image=image("synapse"),
            command=start.command,
            args=start.args,
            ports=ports,
            mounts=tuple(mounts),
            env=env,
            startup=startup,
            readiness=Probe(http=("/health", "health"), period_seconds=2, timeout_seconds=5, failures=8),
            liveness=Probe(http=("/health", "health"), period_seconds=6, timeout_seconds=12, failures=8),
            resources=size,
        )


def _secret(namespace: str) -> SecretSpec:
    """Secrets of the homeserver. They must not change: sessions and signatures hang on them."""
    keys = {name: SynapseSigningKey() if name == "signing_key" else RandomText(64) for name in (*SHARED_SECRETS, *MAIN_SECRETS)}
    return SecretSpec(SECRET, namespace, keys)
