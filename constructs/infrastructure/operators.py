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
class OperatorImage:
    """An image that an operator runs, or lets run. `values`: the key of the chart below which it can be had from elsewhere."""

    reference: str
    values: str | None = None

    def mirrored(self, mirror: str | None) -> str:
        """The reference with the mirror in place of the registry's host."""
        return f"{mirror}/{self.reference.partition('/')[2]}" if mirror else self.reference


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
    images: tuple[OperatorImage, ...] = ()
    noticed: str = ""
    """What people notice of another release of it, if they do."""

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


_REPLACES_DATABASES = "the pods of every database are replaced, standbys first: sending waits for seconds, at the switchover"

CERT_MANAGER = Operator(
    name="cert-manager",
    version="1.21.1",
    namespace="cert-manager",
    licence="Apache-2.0",
    purpose="certificates of the hosts, and of the barman-cloud plugin",
    chart=Chart("https://charts.jetstack.io", "cert-manager", "v1.21.1"),
    settings=("crds.enabled=true",),
    # cert-manager: deploy/charts/cert-manager/values.yaml
    images=(
        OperatorImage("quay.io/jetstack/cert-manager-controller:v1.21.1", "image"),
        OperatorImage("quay.io/jetstack/cert-manager-webhook:v1.21.1", "webhook.image"),
        OperatorImage("quay.io/jetstack/cert-manager-cainjector:v1.21.1", "cainjector.image"),
        OperatorImage("quay.io/jetstack/cert-manager-acmesolver:v1.21.1", "acmesolver.image"),
        OperatorImage("quay.io/jetstack/cert-manager-startupapicheck:v1.21.1", "startupapicheck.image"),
    ),
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
    images=(OperatorImage("ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0", "image"),),
    noticed=_REPLACES_DATABASES,
)
BARMAN_CLOUD_PLUGIN = Operator(
    name="barman-cloud-plugin",
    version="0.14.0",
    namespace="cnpg-system",
    licence="Apache-2.0",
    purpose="backups of PostgreSQL and its write-ahead log",
    manifest="https://github.com/cloudnative-pg/plugin-barman-cloud/releases/download/v0.14.0/manifest.yaml",
    # The first is its Deployment's; the second is named in a Secret, for the sidecar of each database (its kubernetes/kustomization.yaml).
    images=(
        OperatorImage("ghcr.io/cloudnative-pg/plugin-barman-cloud:v0.14.0"),
        OperatorImage("ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar:v0.14.0"),
    ),
    noticed=_REPLACES_DATABASES,
)
# minio/operator: helm/operator/Chart.yaml
MINIO_OPERATOR = Operator(
    name="minio-operator",
    version="7.1.1",
    namespace="minio-operator",
    licence="AGPL-3.0-only",
    purpose="object storage, unless you bring an S3",
    chart=Chart("https://operator.min.io", "operator", "7.1.1"),
    # helm/operator/values.yaml; the second runs beside each server of a Tenant (pkg/resources/statefulsets/minio-sidecar.go,
    # DefaultSidecarImage: older than the operator, and its tag in the values' comments is not what runs).
    images=(
        OperatorImage("quay.io/minio/operator:v7.1.1", "operator.image"),
        OperatorImage("quay.io/minio/operator-sidecar:v7.0.1", "operator.sidecarImage"),
    ),
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
    images=(OperatorImage("docker.io/library/traefik:v3.7.11", "image"),),
)
KEDA = Operator(
    name="keda",
    version="2.21.0",
    namespace="keda",
    licence="Apache-2.0",
    purpose="numbers of workers by what Prometheus measures, if you choose `monitoring.keda`",
    manifest="https://github.com/kedacore/keda/releases/download/v2.21.0/keda-2.21.0.yaml",
    # kedacore/keda: config/{manager,metrics-server,webhooks}
    images=(
        OperatorImage("ghcr.io/kedacore/keda:2.21.0"),
        OperatorImage("ghcr.io/kedacore/keda-metrics-apiserver:2.21.0"),
        OperatorImage("ghcr.io/kedacore/keda-admission-webhooks:2.21.0"),
    ),
)

OPERATORS = (CERT_MANAGER, CLOUDNATIVE_PG, BARMAN_CLOUD_PLUGIN, MINIO_OPERATOR, TRAEFIK, KEDA)
"""In the order of installation."""

INSTANCE_STATUS = Port("status", 8000)
"""CloudNativePG's instance manager: the operator and the other instances ask it how the instance is."""
