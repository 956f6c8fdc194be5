"""coturn: relays the media of calls between two people whose networks do not let them reach each other."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Host, Port
from kit.place import Place
from kit.pods import Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import mib
from kit.secrets import Change, KeyRef, RandomText, SecretSpec
from main_instance.calls.nodes import CALLS_TAINT
from main_instance.coturn.alerts import alerts
from main_instance.coturn.configuration import CoturnSpec, configuration
from main_instance.coturn.size import CoturnSize

NODES = (("matrix-platform/coturn", "true"),)
"""The label of the nodes that run it: those that clients reach under the host's name."""
SECRET = "turn"
_FILES = "/etc/coturn"
_GRACE_SECONDS = 3600
"""How long a call may go on over a pod that is being stopped."""


NEW_SECRET = Change(
    "Credentials that clients hold get no new relay; they ask for others when these expire.",
    "Restart coturn, then LiveKit, the StatefulSet `synapse` and the workers that answer `/voip/turnServer`.",
)


@frozen
class RelaySpec:
    """coturn as it is deployed. `certified`: whether the platform has a certificate made for `host`; else the Secret is there already."""

    settings: CoturnSpec
    size: CoturnSize
    host: Host
    certified: bool


class Coturn(Component):
    """One on each labelled node, in the node's network: a Service cannot stand for thousands of UDP ports."""

    directory = "06-coturn"
    noticed = "a call that is relayed by it ends, and is set up anew"
    priority = Priority.MESSAGING
    host_network = True

    def __init__(self, installation: Installation, place: Place, spec: RelaySpec) -> None:
        super().__init__(installation, "coturn", place)
        settings, ports = spec.settings, spec.settings.ports
        self.relays = settings.relays
        self.secret(SecretSpec(SECRET, self.namespace, {"shared_secret": RandomText(64)}), {"shared_secret": NEW_SECRET})
        self.shared_secret = KeyRef(self.namespace, SECRET, "shared_secret")
        files = self.config(self.name, configuration(settings))
        mounts = [
            Mount(files, _FILES),
            Mount(SecretFiles(SECRET, items=(("shared_secret", "shared_secret"),)), "/secrets/turn"),
            Mount(Scratch("run", mib(8), in_memory=True), settings.run),
        ]
        listening = [Port("turn", ports.turn), Port("turn-udp", ports.turn, "UDP"), Port("metrics", ports.metrics)]
        if settings.tls:
            listening.append(Port("turns", ports.turns))
            mounts.append(Mount(SecretFiles(spec.host.tls_secret, items=(("tls.crt", "tls.crt"), ("tls.key", "tls.key"))), "/secrets/tls"))
            if spec.certified:
                self.serves_tls(spec.host)
        container = Container(
            name="coturn",
            image=image("coturn"),
            command=("/bin/sh", f"{_FILES}/start.sh"),
            ports=tuple(listening),
            mounts=tuple(mounts),
            env={"HOST_IP": PodField("status.hostIP")},
            # Its program file carries this capability, and could not be executed without (docker/coturn/debian/Dockerfile, setcap).
            added_capabilities=("NET_BIND_SERVICE",),
            readiness=Probe.http("/", "metrics"),
            liveness=Probe.http("/", "metrics", failures=6),
            pre_stop=("/bin/sh", f"{_FILES}/stop.sh"),
            resources=spec.size.resources,
        )
        pod = PodSpec(containers=(container,), grace_seconds=_GRACE_SECONDS, nodes=NODES, tolerated_taint=CALLS_TAINT)
        relays = self.daemon_set("daemonset.yaml", self.name, pod, part=self.name)
        if balancer := settings.calls.load_balancer:
            told = {"turn": ports.turn, "turn-udp": ports.turn} | ({"turns": settings.told_turns} if settings.tls else {})
            self.service("service.yaml", "turn", relays, told, balancer=balancer.balancer)
        self.takes_node_ports(settings.calls.relay_ports, chosen_by="calls.relay_ports")
        self.metrics = self.service("service.yaml", self.name, relays, {"metrics": ports.metrics}, headless=True).endpoint("metrics")
        self.offers_metrics(self.pods, self.metrics.target, series=100)
        self.alerts(*alerts(settings.total_quota))
