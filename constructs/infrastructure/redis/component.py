"""Redis Sentinel: servers that elect their primary, and the proxy that follows it for clients that do not speak Sentinel."""

from infrastructure.redis.alerts import ALERTS
from infrastructure.redis.configuration import RedisSpec, members, proxy_files, server_files
from infrastructure.redis.proxy import proxy
from infrastructure.redis.size import RedisSize
from kit.component import Component, Priority, Workload
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.place import Place
from kit.pods import Claim, ConfigMap, Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Bytes, Resources, gib, mib, millicores
from kit.secrets import Change, Composed, RandomText, Recipe, SecretSpec, Shared

SERVER = Port("redis", 6379)
SENTINEL = Port("sentinel", 26379)
EXPORTER = Port("metrics", 9121)
NEW_PASSWORD = Change(
    "Redis, its proxy and their clients refuse each other until all have the new one.",
    "Restart `redis`, `redis-proxy` and Synapse, with calls also LiveKit and lk-jwt-service, together: users notice.",
)
_SERVER_URL, _SENTINEL_URL = f"redis://localhost:{SERVER.number}", f"redis://localhost:{SENTINEL.number}"
_EXPORTER_PASSWORDS = f'{{{{"{_SERVER_URL}":"{{password}}","{_SENTINEL_URL}":"{{password}}"}}}}'
"""The file of redis_exporter: the password of each address that it asks."""
_FILES = "/etc/redis"


class RedisSentinel(Component):
    """Servers with a Sentinel each.

    Every pod has a Service of its own, so that its name resolves also while the pod is away: Sentinel gives up a failover when the
    old primary's name is gone.
    """

    sized_by_memory = "its settings follow from its memory; write a profile of your own, one more file in overlays/, and remove this"
    directory = "02-redis"
    noticed = "messages arrive a few seconds late, once, when the primary's turn comes"
    priority = Priority.DATA

    def __init__(self, installation: Installation, place: Place, size: RedisSize, *, measured: bool) -> None:
        """`measured`: whether an exporter runs beside each server, which has no metrics in Prometheus's format of its own."""
        super().__init__(installation, "redis", place)
        facts = installation.facts
        self._measured = measured
        self.spec = RedisSpec(members(self.name, size.servers, lambda pod: facts.service_host(pod, self.namespace)), memory=size.memory)
        self.password = self.secret(SecretSpec(self.name, self.namespace, {"password": RandomText(48)}), {"password": NEW_PASSWORD})
        servers = self._servers(size)
        for member in self.spec.members:
            ports = {"redis": member.port, "sentinel": member.sentinel_port}
            self.service("sentinel-service.yaml", member.name, servers, ports, part="server", publish_not_ready=True, pod_name=member.name)
        sentinels = self.service(
            "sentinel-service.yaml",
            f"{self.name}-sentinel",
            servers,
            {"redis": 6379, "sentinel": 26379},
            headless=True,
            publish_not_ready=True,
        )
        self.servers, self.sentinels = sentinels.endpoint("redis"), sentinels.endpoint("sentinel")
        self.primary = self._proxy()
        self.connect(servers.pods, self.servers, self.sentinels)
        self.keeps(
            "what Synapse's processes tell each other, and which calls there are",
            f"StatefulSet {self.name}",
            "Not needed: Synapse asks PostgreSQL; calls that go on may have to be begun anew.",
        )

    def _servers(self, size: RedisSize) -> Workload:
        files = self.config(f"{self.name}-sentinel", server_files(self.spec))
        data = Claim("data", gib(2), self.installation.facts.storage_classes.default)
        server = self._valkey(
            "server",
            files,
            "start-server.sh",
            SERVER,
            data,
            Resources(millicores(50), Bytes(size.memory.count // 2), size.memory),
            pre_stop=("/bin/sh", f"{_FILES}/stop-server.sh"),
        )
        sentinel = self._valkey("sentinel", files, "start-sentinel.sh", SENTINEL, data, Resources(millicores(20), mib(16), mib(64)))
        exporter = (self._exporter(),) if self._measured else ()
        pod = PodSpec(containers=(server, sentinel, *exporter), grace_seconds=60, one_per_node=True)
        return self.stateful_set(
            "sentinel-statefulset.yaml",
            self.name,
            pod,
            part="server",
            replicas=size.servers,
            governing_service=f"{self.name}-sentinel",
            claims=(data,),
            tuning=self.tuned("sentinel-values.yaml", "replicas"),
        )

    def _exporter(self) -> Container:
        """One program asks both the server and the Sentinel of its pod."""
        pods, name = self.pods_of("server"), f"{self.name}-exporter"
        keys: dict[str, Recipe] = {"password": Shared(self.password.key("password")), "passwords.json": Composed(_EXPORTER_PASSWORDS)}
        self.secret(SecretSpec(name, self.namespace, keys))
        self.offers_metrics(pods, EXPORTER, "/scrape", series=500, parameters=(("target", _SERVER_URL),))
        self.offers_metrics(pods, EXPORTER, "/scrape", series=300, job=f"{self.name}-sentinel", parameters=(("target", _SENTINEL_URL),))
        self.alerts(*ALERTS)
        return Container(
            name="exporter",
            image=image("redis-exporter"),
            args=("-redis.addr=", "-redis.password-file=/secrets/exporter/passwords.json", f"-web.listen-address=:{EXPORTER.number}"),
            ports=(EXPORTER,),
            mounts=(Mount(SecretFiles(name, items=(("passwords.json", "passwords.json"),)), "/secrets/exporter"),),
            readiness=Probe.http("/health", "metrics"),
            liveness=Probe.http("/health", "metrics"),
            resources=Resources(millicores(10), mib(16), mib(64)),
        )

    def _valkey(
        self, name: str, files: ConfigMap, script: str, port: Port, data: Claim, resources: Resources, pre_stop: tuple[str, ...] = ()
    ) -> Container:
        def probe(what: str, period: int, failures: int) -> Probe:
            return Probe.command("/bin/sh", f"{_FILES}/check.sh", name, what, period_seconds=period, timeout_seconds=5, failures=failures)

        return Container(
            name=name,
            image=image("valkey"),
            command=("/bin/sh", f"{_FILES}/{script}"),
            ports=(port,),
            mounts=(
                Mount(files, _FILES),
                Mount(SecretFiles(self.password.name, items=(("password", "password"),)), "/secrets/redis"),
                Mount(data, "/data"),
                Mount(Scratch(f"run-{name}", mib(1), in_memory=True), "/run/redis"),
            ),
            env={"POD_NAME": PodField("metadata.name")},
            # A server waits for a majority of Sentinels before it starts: half an hour, not a crash loop on top of an outage.
            startup=probe("alive", 10, 180),
            readiness=probe("ready", 5, 3),
            liveness=probe("alive", 10, 6),
            pre_stop=pre_stop,
            resources=resources,
        )

    def _proxy(self) -> Endpoint:
        files = proxy_files(self.spec)
        placed = self.config(f"{self.name}-proxy", files, stored={name: f"proxy/{name}" for name in files})
        return proxy(self, "sentinel-service.yaml", self.spec.proxy, placed, "start-proxy.sh", self.password, self.servers, self.sentinels)
