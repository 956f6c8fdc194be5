"""node-exporter: processor, memory and disk of each node."""

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch
from kit.quantities import Resources, mib, millicores

HTTP = Port("http", 9100)
DISK = "/node-disk"
"""A directory on the disk on which the kubelet keeps what pods write: its file system is the node's."""
COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "pressure", "stat", "time", "vmstat")
"""What /proc says of the node in any pod. The rest, such as its network, would need the node's own namespaces and directories."""


class NodeExporter(Component):
    """One on each node, a pod like any other: it sees nothing of the node but what /proc says to everybody."""

    directory = "06-node-exporter"
    noticed = "nothing"

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, "node-exporter", place)
        container = Container(
            name=self.name,
            image=image("node-exporter"),
            args=(
                "--collector.disable-defaults",
                *(f"--collector.{name}" for name in COLLECTORS),
                f"--collector.filesystem.mount-points-include=^{DISK}$",
                f"--web.listen-address=:{HTTP.number}",
            ),
            ports=(HTTP,),
            mounts=(Mount(Scratch("disk", mib(1)), DISK),),
            readiness=Probe.http("/", "http"),
            liveness=Probe.http("/", "http"),
            resources=Resources(millicores(10), mib(20), mib(64)),
        )
        exporters = self.daemon_set("daemonset.yaml", self.name, PodSpec(containers=(container,)), part=self.name)
        self.offers_metrics(exporters.pods, HTTP, series=1_500)
