"""Who may look at and change the operators' resources: what upstream's own roles leave out, for the people who run the platform."""

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.installation import Installation
from kit.place import Place

_READ = ["get", "list", "watch"]
_CHANGE = ["create", "update", "patch", "delete"]


@frozen
class ResourceAccess:
    """Resources of one operator. Who has Kubernetes' `view` role may read them, who has `edit` may also change them (role aggregation).

    `unchangeable`: only read, even with `edit`: the operator alone writes them.
    """

    operator: str
    group: str
    resources: tuple[str, ...]
    unchangeable: tuple[str, ...] = ()


# CloudNativePG's and MinIO's charts define no roles that aggregate to `view` and `edit`; cert-manager's do, but leave out
# the status of certificates, by which `cmctl renew` asks for a renewal.
ACCESS = (
    ResourceAccess(
        "cloudnative-pg",
        "postgresql.cnpg.io",
        ("backups", "clusters", "databases", "databaseroles", "poolers", "publications", "scheduledbackups", "subscriptions"),
        unchangeable=("failoverquorums",),
    ),
    ResourceAccess("minio-operator", "minio.min.io", ("tenants",)),
    ResourceAccess("cert-manager", "cert-manager.io", ("certificates/status",)),
)


class OperatorAccess(Component):
    """Cluster roles that let people with `view` and `edit` in a namespace see and change what the operators run there."""

    directory = "rbac"

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, "operator-access", place)
        for access in ACCESS:
            every = [*access.resources, *access.unchangeable]
            self._role(access, "view", every, _READ)
            self._role(access, "edit", list(access.resources), _CHANGE)

    def _role(self, access: ResourceAccess, level: str, resources: list[str], verbs: list[str]) -> None:
        self.add(
            f"{access.operator}-rbac.yaml",
            k8s.KubeClusterRole,
            self.installation.facts.cluster_wide(f"platform-{access.operator}-{level}"),
            cluster_wide=True,
            # Kubernetes' own `edit` takes in `view`, and `admin` takes in `edit`.
            extra_labels={f"rbac.authorization.k8s.io/aggregate-to-{level}": "true"},
            rules=[k8s.PolicyRule(api_groups=[access.group], resources=resources, verbs=verbs)],
        )
