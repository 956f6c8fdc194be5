"""What a pod is made of: containers, probes, mounts. Small values that turn into the typed classes of Kubernetes, hardened by default."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

from attrs import field, frozen
from cdk8s_plus_34 import k8s

from kit.images import Image
from kit.network import Pods, Port
from kit.placement import Placement
from kit.quantities import Bytes, Cpu, Resources

_HOST = "kubernetes.io/hostname"
_LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
LOST_NODE_SECONDS = 60
"""How long a node may be silent before pods that can run twice without harm are made elsewhere; Kubernetes' own default is five minutes."""


@cache
def quantity(amount: Cpu | Bytes | int) -> k8s.Quantity:
    """The Kubernetes quantity of an amount, or of a number of things; cached, since each one is a call into Node.js."""
    return k8s.Quantity.from_string(str(amount))


@cache
def int_or_string(value: int | str) -> k8s.IntOrString:
    """A port by number or by name; cached like `quantity`."""
    return k8s.IntOrString.from_number(value) if isinstance(value, int) else k8s.IntOrString.from_string(value)


@frozen
class ConfigMap:
    """A ConfigMap that Kustomize generates from files: key in the ConfigMap to path below `dist/base/config`.

    Its name gets the hash of its content, so that a changed file rolls the pods that mount it and no others.
    """

    name: str
    namespace: str
    files: tuple[tuple[str, str], ...]

    @property
    def volume_name(self) -> str:
        """What the volume is called in the pod."""
        return self.name

    def volume(self) -> k8s.Volume:
        """The typed volume."""
        return k8s.Volume(name=self.volume_name, config_map=k8s.ConfigMapVolumeSource(name=self.name))


@frozen
class SecretFiles:
    """Keys of a Secret as files: `items` maps key to file name (all keys under their own names where empty).

    `mode`: the group of the pod may read them (the kubelet gives the files to root and the pod's fsGroup). `optional`: the pod starts
    without those that are not there.
    """

    secret: str
    items: tuple[tuple[str, str], ...] = ()
    mode: int = 0o440
    optional: bool = False

    @property
    def volume_name(self) -> str:
        """What the volume is called in the pod."""
        return self.secret

    def volume(self) -> k8s.Volume:
        """The typed volume."""
        items = [k8s.KeyToPath(key=key, path=path) for key, path in self.items]
        source = k8s.SecretVolumeSource(
            secret_name=self.secret, default_mode=self.mode, items=items or None, optional=True if self.optional else None
        )
        return k8s.Volume(name=self.volume_name, secret=source)


@frozen
class Scratch:
    """An empty directory that lives as long as the pod; in memory where it holds secrets. The limit is enforced."""

    name: str
    limit: Bytes
    in_memory: bool = False

    @property
    def volume_name(self) -> str:
        """What the volume is called in the pod."""
        return self.name

    def volume(self) -> k8s.Volume:
        """The typed volume."""
        return k8s.Volume(
            name=self.name,
            empty_dir=k8s.EmptyDirVolumeSource(size_limit=quantity(self.limit), medium="Memory" if self.in_memory else None),
        )


@frozen
class Claim:
    """A volume of its own for each pod of a StatefulSet, kept when the pod goes."""

    name: str
    size: Bytes
    storage_class: str | None = None

    @property
    def volume_name(self) -> str:
        """What the volume is called in the pod."""
        return self.name

    def template(self) -> k8s.KubePersistentVolumeClaimProps:
        """The typed claim template of a StatefulSet."""
        return k8s.KubePersistentVolumeClaimProps(
            metadata=k8s.ObjectMeta(name=self.name),
            spec=k8s.PersistentVolumeClaimSpec(
                access_modes=["ReadWriteOnce"],
                # Said, though the API server would add it: these templates are compared whole.
                volume_mode="Filesystem",
                storage_class_name=self.storage_class,
                resources=k8s.VolumeResourceRequirements(requests={"storage": quantity(self.size)}),
            ),
        )


@frozen
class KeptVolume:
    """A volume that several pods share and that stays when they go: a PersistentVolumeClaim of its own."""

    name: str

    @property
    def volume_name(self) -> str:
        """What the volume is called in the pod."""
        return self.name

    def volume(self) -> k8s.Volume:
        """The typed volume."""
        return k8s.Volume(name=self.name, persistent_volume_claim=k8s.PersistentVolumeClaimVolumeSource(claim_name=self.name))


Volume: TypeAlias = ConfigMap | SecretFiles | Scratch | Claim | KeptVolume


@frozen
class Mount:
    """A volume at a path. Scratch and claims are writable unless `read_only`, configuration and secrets are not.

    `file`: this one file of it alone, where the image has others in the same folder.
    """

    volume: Volume
    path: str
    read_only: bool = False
    file: str | None = None

    def render(self) -> k8s.VolumeMount:
        """The typed mount."""
        writable = isinstance(self.volume, Scratch | Claim | KeptVolume) and not self.read_only
        return k8s.VolumeMount(name=self.volume.volume_name, mount_path=self.path, read_only=None if writable else True, sub_path=self.file)


@frozen
class SecretKey:
    """An environment variable from a Secret: only for programs that can read neither a file nor a config with one."""

    secret: str
    key: str


@frozen
class PodField:
    """An environment variable from the pod itself, e.g. `metadata.name`."""

    path: str


@frozen
class HttpGet:
    """A request to a path on a named port: any answer below 400 is a yes."""

    path: str
    port: str


@frozen
class TcpConnect:
    """A connection to a named port."""

    port: str


@frozen
class Command:
    """A command in the container that ends with 0."""

    words: tuple[str, ...]


@frozen
class Probe:
    """How the kubelet asks a container how it is. Made by `Probe.http`, `Probe.tcp` or `Probe.command`."""

    question: HttpGet | TcpConnect | Command
    period_seconds: int = 10
    timeout_seconds: int = 2
    failures: int = 3
    delay_seconds: int = 0
    """How long after the start it is first asked."""

    @classmethod
    def http(cls, path: str, port: str, **times: int) -> "Probe":
        """Ask by HTTP. `times`: the other fields."""
        return cls(HttpGet(path, port), **times)

    @classmethod
    def tcp(cls, port: str, **times: int) -> "Probe":
        """Connect. `times`: the other fields."""
        return cls(TcpConnect(port), **times)

    @classmethod
    def command(cls, *words: str, **times: int) -> "Probe":
        """Run a command. `times`: the other fields."""
        return cls(Command(words), **times)

    def render(self) -> k8s.Probe:
        """The typed probe."""
        asked = self.question
        return k8s.Probe(
            http_get=k8s.HttpGetAction(path=asked.path, port=int_or_string(asked.port)) if isinstance(asked, HttpGet) else None,
            tcp_socket=k8s.TcpSocketAction(port=int_or_string(asked.port)) if isinstance(asked, TcpConnect) else None,
            exec=k8s.ExecAction(command=list(asked.words)) if isinstance(asked, Command) else None,
            initial_delay_seconds=self.delay_seconds or None,
            period_seconds=self.period_seconds,
            timeout_seconds=self.timeout_seconds,
            failure_threshold=self.failures,
        )


@frozen
class Container:
    """One container: what it runs, what it listens on, what it may read, how much it gets.

    A read-only root, no privileges and no capabilities come by themselves; what a program must write to is a mount.
    """

    name: str
    image: Image
    resources: Resources
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str | SecretKey | PodField] = field(factory=dict)
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    pre_stop: tuple[str, ...] = ()
    """A command that runs before the signal to stop."""
    linger_seconds: int = 0
    """How long the kubelet waits before the signal to stop: for programs that refuse connections at once, while others still find the pod
    behind its Service. For images without a shell to sleep in."""
    added_capabilities: tuple[str, ...] = ()
    sidecar: bool = False
    """An init container that goes on beside the others (restartPolicy Always)."""

    def render(self, image_reference: str, *, host_ports: bool = False) -> k8s.Container:
        """The typed container; `image_reference` is the image as this site pulls it. `host_ports`: its ports are ports of the node."""
        return k8s.Container(
            name=self.name,
            image=image_reference,
            image_pull_policy="IfNotPresent",
            command=list(self.command) or None,
            args=list(self.args) or None,
            ports=[
                k8s.ContainerPort(
                    name=p.name,
                    container_port=p.number,
                    # Said, not left to the API server: the scheduler then keeps two pods with one port off one node.
                    host_port=p.number if host_ports else None,
                    protocol=None if p.protocol == "TCP" else p.protocol,
                )
                for p in self.ports
            ]
            or None,
            env=[_env_var(name, value) for name, value in self.env.items()] or None,
            volume_mounts=[mount.render() for mount in self.mounts] or None,
            startup_probe=self.startup.render() if self.startup else None,
            readiness_probe=self.readiness.render() if self.readiness else None,
            liveness_probe=self.liveness.render() if self.liveness else None,
            lifecycle=self._lifecycle(),
            restart_policy="Always" if self.sidecar else None,
            resources=_resources(self.resources),
            security_context=_container_security(self.added_capabilities),
        )

    def _lifecycle(self) -> k8s.Lifecycle | None:
        if self.pre_stop:
            return k8s.Lifecycle(pre_stop=k8s.LifecycleHandler(exec=k8s.ExecAction(command=list(self.pre_stop))))
        if self.linger_seconds:
            return k8s.Lifecycle(pre_stop=k8s.LifecycleHandler(sleep=k8s.SleepAction(seconds=self.linger_seconds)))
        return None


@frozen
class PodContext:
    """What a pod gets from its component and site.

    `references`: image name to what this site pulls; `selector`: the labels that tell these pods from all others. `host_network`: in the
    node's network. `spread`: over nodes, where the workload does not say itself how many each node has.
    """

    references: Mapping[str, str]
    selector: Mapping[str, str]
    service_account: str
    priority_class: str | None
    pull_secrets: tuple[str, ...]
    zones: bool
    host_network: bool = False
    spread: bool = True
    on_two_nodes: int = 1
    """How many there are of which not all may stand on one node; 1 where that is but a wish."""
    leaves_lost_nodes: bool = False
    """Whether another pod may take the place of one whose node is silent: nothing that it holds could be held twice."""
    placement: Placement = field(factory=Placement)
    """What the site wants otherwise."""


@frozen
class PodSpec:
    """A pod: its containers and how it lives on its node."""

    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    grace_seconds: int = 30
    service_account: str | None = None
    """None: the component's own, which may do nothing."""
    mounts_token: bool = False
    one_per_node: bool = False
    """Never two on one node: for quorums. Otherwise pods are spread as evenly as the nodes allow."""
    to_lose: int | None = None
    """How many may be lost at once, by which two nodes may differ while one of them has room; None: all but one."""
    nodes: tuple[tuple[str, str], ...] = ()
    """Labels that a node must have; empty for any node."""
    tolerated_taint: str | None = None
    """The key of the taint by which an operator keeps other pods off those nodes."""
    restart_policy: str | None = None
    beside: Pods | None = None
    """Only on a node where such a pod is: for a volume that one node at a time can have."""

    def __attrs_post_init__(self) -> None:
        names = [container.name for container in self.all_containers]
        if len(set(names)) != len(names):
            raise ValueError(f"two containers of a pod have one name: {names}")

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first."""
        return self.init + self.containers

    def volumes(self) -> tuple[Volume, ...]:
        """Each volume once, in the order of first use. Two volumes of one name are an error: one would hide the other."""
        found: dict[str, Volume] = {}
        for mount in (mount for container in self.all_containers for mount in container.mounts):
            other = found.setdefault(mount.volume.volume_name, mount.volume)
            if other != mount.volume:
                raise ValueError(f"two different volumes are called {mount.volume.volume_name}: {other} and {mount.volume}")
        return tuple(found.values())

    def render(self, context: "PodContext") -> k8s.PodSpec:
        """The typed pod."""
        references = context.references
        first = self.containers[0].image
        same_pods = k8s.LabelSelector(match_labels=dict(context.selector))
        return k8s.PodSpec(
            service_account_name=self.service_account or context.service_account,
            automount_service_account_token=self.mounts_token,
            enable_service_links=False,
            # Full names have four dots: with the default of five, every look-up would first try the whole search list.
            dns_config=k8s.PodDnsConfig(options=[k8s.PodDnsConfigOption(name="ndots", value="2")]),
            host_network=True if context.host_network else None,
            dns_policy="ClusterFirstWithHostNet" if context.host_network else None,
            node_selector=dict(self.nodes + context.placement.node_selector) or None,
            tolerations=self._tolerations(context) or None,
            priority_class_name=context.placement.priority_class or context.priority_class,
            termination_grace_period_seconds=self.grace_seconds,
            restart_policy=self.restart_policy,
            image_pull_secrets=[k8s.LocalObjectReference(name=name) for name in context.pull_secrets] or None,
            security_context=k8s.PodSecurityContext(
                run_as_non_root=True,
                run_as_user=first.user,
                run_as_group=first.group,
                fs_group=first.group,
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=k8s.SeccompProfile(type="RuntimeDefault"),
            ),
            affinity=self._affinity(same_pods, context.placement),
            topology_spread_constraints=_spread(same_pods, context, self.one_per_node, self.to_lose)
            if self.restart_policy is None and context.spread
            else None,
            init_containers=[c.render(references[c.image.name], host_ports=context.host_network) for c in self.init] or None,
            containers=[c.render(references[c.image.name], host_ports=context.host_network) for c in self.containers],
            volumes=[volume.volume() for volume in self.volumes() if not isinstance(volume, Claim)] or None,
        )

    def _tolerations(self, context: PodContext) -> list[Any]:
        own = [k8s.Toleration(key=self.tolerated_taint, operator="Exists")] if self.tolerated_taint else []
        if context.leaves_lost_nodes:
            own += [
                k8s.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=LOST_NODE_SECONDS) for key in _LOST_NODE
            ]
        return own + [
            k8s.Toleration(key=t.key, operator="Equal" if t.value else "Exists", value=t.value, effect=t.effect.value if t.effect else None)
            for t in context.placement.tolerations
        ]

    def _affinity(self, same_pods: k8s.LabelSelector, chosen: Placement) -> k8s.Affinity | None:
        """Of the pods to each other, and to nodes as the site wants it."""
        apart = _never_two_on_a_node(same_pods) if self.one_per_node else None
        beside = _beside(self.beside) if self.beside and not apart else None
        nodes = _on_nodes(chosen) if chosen.affinity else None
        return k8s.Affinity(pod_anti_affinity=apart, pod_affinity=beside, node_affinity=nodes) if apart or beside or nodes else None


def _env_var(name: str, value: str | SecretKey | PodField) -> k8s.EnvVar:
    match value:
        case SecretKey(secret, key):
            return k8s.EnvVar(name=name, value_from=k8s.EnvVarSource(secret_key_ref=k8s.SecretKeySelector(name=secret, key=key)))
        case PodField(path):
            return k8s.EnvVar(name=name, value_from=k8s.EnvVarSource(field_ref=k8s.ObjectFieldSelector(field_path=path)))
        case _:
            return k8s.EnvVar(name=name, value=value)


def _resources(resources: Resources) -> k8s.ResourceRequirements:
    return k8s.ResourceRequirements(
        requests={"cpu": quantity(resources.cpu), "memory": quantity(resources.memory)},
        limits={"memory": quantity(resources.memory_limit)},
    )


def _container_security(added_capabilities: tuple[str, ...]) -> k8s.SecurityContext:
    return k8s.SecurityContext(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=k8s.Capabilities(drop=["ALL"], add=list(added_capabilities) or None),
    )


def _never_two_on_a_node(pods: k8s.LabelSelector) -> k8s.PodAntiAffinity:
    term = k8s.PodAffinityTerm(topology_key=_HOST, label_selector=pods)
    return k8s.PodAntiAffinity(required_during_scheduling_ignored_during_execution=[term])


def _on_nodes(chosen: Placement) -> k8s.NodeAffinity:
    wanted = [k8s.NodeSelectorRequirement(key=label, operator="In", values=list(values)) for label, values in chosen.affinity]
    terms = k8s.NodeSelector(node_selector_terms=[k8s.NodeSelectorTerm(match_expressions=wanted)])
    return k8s.NodeAffinity(required_during_scheduling_ignored_during_execution=terms)


def _beside(pods: Pods) -> k8s.PodAffinity:
    term = k8s.PodAffinityTerm(
        topology_key=_HOST,
        label_selector=k8s.LabelSelector(match_labels=dict(pods.labels)),
        namespaces=[pods.namespace],
    )
    return k8s.PodAffinity(required_during_scheduling_ignored_during_execution=[term])


def _spread(pods: k8s.LabelSelector, context: PodContext, one_per_node: bool, to_lose: int | None) -> list[Any]:
    """Evenly over hosts, and over zones where the site has them: a wish, so that a small or degraded cluster still runs everything.

    But never all on one node where another could take one, nor more beyond another one's than may be lost: also where nodes come up one after
    the other, and the first has room for all. A node that is drained or lost is no other.
    """
    keys = [_HOST] + (["topology.kubernetes.io/zone"] if context.zones else [])
    wished = [
        k8s.TopologySpreadConstraint(max_skew=1, topology_key=key, when_unsatisfiable="ScheduleAnyway", label_selector=pods) for key in keys
    ]
    if context.on_two_nodes < 2 or one_per_node:
        return wished
    required = k8s.TopologySpreadConstraint(
        max_skew=to_lose or context.on_two_nodes - 1,
        min_domains=2,
        topology_key=_HOST,
        when_unsatisfiable="DoNotSchedule",
        node_taints_policy="Honor",
        label_selector=pods,
    )
    return [required, *wished]
