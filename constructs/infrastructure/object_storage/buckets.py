"""The Job that makes a tenant's buckets and their users, each with no more rights than its program uses."""

from importlib import resources

from attrs import frozen

from infrastructure.object_storage.minio import MinioTenant
from infrastructure.object_storage.policies import ADMINISTRATOR, KEYS_FOLDER, BucketUser, ProvisionedBucket, Provisioning, Storage
from infrastructure.object_storage.s3 import Bucket
from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.pods import Container, Mount, PodSpec, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores

_PROGRAM = "/opt/matrix-platform"
_REQUEST = "/etc/buckets-request"
_FILES = ("__init__.py", "provision.py", "request.py", "storage.py")
_KEYS = (("access-key", "access-key"), ("secret-key", "secret-key"))


@frozen
class BucketsSpec:
    """The buckets of one tenant; `users` uses each bucket as its user does, by the Secret with its keys."""

    tenant: str
    buckets: tuple[ProvisionedBucket, ...]
    users: tuple[tuple[BucketUser, Bucket], ...]


class Buckets(Component):
    """Idempotent: what is missing is made, what differs is set right, nothing is ever deleted."""

    folder = "infrastructure/03-minio"

    def __init__(self, installation: Installation, tenant: MinioTenant, spec: BucketsSpec) -> None:
        super().__init__(installation, f"{spec.tenant}-buckets", tenant.namespace)
        storage = Storage(tenant.url, tenant.region)
        text = Provisioning(storage, spec.buckets, tuple(user for user, _ in spec.users)).request()
        program = program_files()
        code = self.config(f"{spec.tenant}-provision", {name: (f"minio/provision/{name}", body) for name, body in program.items()})
        request = self.config(f"{spec.tenant}-buckets", {"request.json": (f"minio/{spec.tenant}-buckets.json", text)})
        keys = [Mount(SecretFiles(tenant.root.name, items=_KEYS), f"{KEYS_FOLDER}/{ADMINISTRATOR}")]
        keys += [Mount(SecretFiles(bucket.credentials.secret, items=_KEYS), user.keys) for user, bucket in spec.users]
        container = Container(
            name="provision",
            image=image("synapse"),
            command=("python", "-m", "services.buckets.provision", f"{_REQUEST}/request.json"),
            env={"PYTHONPATH": _PROGRAM, "PYTHONDONTWRITEBYTECODE": "1"},
            mounts=(
                Mount(code, f"{_PROGRAM}/services/buckets"),
                Mount(request, _REQUEST),
                *keys,
                Mount(Scratch("tmp", mib(16)), "/tmp"),
            ),
            resources=Resources(millicores(50), mib(128), mib(512)),
        )
        pod = PodSpec(containers=(container,), restart_policy="OnFailure")
        job = self.job("buckets.yaml", self.name, pod, part=self.name, backoff_limit=20)
        self.connect(job.pods, tenant.api)


def program_files() -> dict[str, str]:
    """The text of the program's files, by name."""
    return {name: (resources.files("services.buckets") / name).read_text() for name in _FILES}
