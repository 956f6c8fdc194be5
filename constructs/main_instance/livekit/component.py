"""LiveKit: the media server of group calls."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Host, Port
from kit.place import Place
from kit.pods import Container, Mount, PodField, PodSpec, Probe, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import KeyRef, SecretSpec, Shared
from main_instance.calls.nodes import CALLS_TAINT
from main_instance.livekit.alerts import ALERTS
from main_instance.livekit.configuration import LiveKitSpec, configuration
from main_instance.livekit.size import LiveKitSize

NODES = (("matrix-platform/livekit", "true"),)
"""The label of the nodes that run it: those that clients reach by UDP."""
SECRET = "livekit-redis"
_FILES = "/etc/livekit"
_GRACE_SECONDS = 18_000
"""How long calls may go on over a pod that is being stopped: LiveKit waits for the last participant (livekit-helm has as much)."""


@frozen
class MediaServerSpec:
    """LiveKit as it is deployed.

    `api_secret`: the Secret with its key file. `turn_secret`: what it shares with the TURN server. `webhook`: who is told of calls.
    """

    settings: LiveKitSpec
    size: LiveKitSize
    host: Host
    api_secret: str
    turn_secret: KeyRef
    redis_password: KeyRef
    webhook: Endpoint


class LiveKit(Component):
    """One on a node, in the node's network: each call is on one of them, and its media go straight to that node's address.

    Signalling may come to any of them by the ingress; they find each other by Redis.
    """

    directory = "04-livekit"
    noticed = "nothing: a pod goes when its last participant has left, or after five hours"
    priority = Priority.MESSAGING
    host_network = True

    def __init__(self, installation: Installation, place: Place, spec: MediaServerSpec) -> None:
        super().__init__(installation, "livekit", place)
        settings, ports = spec.settings, spec.settings.ports
        self.secret(SecretSpec(SECRET, self.namespace, {"password": Shared(spec.redis_password)}))
        files = self.config(self.name, configuration(settings))
        balancer = settings.calls.load_balancer
        listening = [Port("http", ports.http), Port("media", ports.media), Port("metrics", ports.metrics)]
        if balancer:
            listening.append(Port("media-udp", ports.balanced, "UDP"))
        container = Container(
            name="livekit",
            image=image("livekit"),
            command=("/bin/sh", f"{_FILES}/start.sh"),
            ports=tuple(listening),
            mounts=(
                Mount(files, _FILES),
                Mount(SecretFiles(spec.api_secret, items=(("keys.yaml", "keys.yaml"),)), "/secrets/livekit"),
                Mount(SecretFiles(SECRET, items=(("password", "password"),)), "/secrets/redis"),
                Mount(SecretFiles(spec.turn_secret.secret, items=((spec.turn_secret.key, "shared_secret"),)), "/secrets/turn"),
            ),
            env={"HOST_IP": PodField("status.hostIP"), **({"POD_NAME": PodField("metadata.name")} if balancer else {})},
            # The answer says whether a message to itself came back from Redis in the last seconds.
            readiness=Probe.http("/", "http", failures=3),
            # Calls that go on need no Redis, so it is not restarted for a failover. But when the machine of a Redis proxy loses power, it would
            # wait for most of an hour at a connection that nobody closes, and no call could begin there.
            liveness=Probe.http("/", "http", period_seconds=10, failures=18),
            resources=spec.size.resources,
        )
        first = Container(
            name="redis-answers",
            image=image("valkey"),
            # LiveKit ends when it begins before Redis does, and each next attempt comes later.
            command=("/bin/sh", f"{_FILES}/wait.sh"),
            # That script alone: the other one reads secrets which this container has not.
            mounts=(
                Mount(files, f"{_FILES}/wait.sh", file="wait.sh"),
                Mount(SecretFiles(SECRET, items=(("password", "password"),)), "/secrets/redis"),
            ),
            env={"REDIS_HOST": settings.redis.host, "REDIS_PORT": str(settings.redis.port)},
            resources=Resources(millicores(10), mib(16), mib(32)),
        )
        pod = PodSpec(
            containers=(container,),
            init=(first,),
            grace_seconds=_GRACE_SECONDS,
            one_per_node=True,
            nodes=NODES,
            tolerated_taint=CALLS_TAINT,
        )
        servers = self.stateful_set(
            "statefulset.yaml", self.name, pod, part=self.name, replicas=spec.size.replicas, governing_service="livekit-nodes"
        )
        if balancer:
            open_ports = {"media": ports.media, "media-udp": ports.balanced}
            for pod_name in (f"{self.name}-{ordinal}" for ordinal in range(spec.size.replicas)):
                self.service(
                    "service.yaml", pod_name, servers, open_ports, publish_not_ready=True, pod_name=pod_name, balancer=balancer.balancer
                )
        else:
            self.takes_node_ports(settings.calls.media_ports, chosen_by="calls.media_ports")
        self.metrics = self.service(
            "service.yaml", "livekit-nodes", servers, {"metrics": ports.metrics}, headless=True, publish_not_ready=True
        ).endpoint("metrics")
        self.http = self.service("service.yaml", self.name, servers, {"http": ports.http}).endpoint("http")
        # Signalling of clients, and the part of the API that the authorisation service uses, which has LiveKit's public URL alone.
        paths = ("/rtc", "/twirp/livekit.RoomService")
        self.expose("livekit", spec.host, self.http, paths)
        self.connect(self.pods, settings.redis, spec.webhook)
        self.offers_metrics(self.pods, self.metrics.target, series=500)
        self.alerts(*ALERTS)
