"""The base class of all components: a construct that declares what it deploys, and how its parts become Kubernetes objects."""

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from attrs import evolve, frozen
from cdk8s_plus_34 import k8s

from constructs import Construct
from kit.autoscaling import TAKES_OVER, Autoscaled, ScaledObject, by_measure, by_processor
from kit.images import Image
from kit.installation import Installation
from kit.monitoring import Alert, Scrape
from kit.network import Balancer, Connection, Endpoint, Exposure, External, Host, Pods, Port, PortRange
from kit.objects import Kind, data
from kit.options import OptionError
from kit.place import Place
from kit.placement import Placement, PodResources
from kit.pods import Claim, ConfigMap, KeptVolume, PodContext, PodSpec, int_or_string, quantity
from kit.quantities import Bytes
from kit.rendering import PART_OF, ObjectId, Tuning
from kit.secrets import Change, DeclaredSecret, SecretSpec
from kit.state import State

NODE_PORTS = (PortRange(30_000, 32_767), PortRange(30_000, 32_767, "UDP"))
"""What the API server gives to Services of type NodePort (kube-apiserver, --service-node-port-range)."""


class Priority(Enum):
    """Who is evicted last when a node runs out: data, then messaging, then the rest (which has no class)."""

    DATA = "data"
    MESSAGING = "messaging"


@frozen
class Stop:
    """A ConfigMap whose change stops all pods of a component at once, by themselves, and what people notice then."""

    config_map: str
    noticed: str


@frozen
class NewRelease:
    """What another release of a component's program is, where that is more than pods that are replaced one after the other.

    `of_one`: its pods work with none of another release. New ones wait until all are new, so who applies it deletes them all at once.
    `major`: only another major release is.
    """

    noticed: str
    of_one: bool = False
    major: bool = False


@frozen
class Workload:
    """A set of like pods that a component has deployed."""

    kind: str
    name: str
    namespace: str
    pods: Pods
    ports: Mapping[str, Port]
    replicas: int | None
    """None where an autoscaler or the number of nodes sets it."""


@frozen
class Service:
    """A Service in front of pods."""

    name: str
    host: str
    pods: Pods
    ports: Mapping[str, tuple[int, Port]]

    def endpoint(self, port: str) -> Endpoint:
        """The endpoint of a port by name."""
        number, target = self.ports[port]
        return Endpoint(self.pods, self.host, number, target)


class Component(Construct):
    """One folder of the platform.

    A subclass reads like the paragraph that describes it; everything that all components share (labels, hardening, spread,
    disruption budgets, service accounts, policies) follows from what it declares.
    """

    directory: ClassVar[str]
    """Its folder in the layer of its place, such as `07-sygnal`; empty for the layer itself."""
    config_directory: ClassVar[str | None] = None
    """Its folder below `config/`, if that is not called like the component."""
    together: ClassVar[bool] = False
    """Whether all instances stand in one folder, each with names and files that say which it is."""
    priority: ClassVar[Priority | None] = None
    noticed: str = ""
    """What people notice while its pods are replaced one after the other."""
    stopped_by: ClassVar[Stop | None] = None
    """What stops all of its pods at once."""
    new_release: NewRelease | None = None
    """What another release of its program asks for."""
    sized_by_memory: ClassVar[str] = ""
    """Why a site cannot give its pods other resources than the profile, if it cannot."""
    host_network: ClassVar[bool] = False
    """Whether its pods are in the network of their nodes: for programs of which clients need to reach thousands of ports."""

    def __init__(self, installation: Installation, name: str, place: Place) -> None:
        suffix = "" if self.together else place.suffix
        super().__init__(installation, f"{place.namespace}.{name}{suffix}")
        self.installation = installation
        self.place = place
        self.name = f"{name}{suffix}"
        self.namespace = place.namespace
        self.folder = "/".join(part for part in (place.layer, f"{self.directory}{suffix}") if part)
        self.config_folder = f"config/{self.config_directory or name}{suffix}"
        self.pods = Pods(self.name, self.namespace, (("app.kubernetes.io/name", self.name),), self.host_network)
        """All pods of the component."""
        self._has_service_account = False

    # -- objects and files

    def path(self, file: str) -> str:
        """Where one of the component's files stands below `dist/base`."""
        return f"{self.folder}/{file}" if self.folder else file

    def labels(self, part: str | None = None) -> dict[str, str]:
        """The labels of the component's objects; with `part`, those of one workload and its pods."""
        labels = {"app.kubernetes.io/name": self.name, **PART_OF}
        return labels | ({"app.kubernetes.io/component": part} if part else {})

    def add(
        self,
        file: str,
        kind: Kind,
        name: str,
        *,
        part: str | None = None,
        cluster_wide: bool = False,
        annotations: Mapping[str, str] | None = None,
        extra_labels: Mapping[str, str] | None = None,
        tuning: Tuning | None = None,
        **properties: Any,
    ) -> None:
        """Add one object to a file of the component's folder. `properties` are the typed properties of the kind."""
        self.installation.add(
            self,
            self.path(file),
            kind,
            name=name,
            namespace=None if cluster_wide else self.namespace,
            labels=self.labels(part) | dict(extra_labels or {}),
            annotations=annotations,
            tuning=tuning,
            **properties,
        )

    def config(self, name: str, files: Mapping[str, str], *, stored: Mapping[str, str] | None = None) -> ConfigMap:
        """A ConfigMap of one concern. `files`: key to text.

        `stored`: key to where the file stands in the component's folder below `config/`, where that is not the key.
        """
        placed = {key: (f"{self.config_folder}/{(stored or {}).get(key, key)}", text) for key, text in files.items()}
        self.installation.add_config_map(name, self.namespace, placed)
        return ConfigMap(name, self.namespace, tuple((key, path) for key, (path, _) in placed.items()))

    def tuned(self, file: str, *keys: str) -> Tuning:
        """These fields of an object's `spec` stand in a file of the component's folder below `config/`, where people tune them."""
        return Tuning(f"{self.config_folder}/{file}", keys)

    def secret(self, spec: SecretSpec, changes: Mapping[str, Change] | None = None) -> SecretSpec:
        """Declare a Secret that the site's provider has to make. `changes`: what a change of each key does that is kept in its own right."""
        self.installation.declared.secrets.append(DeclaredSecret(self.folder, self.name, spec, changes or {}))
        return spec

    # -- workloads

    def stateful_set(
        self,
        file: str,
        name: str,
        pod: PodSpec,
        *,
        part: str,
        replicas: int | None,
        governing_service: str,
        claims: tuple[Claim, ...] = (),
        autoscaled: Autoscaled | None = None,
        tuning: Tuning | None = None,
    ) -> Workload:
        """Pods with names and volumes of their own, started in any order."""
        spec = k8s.StatefulSetSpec(
            service_name=governing_service,
            replicas=replicas,
            pod_management_policy="Parallel",
            selector=k8s.LabelSelector(match_labels=self._selector(part)),
            # Of autoscaled ones more are wanted at once than nodes may have room for.
            template=self._template(pod, part, workload=name, on_two_nodes=1 if autoscaled else replicas or 1),
            volume_claim_templates=[claim.template() for claim in claims] or None,
        )
        self.add(file, k8s.KubeStatefulSet, name, part=part, tuning=tuning, spec=spec)
        return self._deployed("StatefulSet", name, pod, part, replicas, autoscaled)

    def deployment(
        self, file: str, name: str, pod: PodSpec, *, part: str, replicas: int, most: int | None = None, one_at_a_time: bool = False
    ) -> Workload:
        """Pods that are all alike. A new one is ready before an old one goes, unless there may be but `one_at_a_time`.

        `most`: to how many an autoscaler may grow them; without it there is none.
        """
        rolling = k8s.RollingUpdateDeployment(max_surge=int_or_string(1), max_unavailable=int_or_string(0))
        spec = k8s.DeploymentSpec(
            replicas=None if most else replicas,
            selector=k8s.LabelSelector(match_labels=self._selector(part)),
            strategy=k8s.DeploymentStrategy(type="Recreate")
            if one_at_a_time
            else k8s.DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
            # A pod with a volume waits for it to come free; and of one that must be alone, the old one may still run on a silent node.
            template=self._template(
                pod,
                part,
                workload=name,
                on_two_nodes=replicas,
                leaves_lost_nodes=not one_at_a_time and not any(isinstance(volume, KeptVolume) for volume in pod.volumes()),
            ),
        )
        self.add(file, k8s.KubeDeployment, name, part=part, spec=spec)
        return self._deployed("Deployment", name, pod, part, None if most else replicas, Autoscaled(replicas, most) if most else None)

    def daemon_set(self, file: str, name: str, pod: PodSpec, *, part: str) -> Workload:
        """One pod on each node that has the pod's labels. An update takes one pod away at a time."""
        spec = k8s.DaemonSetSpec(
            selector=k8s.LabelSelector(match_labels=self._selector(part)),
            update_strategy=k8s.DaemonSetUpdateStrategy(
                type="RollingUpdate", rolling_update=k8s.RollingUpdateDaemonSet(max_unavailable=int_or_string(1))
            ),
            template=self._template(pod, part, workload=name, spread=False),
        )
        self.add(file, k8s.KubeDaemonSet, name, part=part, spec=spec)
        return Workload("DaemonSet", name, self.namespace, self.pods_of(part), _ports(pod), None)

    def job(self, file: str, name: str, pod: PodSpec, *, part: str, backoff_limit: int = 6, give_up_on: tuple[int, ...] = ()) -> Workload:
        """Pods that run to completion. A finished Job stays: were it deleted, a GitOps tool would make it anew for ever.

        Its name ends in a digest of what it runs: the template of a Job cannot be changed, so another one is another Job. `give_up_on`:
        exit codes after which trying again is of no use (they need the pod's restart policy to be `Never`).
        """
        texts = [self.installation.texts(volume) for volume in pod.volumes() if isinstance(volume, ConfigMap)]
        template = self._template(pod, part, workload=name)
        name = f"{name}-{hashlib.sha256(json.dumps([data(template), texts]).encode()).hexdigest()[:10]}"
        final = k8s.PodFailurePolicyOnExitCodesRequirement(operator="In", values=list(give_up_on)) if give_up_on else None
        policy = k8s.PodFailurePolicy(rules=[k8s.PodFailurePolicyRule(action="FailJob", on_exit_codes=final)]) if final else None
        spec = k8s.JobSpec(backoff_limit=backoff_limit, pod_failure_policy=policy, template=template)
        self.add(file, k8s.KubeJob, name, part=part, spec=spec)
        return Workload("Job", name, self.namespace, self.pods_of(part), _ports(pod), None)

    def cron_job(self, file: str, name: str, pod: PodSpec, *, part: str, schedule: str) -> Workload:
        """Pods that run to completion at the times of `schedule` (five cron fields, UTC), never two at once."""
        template = k8s.JobTemplateSpec(
            metadata=k8s.ObjectMeta(labels=self.labels(part)),
            spec=k8s.JobSpec(backoff_limit=3, template=self._template(pod, part, workload=name)),
        )
        spec = k8s.CronJobSpec(
            schedule=schedule,
            time_zone="Etc/UTC",
            concurrency_policy="Forbid",
            # After a time without a controller the last missed run is made up for, if it is not older than this.
            starting_deadline_seconds=3600,
            successful_jobs_history_limit=1,
            failed_jobs_history_limit=3,
            job_template=template,
        )
        self.add(file, k8s.KubeCronJob, name, part=part, spec=spec)
        return Workload("CronJob", name, self.namespace, self.pods_of(part), _ports(pod), None)

    def kept_volume(self, file: str, name: str, size: Bytes) -> KeptVolume:
        """A volume that the component's pods share."""
        spec = k8s.PersistentVolumeClaimSpec(
            access_modes=["ReadWriteOnce"],
            storage_class_name=self.installation.facts.storage_classes.default,
            resources=k8s.VolumeResourceRequirements(requests={"storage": quantity(size)}),
        )
        self.add(file, k8s.KubePersistentVolumeClaim, name, spec=spec)
        return KeptVolume(name)

    def pods_of(self, part: str) -> Pods:
        """The pods of one workload. A component's only workload is called like the component, and its pods are all of them."""
        if part == self.name:
            return self.pods
        return Pods(f"{self.name}-{part}", self.namespace, tuple(self._selector(part).items()), self.host_network)

    def service(
        self,
        file: str,
        name: str,
        workload: Workload,
        ports: Mapping[str, int],
        *,
        part: str | None = None,
        headless: bool = False,
        publish_not_ready: bool = False,
        pod_name: str | None = None,
        pods: Pods | None = None,
        same_node: bool = False,
        balancer: Balancer | None = None,
    ) -> Service:
        """A Service for a workload. `ports`: name of a container port to the Service's number.

        `same_node`: callers are led to a pod of their own node where there is one that is ready.
        `balancer`: it is open outside the cluster, and pods see from where packets come.
        `pod_name`: for that one pod alone. `pods`: for these instead of the workload's, which must have the same ports.
        """
        pods = pods or workload.pods
        selector = dict(pods.labels) | ({"statefulset.kubernetes.io/pod-name": pod_name} if pod_name else {})
        spec = k8s.ServiceSpec(
            type=("NodePort" if balancer.node_ports else "LoadBalancer") if balancer else "ClusterIP",
            external_traffic_policy="Local" if balancer else None,
            load_balancer_class=balancer.balancer_class if balancer else None,
            cluster_ip="None" if headless else None,
            publish_not_ready_addresses=publish_not_ready or None,
            traffic_distribution="PreferSameNode" if same_node else None,
            selector=selector,
            ports=[
                k8s.ServicePort(name=port, port=number, target_port=int_or_string(port), protocol=workload.ports[port].protocol)
                for port, number in ports.items()
            ],
        )
        annotations = dict(balancer.annotations) if balancer else None
        self.add(file, k8s.KubeService, name, part=part, annotations=annotations or None, spec=spec)
        host = self.installation.facts.service_host(name, self.namespace)
        return Service(name, host, pods, {port: (number, workload.ports[port]) for port, number in ports.items()})

    # -- connections

    def connect(self, source: Pods, *peers: Endpoint | External) -> None:
        """`source` may call these: both ends of the network policies follow."""
        declared = self.installation.declared
        for peer in peers:
            if isinstance(peer, Endpoint):
                declared.connections.append(Connection(source, peer.pods, peer.target))
            else:
                declared.outside.append((source, peer))

    def calls_api_server(self, source: Pods) -> None:
        """`source` talks to the Kubernetes API."""
        self.installation.declared.api_clients.append(source)

    def expose(
        self,
        name: str,
        host: Host,
        endpoint: Endpoint,
        paths: tuple[str, ...] = ("/",),
        allowed_sources: tuple[str, ...] = (),
        client_authority: str | None = None,
    ) -> None:
        """The ingress publishes an endpoint: `paths` are prefixes under `host`, which other exposures may share with other paths.

        `name`: of the Ingress or route, which stands in the component's folder. `allowed_sources`: addresses that may come in; empty for all.
        `client_authority`: the Secret, in the namespace of the endpoint, with the authority of the certificate that a client has to show.
        """
        exposure = Exposure(
            f"{name}{self.place.suffix}", host, endpoint, self.path("ingress.yaml"), paths, allowed_sources, client_authority
        )
        self.installation.declared.exposures.append(exposure)

    def serves_tls(self, host: Host) -> None:
        """The component answers for a host itself, without the ingress: it mounts the host's certificate from its own namespace."""
        self.installation.declared.tls_hosts.append((host, self.namespace))

    def takes_node_ports(self, *ranges: PortRange, chosen_by: str = "") -> None:
        """The component's pods listen on these ports of their nodes. `chosen_by`: the option that says so.

        Raises OptionError, or ValueError without an option, when somebody listens there already, or Kubernetes itself.
        """
        declared = self.installation.declared.node_ports
        for wanted in ranges:
            for owner, taken in [*declared, *(("NodePort Services", taken) for taken in NODE_PORTS)]:
                if wanted.overlaps(taken):
                    reason = f"{self.name} would listen on {wanted}/{wanted.protocol} of its nodes, and {taken} is for {owner}"
                    raise OptionError(chosen_by, reason) if chosen_by else ValueError(reason)
            declared.append((self.name, wanted))

    # -- what operators of the platform must know

    def offers_metrics(self, pods: Pods, port: Port, path: str = "/metrics", *, series: int, job: str | None = None, **more: Any) -> None:
        """Every one of these pods serves metrics for Prometheus. `job`: what the series are called by, if not like the component.

        `more`: the other fields of `Scrape`.
        """
        self.installation.declared.scrapes.append(Scrape(job or self.name, pods, port, series, path, **more))

    def alerts(self, *alerts: Alert) -> None:
        """What the component's metrics tell people. Those of a second instance are the first's: each names its namespace."""
        known = [alert for _, alert in self.installation.declared.alerts]
        self.installation.declared.alerts.extend((self.name, alert) for alert in alerts if alert not in known)

    def keeps(self, what: str, where: str, restored: str) -> None:
        """The component keeps something, as `State` says. `where`: the kind and name of the object, which only a person deletes."""
        kind, name = where.split()
        held_by = ObjectId(kind, self.namespace, name)
        self.installation.declared.state.append((self.name, State(what, held_by, restored)))
        self.installation.keep(held_by)

    # -- what the kit does for every workload

    def _selector(self, part: str) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/component": part}

    def placement(self, workload: str) -> Placement:
        """What the site wants of the pods of a workload: by its own name, or by the component's."""
        self.installation.declared.workloads |= {workload, self.name}
        chosen = dict(self.installation.facts.placement)
        return chosen.get(workload) or chosen.get(self.name) or Placement()

    def _template(self, pod: PodSpec, part: str, *, workload: str, **standing: Any) -> k8s.PodTemplateSpec:
        facts, placement = self.installation.facts, self.placement(workload)
        pod = self._as_wanted(pod, workload, placement)
        if self.host_network:
            self.takes_node_ports(*(PortRange(port.number, port.number, port.protocol) for port in _ports(pod).values()))
        images: dict[str, Image] = {container.image.name: container.image for container in pod.all_containers}
        references = {name: facts.pulls(image) for name, image in images.items()}
        context = PodContext(
            references=references,
            selector=self._selector(part),
            service_account=pod.service_account or self._service_account(),
            priority_class=facts.cluster_wide(self.priority.value) if self.priority else None,
            pull_secrets=facts.images.pull_secrets,
            zones=facts.cluster.multi_zone,
            host_network=self.host_network,
            placement=placement,
            **standing,
        )
        annotations = dict(placement.annotations) or None
        return k8s.PodTemplateSpec(metadata=k8s.ObjectMeta(labels=self.labels(part), annotations=annotations), spec=pod.render(context))

    def _as_wanted(self, pod: PodSpec, workload: str, wanted: Placement) -> PodSpec:
        """The pod with the resources and variables that the site wants of its program, which is its first container."""
        program, option = pod.containers[0], f'placement["{workload}"]'
        if wanted.resources != PodResources() and self.sized_by_memory:
            raise OptionError(f"{option}.resources", self.sized_by_memory)
        if taken := [name for name, _ in wanted.env if name in program.env]:
            raise OptionError(f"{option}.env", f"the platform sets {', '.join(taken)}; remove it")
        try:
            resources = wanted.resources.over(program.resources)
        except ValueError as error:
            raise OptionError(f"{option}.resources", str(error)) from None
        program = evolve(program, resources=resources, env={**program.env, **dict(wanted.env)})
        return evolve(pod, containers=(program, *pod.containers[1:]))

    def _service_account(self) -> str:
        if not self._has_service_account:
            self._has_service_account = True
            self.add("serviceaccount.yaml", k8s.KubeServiceAccount, self.name, automount_service_account_token=False)
        return self.name

    def _deployed(self, kind: str, name: str, pod: PodSpec, part: str, replicas: int | None, autoscaled: Autoscaled | None) -> Workload:
        most = autoscaled.most if autoscaled else (replicas or 0)
        if autoscaled:
            self._autoscaler(kind, name, part, autoscaled)
        if most >= 2:
            # One pod at a time may be drained, also the only one of an autoscaled workload that is small at the moment.
            spec = k8s.PodDisruptionBudgetSpec(
                max_unavailable=int_or_string(1),
                unhealthy_pod_eviction_policy="AlwaysAllow",
                selector=k8s.LabelSelector(match_labels=self._selector(part)),
            )
            self.add("pdb.yaml", k8s.KubePodDisruptionBudget, name, part=part, spec=spec)
        return Workload(kind, name, self.namespace, self.pods_of(part), _ports(pod), replicas)

    def _autoscaler(self, kind: str, name: str, part: str, scaled: Autoscaled) -> None:
        if scaled.measure:
            spec = by_measure(kind, name, scaled, scaled.measure)
            self.add("hpa.yaml", ScaledObject, name, part=part, annotations=TAKES_OVER, spec=spec)
        else:
            self.add("hpa.yaml", k8s.KubeHorizontalPodAutoscalerV2, name, part=part, spec=by_processor(kind, name, scaled))


def _ports(pod: PodSpec) -> dict[str, Port]:
    return {port.name: port for container in pod.all_containers for port in container.ports}
