"""kube-state-metrics: what the Kubernetes API says of the platform's objects, as metrics."""

from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, PodSpec, Probe
from kit.quantities import Resources, mib, millicores

HTTP = Port("http", 8080)
OWN = Port("own", 8081)

RESOURCES = {
    "": ("persistentvolumeclaims", "pods"),
    "apps": ("daemonsets", "deployments", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
}
"""What it looks at, by API group: nothing that is secret."""


class KubeStateMetrics(Component):
    """One is enough: it keeps nothing, and reads all anew when it starts."""

    directory = "05-kube-state-metrics"
    noticed = "nothing"

    def __init__(self, installation: Installation, place: Place, namespaces: tuple[str, ...]) -> None:
        super().__init__(installation, "kube-state-metrics", place)
        container = Container(
            name=self.name,
            image=image("kube-state-metrics"),
            args=(
                f"--resources={','.join(sorted(name for names in RESOURCES.values() for name in names))}",
                f"--namespaces={','.join(namespaces)}",
                f"--port={HTTP.number}",
                f"--telemetry-port={OWN.number}",
            ),
            ports=(HTTP, OWN),
            readiness=Probe.http("/readyz", "own"),
            liveness=Probe.http("/livez", "http"),
            resources=Resources(millicores(10), mib(48), mib(256)),
        )
        pod = PodSpec(containers=(container,), mounts_token=True)
        watchers = self.deployment("deployment.yaml", self.name, pod, part=self.name, replicas=1)
        self.calls_api_server(watchers.pods)
        for namespace in namespaces:
            self._sees(namespace)
        self.offers_metrics(self.pods, HTTP, series=120, of_others=True)

    def _sees(self, namespace: str) -> None:
        """It may see what a namespace has of these, and nothing else."""
        name, labels, file = f"{self.name}-sees", self.labels(), self.path("rbac.yaml")
        rules = [
            k8s.PolicyRule(api_groups=[group], resources=list(resources), verbs=["list", "watch"]) for group, resources in RESOURCES.items()
        ]
        role = k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name)
        subject = k8s.Subject(kind="ServiceAccount", name=self.name, namespace=self.namespace)
        self.installation.add(self, file, k8s.KubeRole, name=name, namespace=namespace, labels=labels, rules=rules)
        self.installation.add(
            self, file, k8s.KubeRoleBinding, name=name, namespace=namespace, labels=labels, role_ref=role, subjects=[subject]
        )
