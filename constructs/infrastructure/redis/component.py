"""Redis Sentinel: servers that elect their primary, and the proxy that follows it for clients that do not speak Sentinel."""

from attrs import frozen

from infrastructure.redis.configuration import RedisSpec, members, proxy_files, server_files
from kit.component import Component, Priority, Workload
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.pods import Claim, ConfigMap, Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Bytes, Resources, gib, mib, millicores
from kit.rendering import Tuning
from kit.secrets import RandomText, SecretSpec

SERVER = Port("redis", 6379)
SENTINEL = Port("sentinel", 26379)
SECRET = "redis"
_FILES = "/etc/redis"
_PROXY_FILES = "/etc/haproxy"


@frozen
class SentinelSpec:
    """`replicas` pods, each with a server of `memory` and a Sentinel, and `proxies` in front of them."""

    replicas: int
    memory: Bytes
    proxies: int = 2
    storage_class: str | None = None


class RedisSentinel(Component):
    """Servers with a Sentinel each.

    Every pod has a Service of its own, so that its name resolves also while the pod is away: Sentinel gives up a failover when the
    old primary's name is gone.
    """

    folder = "infrastructure/02-redis"
    priority = Priority.DATA

    def __init__(self, installation: Installation, namespace: str, spec: SentinelSpec) -> None:
        super().__init__(installation, "redis", namespace)
        facts = installation.facts
        self.spec = RedisSpec(members("redis", spec.replicas, lambda pod: facts.service_host(pod, namespace)), memory=spec.memory)
        self.password = self.secret(SecretSpec(SECRET, namespace, {"password": RandomText(48)}))
        servers = self._servers(spec)
        for member in self.spec.members:
            ports = {"redis": member.port, "sentinel": member.sentinel_port}
            self.service("sentinel-service.yaml", member.name, servers, ports, part="server", publish_not_ready=True, pod_name=member.name)
        sentinels = self.service(
            "sentinel-service.yaml", "redis-sentinel", servers, {"redis": 6379, "sentinel": 26379}, headless=True, publish_not_ready=True
        )
        self.servers, self.sentinels = sentinels.endpoint("redis"), sentinels.endpoint("sentinel")
        self.primary = self._proxy(spec)
        self.connect(servers.pods, self.servers, self.sentinels)

    def _servers(self, spec: SentinelSpec) -> Workload:
        files = self.config("redis-sentinel", {name: (f"redis/{name}", text) for name, text in server_files(self.spec).items()})
        data = Claim("data", gib(2), spec.storage_class)
        server = self._valkey(
            "server",
            files,
            "start-server.sh",
            SERVER,
            data,
            Resources(millicores(50), Bytes(spec.memory.count // 2), spec.memory),
            pre_stop=("/bin/sh", f"{_FILES}/stop-server.sh"),
        )
        sentinel = self._valkey("sentinel", files, "start-sentinel.sh", SENTINEL, data, Resources(millicores(20), mib(16), mib(64)))
        pod = PodSpec(containers=(server, sentinel), grace_seconds=60, one_per_node=True)
        return self.stateful_set(
            "sentinel-statefulset.yaml",
            "redis",
            pod,
            part="server",
            replicas=spec.replicas,
            governing_service="redis-sentinel",
            claims=(data,),
            tuning=Tuning("config/redis/sentinel-values.yaml", ("replicas",)),
        )

    def _valkey(
        self, name: str, files: ConfigMap, script: str, port: Port, data: Claim, resources: Resources, pre_stop: tuple[str, ...] = ()
    ) -> Container:
        def probe(what: str, period: int, failures: int) -> Probe:
            command = ("/bin/sh", f"{_FILES}/check.sh", name, what)
            return Probe(command=command, period_seconds=period, timeout_seconds=5, failures=failures)

        return Container(
            name=name,
            image=image("valkey"),
            command=("/bin/sh", f"{_FILES}/{script}"),
            ports=(port,),
            mounts=(
                Mount(files, _FILES),
                Mount(SecretFiles(SECRET, items=(("password", "password"),)), "/secrets/redis"),
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

    def _proxy(self, spec: SentinelSpec) -> Endpoint:
        files = self.config("redis-proxy", {name: (f"redis/proxy/{name}", text) for name, text in proxy_files(self.spec).items()})
        health = Port("metrics", self.spec.health_port)
        container = Container(
            name="haproxy",
            image=image("haproxy"),
            command=("/bin/sh", f"{_PROXY_FILES}/start-proxy.sh"),
            ports=(Port("redis", self.spec.proxy_port), health),
            mounts=(
                Mount(files, _PROXY_FILES),
                Mount(SecretFiles(SECRET, items=(("password", "password"),)), "/secrets/redis"),
            ),
            # Longer than a failover: the proxy holds new connections meanwhile, which it could not do if it were taken out.
            readiness=Probe(http=("/ready", "metrics"), period_seconds=5, failures=4),
            # Without a primary for ten minutes it starts anew, and looks the addresses of the pods up again.
            liveness=Probe(http=("/ready", "metrics"), period_seconds=60, failures=10),
            pre_stop=("sleep", "5"),
            resources=Resources(millicores(20), mib(48), mib(128)),
        )
        proxies = self.deployment(
            "proxy-deployment.yaml", "redis-proxy", PodSpec(containers=(container,), grace_seconds=15), part="proxy", replicas=spec.proxies
        )
        service = self.service("sentinel-service.yaml", "redis-primary", proxies, {"redis": self.spec.proxy_port}, part="proxy")
        self.connect(proxies.pods, self.servers, self.sentinels)
        return service.endpoint("redis")
