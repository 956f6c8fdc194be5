"""The operators that the platform stands on: installed once per cluster by its administrators, from upstream's own charts."""

from attrs import frozen

from kit.network import Pods, Port


@frozen
class Operator:
    """One operator: the release that the platform's objects are made for, and its pods, which come to ours.

    `labels` choose its pods within its namespace; empty where upstream's chart and manifests label them differently.
    """

    name: str
    version: str
    chart_repository: str
    chart: str
    namespace: str
    licence: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def pods(self) -> Pods:
        """The operator's pods."""
        return Pods(self.name, self.namespace, self.labels)


CLOUDNATIVE_PG = Operator(
    name="cloudnative-pg",
    version="1.30.0",
    chart_repository="https://cloudnative-pg.github.io/charts",
    chart="cloudnative-pg",
    namespace="cnpg-system",
    licence="Apache-2.0",
    labels=(("app.kubernetes.io/name", "cloudnative-pg"),),
)
BARMAN_CLOUD_PLUGIN = Operator(
    name="barman-cloud-plugin",
    version="0.14.0",
    chart_repository="https://cloudnative-pg.github.io/charts",
    chart="plugin-barman-cloud",
    namespace="cnpg-system",
    licence="Apache-2.0",
)
MINIO_OPERATOR = Operator(
    name="minio-operator",
    version="7.1.1",
    chart_repository="https://operator.min.io",
    chart="operator",
    namespace="minio-operator",
    licence="AGPL-3.0-only",
)

INSTANCE_STATUS = Port("status", 8000)
"""CloudNativePG's instance manager: the operator and the other instances ask it how the instance is."""
