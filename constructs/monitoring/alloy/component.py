"""Grafana Alloy: it reads what all pods say and hands it to Loki."""

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.place import Place
from kit.pods import Claim, Container, Mount, PodSpec, Probe, Scratch
from kit.quantities import gib, mib
from monitoring.alloy.configuration import AlloySpec, alloy_config
from monitoring.loki.size import LogsSize

HTTP = Port("http", 12345)
_FILES, _DATA = "/etc/alloy", "/var/lib/alloy"


@frozen
class Reading:
    """Whose pods are read, where what they say goes, and of which it goes to the tenant for audits."""

    namespaces: tuple[str, ...]
    audited_namespaces: tuple[str, ...]
    audited_jobs: tuple[str, ...]
    loki: Endpoint
    size: LogsSize


class Alloy(Component):
    """One reader, by the API of Kubernetes: it has no access to nodes. Where it was in each log is on its volume."""

    directory = "05-alloy"
    noticed = "nothing: lines wait where they are"

    def __init__(self, installation: Installation, place: Place, reading: Reading) -> None:
        super().__init__(installation, "alloy", place)
        spec = AlloySpec(reading.namespaces, f"http://{reading.loki.address}", reading.audited_namespaces, reading.audited_jobs)
        files = self.config(self.name, {"config.alloy": alloy_config(spec)})
        data = Claim("data", gib(1), self.installation.facts.storage_classes.default)
        container = Container(
            name="alloy",
            image=image("alloy"),
            args=(
                "run",
                f"{_FILES}/config.alloy",
                f"--storage.path={_DATA}",
                f"--server.http.listen-addr=0.0.0.0:{HTTP.number}",
                "--server.http.enable-pprof=false",
                "--server.http.disable-support-bundle=true",
                "--disable-reporting",
            ),
            ports=(HTTP,),
            mounts=(Mount(files, _FILES), Mount(data, _DATA), Mount(Scratch("tmp", mib(64)), "/tmp")),
            readiness=Probe.http("/-/ready", "http", period_seconds=5),
            # Not /-/healthy, which fails with Loki or with the API server, and a new start would mend neither.
            liveness=Probe.tcp("http", period_seconds=15, failures=6),
            resources=reading.size.reader,
        )
        pod = PodSpec(containers=(container,), mounts_token=True)
        readers = self.stateful_set(
            "statefulset.yaml", self.name, pod, part=self.name, replicas=1, governing_service=self.name, claims=(data,)
        )
        self.service("service.yaml", self.name, readers, {"http": HTTP.number}, headless=True, publish_not_ready=True)
        self.calls_api_server(self.pods)
        self.connect(self.pods, reading.loki)
        self.offers_metrics(self.pods, HTTP, series=2_000)
        for namespace in reading.namespaces:
            self._reads_logs(namespace)
        self.keeps(
            "where it was in each log",
            f"StatefulSet {self.name}",
            "Nothing: it reads again what nodes still have, and Loki knows the lines.",
        )

    def _reads_logs(self, namespace: str) -> None:
        """It may see which pods a namespace has, and read what they say."""
        name, labels, file = f"{self.name}-reads-logs", self.labels(), self.path("rbac.yaml")
        rules = [
            k8s.PolicyRule(api_groups=[""], resources=["pods"], verbs=["get", "list", "watch"]),
            k8s.PolicyRule(api_groups=[""], resources=["pods/log"], verbs=["get"]),
        ]
        role = k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name)
        subject = k8s.Subject(kind="ServiceAccount", name=self.name, namespace=self.namespace)
        self.installation.add(self, file, k8s.KubeRole, name=name, namespace=namespace, labels=labels, rules=rules)
        self.installation.add(
            self, file, k8s.KubeRoleBinding, name=name, namespace=namespace, labels=labels, role_ref=role, subjects=[subject]
        )
