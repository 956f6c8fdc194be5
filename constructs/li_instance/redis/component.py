"""One Valkey that remembers nothing: what passes through it is sent again. For the lawful-intercept instance, which waits where others must not."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Composed, RandomText, Recipe, SecretSpec

PORT = Port("redis", 6379)
_SETTINGS = 'requirepass {password}\nsave ""\nappendonly no\ndir /tmp\nmaxmemory 48mb\nmaxmemory-policy noeviction\n'


@frozen
class Server:
    """How to reach one, and the Secret with its `password`."""

    endpoint: Endpoint
    secret: str


def server(component: Component, name: str, file: str, part: str, change: Change) -> Server:
    """Add one to a component."""
    keys: dict[str, Recipe] = {"password": RandomText(48), "valkey.conf": Composed(_SETTINGS)}
    component.secret(SecretSpec(name, component.namespace, keys), {"password": change})
    container = Container(
        name="valkey",
        image=image("valkey"),
        command=("valkey-server", "/etc/valkey/valkey.conf"),
        ports=(PORT,),
        mounts=(Mount(SecretFiles(name, items=(("valkey.conf", "valkey.conf"),)), "/etc/valkey"), Mount(Scratch("tmp", mib(16)), "/tmp")),
        readiness=Probe.tcp("redis", period_seconds=5),
        liveness=Probe.tcp("redis"),
        resources=Resources(millicores(10), mib(24), mib(96)),
    )
    pods = component.deployment(file, name, PodSpec(containers=(container,)), part=part, replicas=1, one_at_a_time=True)
    return Server(component.service("service.yaml", name, pods, {"redis": PORT.number}, part=part).endpoint("redis"), name)


class Redis(Component):
    """What the instance's Synapse is told by: what has come with the replication."""

    directory = "02-valkey"
    noticed = "users nothing; officers see what is new a little later"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, "valkey", place)
        change = Change("Nothing new is shown until all have the new one.", f"Restart `{self.name}`, `synapse-li` and `li-sync`.")
        self.server = server(self, self.name, "server.yaml", self.name, change)
