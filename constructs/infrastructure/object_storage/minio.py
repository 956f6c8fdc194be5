"""MinIO: a tenant of its own for each instance, with buckets whose users may do what they must and no more."""

from typing import Any

from attrs import frozen
from cdk8s_plus_34 import k8s

from infrastructure.object_storage.s3 import Bucket, Credentials, credentials_secret
from infrastructure.operators import MINIO_OPERATOR
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Pods, Port
from kit.objects import CustomResource
from kit.quantities import Bytes, Resources
from kit.rendering import Tuning
from kit.secrets import Composed, Fixed, RandomText, SecretSpec

API = Port("minio-port", 9000)
REGION = "us-east-1"
"""MinIO's own default: a name that clients must sign with, and no place."""


class Tenant(CustomResource):
    """The Tenant kind of the MinIO operator. Its typed class is not generated: the CRD is AGPL-3.0."""

    resource_version = "minio.min.io/v2"
    resource_kind = "Tenant"


@frozen
class MinioSpec:
    """One tenant. `nodes` x `drives` volumes; `parity` of an erasure set may be lost."""

    name: str
    namespace: str
    file: str
    nodes: int
    drives: int
    drive: Bytes
    parity: int
    resources: Resources
    storage_class: str | None = None
    image: str | None = None
    """Instead of the image of the lock."""
    one_per_node: bool = False
    """Never two servers on one node. Otherwise they are apart as far as there are nodes: on three nodes two must share one, and a server
    whose volumes are local could never start again where another one already is."""


class MinioOperatorRelease(Component):
    """The release of the operator that the Tenants are made for, by reference, for tools that install it."""

    folder = "infrastructure/03-minio"

    def __init__(self, installation: Installation, namespace: str) -> None:
        super().__init__(installation, "minio-operator-release", namespace)
        self.add("operator.yaml", k8s.KubeConfigMap, self.name, data=MINIO_OPERATOR.release())


class MinioTenant(Component):
    """Erasure-coded object storage on volumes of the cluster: any node may fail, and with EC:4 any four drives of a set."""

    folder = "infrastructure/03-minio"
    priority = Priority.DATA

    def __init__(self, installation: Installation, spec: MinioSpec) -> None:
        super().__init__(installation, spec.name, spec.namespace)
        self.pods = Pods(spec.name, spec.namespace, (("v1.min.io/tenant", spec.name),))
        # The operator makes this Service, with this name and port, for a tenant without TLS (minio/operator, names.go, minio-services.go).
        host = installation.facts.service_host("minio", spec.namespace)
        self.api = Endpoint(self.pods, host, 80, API)
        self.url = f"http://{host}"
        self.region = REGION
        self.root = self.secret(_root_secret(spec))
        self.add(
            spec.file, Tenant, spec.name, tuning=Tuning(f"config/minio/{spec.file}", ("image", "pools", "env")), spec=self._tenant(spec)
        )
        self.connect(self.pods, self.api)
        self.connect(MINIO_OPERATOR.pods, self.api)
        self.calls_api_server(self.pods)

    def bucket(self, name: str, user: str) -> Bucket:
        """A bucket of this tenant as one of its users sees it, whose keys are thereby declared."""
        keys = credentials_secret(f"{self.name}-user-{user}", self.namespace, Fixed(user), RandomText(40), Fixed(REGION))
        return Bucket(name, self.url, REGION, Credentials(self.secret(keys).name), self.api)

    def _tenant(self, spec: MinioSpec) -> dict[str, Any]:
        image_user = image("minio").user
        claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(spec.drive)}}}
        if spec.storage_class:
            claim["storageClassName"] = spec.storage_class
        pool = {
            "name": "pool-0",
            "servers": spec.nodes,
            "volumesPerServer": spec.drives,
            "volumeClaimTemplate": {"metadata": {"name": "data"}, "spec": claim},
            "resources": {
                "requests": {"cpu": str(spec.resources.cpu), "memory": str(spec.resources.memory)},
                "limits": {"memory": str(spec.resources.memory_limit)},
            },
            "affinity": {"podAntiAffinity": _apart(dict(self.pods.labels), spec.one_per_node)},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": image_user,
                "runAsGroup": image_user,
                "fsGroup": image_user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containerSecurityContext": {
                "runAsNonRoot": True,
                "runAsUser": image_user,
                "runAsGroup": image_user,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        tenant: dict[str, Any] = {
            "image": spec.image or self.installation.facts.pulls(image("minio")),
            "imagePullPolicy": "IfNotPresent",
            "configuration": {"name": self.root.name},
            "requestAutoCert": False,
            "podManagementPolicy": "Parallel",
            "mountPath": "/export",
            "priorityClassName": Priority.DATA.value,
            "env": [
                # Fixed when the first drive is formatted; MinIO refuses to start where the set is too small for it.
                {"name": "MINIO_STORAGE_CLASS_STANDARD", "value": f"EC:{spec.parity}"},
                {"name": "MINIO_BROWSER", "value": "off"},
                {"name": "MINIO_PROMETHEUS_AUTH_TYPE", "value": "public"},
            ],
            "pools": [pool],
        }
        if self.installation.facts.pull_secrets:
            tenant["imagePullSecret"] = {"name": self.installation.facts.pull_secrets[0]}
        return tenant


def _apart(labels: dict[str, str], required: bool) -> dict[str, Any]:
    """The rule that keeps the servers of a tenant on different nodes, or the wish."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    if required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}


def _root_secret(spec: MinioSpec) -> SecretSpec:
    """The tenant's root user, as the operator reads it (Tenant.spec.configuration: key config.env) and by key for the bucket Job."""
    return SecretSpec(
        f"{spec.name}-root",
        spec.namespace,
        {
            "access-key": Fixed("root"),
            "secret-key": RandomText(40),
            "config.env": Composed("export MINIO_ROOT_USER={access-key}\nexport MINIO_ROOT_PASSWORD={secret-key}\n"),
        },
    )
