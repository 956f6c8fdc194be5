"""What keeps the lawful-intercept instance current: li_sync with a broker of its own, and the page that says how it is."""

from typing import Any

from cdk8s_plus_34 import k8s

from infrastructure.postgresql.component import Database
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, KeptVolume, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, gib, mib, millicores
from kit.secrets import Change, KeyRef, SecretSpec, Shared
from kit.text import yaml_text
from li_instance.redis.component import server
from li_instance.sync_system.alerts import alerts
from li_instance.sync_system.configuration import FOLLOW_METRICS_PORT, STATE, SyncSpec, intervals, settings

STATUS, FOLLOW = Port("http", 8080), Port("follow", FOLLOW_METRICS_PORT)
BROKER = "li-sync-broker"
"""Tasks that are lost with it come again with the schedule."""
MAIN_ROLES = "li-sync-main"
"""The Secret with the passwords of the roles on main's database."""
_SETTINGS = "/etc/li-sync/settings.yaml"
_ALIVE = Probe.command("/bin/sh", "-c", "find /tmp/li-sync-alive -mmin -2 | grep -q .", period_seconds=30)
"""Whether the worker or the beat has gone on within two minutes (services/li_sync/alive.py)."""
NEW_BROKER_PASSWORD = Change("Tasks wait until both ends have the new one.", "Restart `li-sync-broker`, `li-sync` and `li-sync-beat`.")


class SyncSystem(Component):
    """Workers, feeder and status page share a volume with the checkpoints; one beat says what is due."""

    directory = "04-sync-system"
    noticed = "users nothing; officers see what is new a little later"
    config_directory = "sync-system"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: SyncSpec) -> None:
        super().__init__(installation, "li-sync", place)
        self._spec = spec
        main = {key: Shared(KeyRef(of.namespace, of.password_secret, "password")) for key, of in self._main_roles.items()}
        self.secret(SecretSpec(MAIN_ROLES, self.namespace, main))
        broker = server(self, BROKER, "broker.yaml", "broker", NEW_BROKER_PASSWORD).endpoint
        text = yaml_text(settings(spec, broker, self.namespace))
        self._settings = self.config(self.name, {"settings.yaml": text}, stored={"settings.yaml": "celery-config.yaml"})
        checkpoints = self.kept_volume("checkpoint-pvc.yaml", "checkpoints", gib(1))
        self.keeps(
            "how far each task of the synchronisation is",
            f"PersistentVolumeClaim {checkpoints.name}",
            "Not needed: every task finds out what is missing.",
        )
        self._may_restart(spec.workload)
        self._workers(checkpoints)
        self._beat()
        databases = (spec.publisher.endpoint, spec.owner.endpoint)
        workers = self.pods_of("worker")
        self.connect(workers, broker, *databases, spec.source.peer, spec.mirror.peer, spec.redis, spec.health)
        self.connect(self.pods_of("beat"), broker)
        self.calls_api_server(workers)

    @property
    def _main_roles(self) -> dict[str, Database]:
        return {"publisher": self._spec.publisher, "replication": self._spec.replication}

    def _workers(self, checkpoints: KeptVolume) -> None:
        state = Mount(checkpoints, STATE)
        page, follows = Probe.http("/healthz", "http", timeout_seconds=5), Probe.http("/metrics", "follow", timeout_seconds=5)
        containers = (
            self._container("worker", ("worker",), Resources(millicores(50), mib(144), gib(1)), state, probe=_ALIVE),
            self._container("follow", ("follow",), Resources(millicores(20), mib(48), mib(256)), state, ports=(FOLLOW,), probe=follows),
            self._container("status", ("serve",), Resources(millicores(10), mib(88), mib(256)), state, ports=(STATUS,), probe=page),
        )
        pod = PodSpec(containers=containers, grace_seconds=60, mounts_token=True)
        # Its volume can be on one node alone, and one feeder is enough.
        workers = self.deployment("celery-deployment.yaml", self.name, pod, part="worker", replicas=1, one_at_a_time=True)
        service = self.service("service.yaml", self.name, workers, {"http": STATUS.number})
        self.status = service.endpoint("http")
        self.offers_metrics(workers.pods, STATUS, series=200)
        self.offers_metrics(workers.pods, FOLLOW, series=100, job=f"{self.name}-follow")
        self.alerts(*alerts(intervals(self._spec.options)))

    def _beat(self) -> None:
        beat = self._container(
            "beat", ("beat",), Resources(millicores(10), mib(64), mib(256)), Mount(Scratch("state", mib(16)), STATE), probe=_ALIVE
        )
        self.deployment("celery-beat.yaml", f"{self.name}-beat", PodSpec(containers=(beat,)), part="beat", replicas=1, one_at_a_time=True)

    def _container(self, name: str, words: tuple[str, ...], resources: Resources, state: Mount, **more: Any) -> Container:
        probe = more.pop("probe")
        secrets = self._secrets if name != "beat" else [self._file(BROKER, "broker")]
        return Container(
            name=name,
            image=image("li-sync"),
            command=("python", "-m", "services.li_sync", *words, "--settings", _SETTINGS),
            mounts=(Mount(self._settings, "/etc/li-sync"), state, *secrets, Mount(Scratch("tmp", mib(256)), "/tmp")),
            readiness=probe,
            liveness=probe,
            resources=resources,
            **more,
        )

    @property
    def _secrets(self) -> list[Mount]:
        spec, own = self._spec, self._spec.owner
        mounts = [Mount(SecretFiles(MAIN_ROLES, items=tuple((key, key) for key in self._main_roles)), "/secrets/main")]
        mounts += [self._file(BROKER, "broker"), self._file(spec.redis_secret, "redis")]
        mounts += [self._file(own.password_secret, "database"), self._file(spec.follower.password_secret, "follower")]
        mounts.append(Mount(SecretFiles(own.authority_secret, items=(("ca.crt", "ca.crt"),)), "/secrets/database-ca"))
        for name, bucket in (("source", spec.source), ("mirror", spec.mirror)):
            keys = bucket.credentials
            items = ((keys.access_key, "access-key"), (keys.secret_key, "secret-key"))
            mounts.append(Mount(SecretFiles(keys.secret, items=items), f"/secrets/{name}"))
            if bucket.authority:
                mounts.append(Mount(SecretFiles(bucket.authority.secret, items=((bucket.authority.key, "ca.crt"),)), f"/secrets/{name}-ca"))
        return mounts

    def _file(self, secret: str, folder: str) -> Mount:
        return Mount(SecretFiles(secret, items=(("password", "password"),)), f"/secrets/{folder}")

    def _may_restart(self, workload: str) -> None:
        """What `kubectl rollout restart` and `rollout status` of one Deployment need."""
        rule = k8s.PolicyRule(api_groups=["apps"], resources=["deployments"], resource_names=[workload], verbs=["get", "patch"])
        self.add("rbac.yaml", k8s.KubeRole, f"{self.name}-restart", rules=[rule])
        self.add(
            "rbac.yaml",
            k8s.KubeRoleBinding,
            f"{self.name}-restart",
            role_ref=k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=f"{self.name}-restart"),
            subjects=[k8s.Subject(kind="ServiceAccount", name=self.name, namespace=self.namespace)],
        )
