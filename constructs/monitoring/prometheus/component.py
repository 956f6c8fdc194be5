"""Prometheus: it measures all that the components offer to be measured."""

from collections.abc import Mapping

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Pods, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe
from kit.quantities import Bytes
from kit.text import yaml_text
from monitoring.alerts import alerts
from monitoring.options import KUBELETS
from monitoring.prometheus.alerts import ALERTS
from monitoring.prometheus.configuration import PrometheusSpec, configuration
from monitoring.prometheus.memory import prometheus_resources
from monitoring.prometheus.rules import groups
from monitoring.size import MonitoringSize

NAME = "prometheus"
HTTP = Port("http", 9090)
_FILES = "/etc/prometheus"
_DATA = "/prometheus"
_KUBELET = 10250


@frozen
class Watching:
    """`namespaces`: those of the platform. `retention`: how long it remembers. `size`: of everything that watches. `pages`: where alerts lead.

    `alertmanagers`: the hosts of all of them, and whom they are. `beside`: programs that others run for the platform, by job. `keda`: the
    namespace of KEDA, if it asks how busy workers are.
    """

    namespaces: tuple[str, ...]
    retention: str
    size: MonitoringSize
    pages: str | None
    alertmanagers: tuple[str, ...]
    alerting: Endpoint
    beside: Mapping[str, Endpoint]
    keda: str | None = None


def prometheus_endpoint(installation: Installation, place: Place) -> Endpoint:
    """Where Prometheus answers: known before it is there, since it must know all that it scrapes, those too who ask it."""
    pods = Pods(NAME, place.namespace, (("app.kubernetes.io/name", NAME),))
    return Endpoint(pods, installation.facts.service_host(NAME, place.namespace), HTTP.number, HTTP)


class Prometheus(Component):
    """One server with a volume. It is made last: it scrapes what every other component has declared until then, and itself."""

    directory = "01-prometheus"
    noticed = "users nothing; graphs have a gap, and alerts wait, until it is back"
    config_directory = "monitoring"

    def __init__(self, installation: Installation, place: Place, watching: Watching) -> None:
        super().__init__(installation, NAME, place)
        self.offers_metrics(self.pods, HTTP, series=1_000)
        self.alerts(*alerts(installation.declared.scrapes), *ALERTS)
        spec = PrometheusSpec(
            scrapes=tuple(installation.declared.scrapes),
            namespaces=watching.namespaces,
            alertmanagers=tuple(f"{host}:{watching.alerting.target.number}" for host in watching.alertmanagers),
            beside=tuple((job, endpoint.address) for job, endpoint in watching.beside.items()),
        )
        rules = groups(installation.declared.alerts, watching.pages)
        texts = {f"alerts-{component}.yaml": yaml_text({"groups": [group]}) for component, group in rules.items()}
        files = self.config(
            self.name,
            {"prometheus.yaml": yaml_text(configuration(spec)), **texts},
            stored={name: name.replace("alerts-", "alerts/") for name in texts},
        )
        size = watching.size
        # Not a claim of the StatefulSet, which could never grow.
        data = self.kept_volume("statefulset.yaml", f"{self.name}-data", size.metrics)
        container = Container(
            name="prometheus",
            image=image("prometheus"),
            args=(
                f"--config.file={_FILES}/prometheus.yaml",
                f"--storage.tsdb.path={_DATA}",
                f"--storage.tsdb.retention.time={watching.retention}",
                # The write-ahead log and blocks that are being joined come on top of what it counts.
                f"--storage.tsdb.retention.size={_share(size.metrics)}",
                f"--web.listen-address=:{HTTP.number}",
            ),
            ports=(HTTP,),
            mounts=(Mount(files, _FILES), Mount(data, _DATA)),
            # It reads its write-ahead log before it answers.
            startup=Probe.http("/-/ready", "http", period_seconds=5, failures=120),
            readiness=Probe.http("/-/ready", "http", period_seconds=5),
            liveness=Probe.http("/-/healthy", "http", timeout_seconds=5, failures=6),
            resources=prometheus_resources(size.prometheus, spec.scrapes, installation.rendering().manifests()),
        )
        pod = PodSpec(containers=(container,), grace_seconds=120, mounts_token=True)
        pods = f"{self.name}-pods"
        servers = self.stateful_set("statefulset.yaml", self.name, pod, part=self.name, replicas=1, governing_service=pods)
        self.service("service.yaml", pods, servers, {"http": HTTP.number}, headless=True, publish_not_ready=True)
        self.service("service.yaml", self.name, servers, {"http": HTTP.number})
        self.http = prometheus_endpoint(installation, place)
        if watching.keda:
            self.connect(Pods("keda", watching.keda, ()), self.http)
        self.calls_api_server(self.pods)
        self.connect(self.pods, watching.alerting, *watching.beside.values())
        for scrape in spec.scrapes:
            if scrape.pods != self.pods:
                self.connect(self.pods, Endpoint(scrape.pods, "", scrape.port.number, scrape.port))
        for namespace in watching.namespaces:
            self._finds_pods(namespace)
        self._asks_kubelets()
        self.keeps("what has been measured", f"PersistentVolumeClaim {data.name}", "Nothing: it measures anew, and what was is gone.")

    def _asks_kubelets(self) -> None:
        """It may find nodes and read their kubelets' metrics: how full volumes are, and nothing of what is in them."""
        name, subject = f"{self.place.namespace}-{self.name}", k8s.Subject(kind="ServiceAccount", name=self.name, namespace=self.namespace)
        rules = [
            k8s.PolicyRule(api_groups=[""], resources=["nodes"], verbs=["get", "list", "watch"]),
            k8s.PolicyRule(api_groups=[""], resources=["nodes/metrics"], verbs=["get"]),
        ]
        role = k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=name)
        self.add("rbac.yaml", k8s.KubeClusterRole, name, cluster_wide=True, rules=rules)
        self.add("rbac.yaml", k8s.KubeClusterRoleBinding, name, cluster_wide=True, role_ref=role, subjects=[subject])
        self.connect(self.pods, External(KUBELETS, (_KUBELET,), self.installation.facts.cluster.node_cidrs))

    def _finds_pods(self, namespace: str) -> None:
        """It may look which pods a namespace has, and nothing else."""
        name, labels = f"{self.name}-finds-pods", self.labels()
        rules = [k8s.PolicyRule(api_groups=[""], resources=["pods"], verbs=["get", "list", "watch"])]
        role = k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name)
        subject = k8s.Subject(kind="ServiceAccount", name=self.name, namespace=self.namespace)
        file = self.path("rbac.yaml")
        self.installation.add(self, file, k8s.KubeRole, name=name, namespace=namespace, labels=labels, rules=rules)
        self.installation.add(
            self, file, k8s.KubeRoleBinding, name=name, namespace=namespace, labels=labels, role_ref=role, subjects=[subject]
        )


def _share(volume: Bytes) -> str:
    """Four fifths of a volume, as Prometheus writes sizes: its units are powers of 1024."""
    return f"{volume.count * 4 // 5 // 2**20}MB"
