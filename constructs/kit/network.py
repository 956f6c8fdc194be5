"""Who listens where, who calls whom: value objects from which Services, network policies and scrape targets follow."""

from attrs import frozen


@frozen
class Port:
    """A named port of a container. The name is what Services and probes refer to (15 characters at most)."""

    name: str
    number: int
    protocol: str = "TCP"


@frozen
class PortRange:
    """Ports from `first` to `last`, both included."""

    first: int
    last: int
    protocol: str = "TCP"

    def overlaps(self, other: "PortRange") -> bool:
        """Whether a port is in both."""
        return self.protocol == other.protocol and self.first <= other.last and other.first <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.first < self.last else f"{self.first}"


@frozen
class Pods:
    """A set of pods, chosen by labels within one namespace: what a policy selects.

    `host_network`: they are in the network of their nodes, where no policy selects them; to others they are addresses of nodes.
    """

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    host_network: bool = False


@frozen
class Endpoint:
    """A port that somebody may call: the pods that listen, and the address of the Service in front of them.

    `host` is the full DNS name with the cluster's domain; `port` the Service's port; `target` the port of the pods.
    """

    pods: Pods
    host: str
    port: int
    target: Port

    @property
    def address(self) -> str:
        """`host:port`, as most configuration files want it."""
        return f"{self.host}:{self.port}"


@frozen
class Balancer:
    """How a Service is reached from outside the cluster: by a load balancer that the cluster makes, or at ports of all nodes, for one of others.

    `balancer_class`, `annotations`: what tells the cluster which load balancer it is.
    """

    node_ports: bool = False
    balancer_class: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()


@frozen
class External:
    """Something outside the cluster that pods may call. The option that opens this way names it (`Option.opens`).

    `ports`: empty for all. `cidrs`: where it is. Where that is not known, `public` says that it is on the internet, never at a private
    address.
    """

    name: str
    ports: tuple[int, ...]
    cidrs: tuple[str, ...] = ()
    public: bool = False
    protocol: str = "TCP"


@frozen
class Connection:
    """`source` calls the pods behind an endpoint, on the port where they listen."""

    source: Pods
    target: Pods
    port: Port


@frozen
class Host:
    """A name under which the platform is reached from outside, and the Secret with its certificate (`tls.crt`, `tls.key`)."""

    name: str
    tls_secret: str


@frozen
class Exposure:
    """An endpoint that the ingress publishes, as `Component.expose` says. `file`: where its Ingress stands below `dist/base`."""

    name: str
    host: Host
    endpoint: Endpoint
    file: str
    paths: tuple[str, ...]
    allowed_sources: tuple[str, ...]
    client_authority: str | None = None
