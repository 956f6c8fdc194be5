"""The programs that the platform stands on: installed once per cluster by its administrators, from upstream's own releases."""

from attrs import frozen

from kit.network import Pods, Port


@frozen
class Chart:
    """A Helm chart, by reference."""

    repository: str
    name: str
    version: str


@frozen
class Operator:
    """One of them: the release that the platform's objects are made for, and its pods, which come to ours.

    It is installed from `chart`, or by applying `manifest`. `labels` choose its pods within its namespace; empty where upstream's chart
    and manifests label them differently.
    """

    name: str
    version: str
    namespace: str
    licence: str
    purpose: str
    chart: Chart | None = None
    manifest: str | None = None
    settings: tuple[str, ...] = ()
    values: str | None = None
    """A file with values for the chart, which the documentation shows."""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def pods(self) -> Pods:
        """The operator's pods."""
        return Pods(self.name, self.namespace, self.labels)

    @property
    def command(self) -> str:
        """How it is installed."""
        if self.chart is None:
            return f"kubectl apply --server-side -f {self.manifest}"
        chart = self.chart
        where = f"--repo {chart.repository} --version {chart.version} --namespace {self.namespace} --create-namespace"
        values = [f"--values {self.values}"] if self.values else []
        return " ".join([f"helm install {self.name} {chart.name}", where, *(f"--set {setting}" for setting in self.settings), *values])

    def release(self) -> dict[str, str]:
        """The chart as the data of a ConfigMap, for tools that install it. Raises ValueError where there is none."""
        if self.chart is None:
            raise ValueError(f"{self.name} is not installed from a chart")
        return {"repository": self.chart.repository, "chart": self.chart.name, "version": self.chart.version, "namespace": self.namespace}


CERT_MANAGER = Operator(
    name="cert-manager",
    version="1.21.1",
    namespace="cert-manager",
    licence="Apache-2.0",
    purpose="certificates of the hosts, and of the barman-cloud plugin",
    chart=Chart("https://charts.jetstack.io", "cert-manager", "v1.21.1"),
    settings=("crds.enabled=true",),
)
CERT_MANAGER_METRICS = Port("http-metrics", 9402)
"""Of cert-manager's controller, and of the Service `cert-manager` of its chart (deploy/charts/cert-manager/templates/service.yaml)."""
# cloudnative-pg/charts: charts/cloudnative-pg/Chart.yaml
CLOUDNATIVE_PG = Operator(
    name="cloudnative-pg",
    version="1.30.0",
    namespace="cnpg-system",
    licence="Apache-2.0",
    purpose="PostgreSQL",
    chart=Chart("https://cloudnative-pg.github.io/charts", "cloudnative-pg", "0.29.0"),
    labels=(("app.kubernetes.io/name", "cloudnative-pg"),),
)
BARMAN_CLOUD_PLUGIN = Operator(
    name="barman-cloud-plugin",
    version="0.14.0",
    namespace="cnpg-system",
    licence="Apache-2.0",
    purpose="backups of PostgreSQL and its write-ahead log",
    manifest="https://github.com/cloudnative-pg/plugin-barman-cloud/releases/download/v0.14.0/manifest.yaml",
)
# minio/operator: helm/operator/Chart.yaml
MINIO_OPERATOR = Operator(
    name="minio-operator",
    version="7.1.1",
    namespace="minio-operator",
    licence="AGPL-3.0-only",
    purpose="object storage, unless you bring an S3",
    chart=Chart("https://operator.min.io", "operator", "7.1.1"),
)
# traefik/traefik-helm-chart: traefik/Chart.yaml
TRAEFIK = Operator(
    name="traefik",
    version="3.7.11",
    namespace="traefik",
    licence="MIT",
    purpose="the way in, unless you have another ingress controller or a Gateway",
    chart=Chart("https://traefik.github.io/charts", "traefik", "41.3.0"),
    values="traefik-values.yaml",
)
KEDA = Operator(
    name="keda",
    version="2.21.0",
    namespace="keda",
    licence="Apache-2.0",
    purpose="numbers of workers by what Prometheus measures, if you choose `monitoring.keda`",
    manifest="https://github.com/kedacore/keda/releases/download/v2.21.0/keda-2.21.0.yaml",
)

OPERATORS = (CERT_MANAGER, CLOUDNATIVE_PG, BARMAN_CLOUD_PLUGIN, MINIO_OPERATOR, TRAEFIK, KEDA)
"""In the order of installation."""

INSTANCE_STATUS = Port("status", 8000)
"""CloudNativePG's instance manager: the operator and the other instances ask it how the instance is."""
