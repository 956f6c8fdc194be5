"""The Job that makes a store's buckets and their users, each with no more rights than its program uses."""

from attrs import frozen

from infrastructure.object_storage.policies import ADMINISTRATOR, KEYS_FOLDER, BucketUser, ProvisionedBucket, Provisioning, Storage
from infrastructure.object_storage.s3 import Bucket
from infrastructure.object_storage.store import Store
from infrastructure.programs import program
from kit.component import Component
from kit.installation import Installation
from kit.pods import Mount, PodSpec, SecretFiles
from kit.quantities import Resources, mib, millicores

_KEYS = (("access-key", "access-key"), ("secret-key", "secret-key"))


@frozen
class BucketsSpec:
    """The buckets of one store; `users` uses each bucket as its user does, by the Secret with its keys."""

    buckets: tuple[ProvisionedBucket, ...]
    users: tuple[tuple[BucketUser, Bucket], ...]


class Buckets(Component):
    """Idempotent: what is missing is made, what differs is set right, nothing is ever deleted."""

    directory = "03-minio"
    config_directory = "minio/provision"
    together = True

    def __init__(self, installation: Installation, store: Store, spec: BucketsSpec) -> None:
        super().__init__(installation, f"{store.name}-buckets", store.place)
        storage = Storage(store.url, store.region)
        text = Provisioning(storage, spec.buckets, tuple(user for user, _ in spec.users)).request()
        keys = [Mount(SecretFiles(store.root.name, items=_KEYS), f"{KEYS_FOLDER}/{ADMINISTRATOR}")]
        keys += [Mount(SecretFiles(bucket.credentials.secret, items=_KEYS), user.keys) for user, bucket in spec.users]
        container = program(self, "buckets", "provision", text, Resources(millicores(50), mib(128), mib(512)), tuple(keys))
        pod = PodSpec(containers=(container,), restart_policy="OnFailure")
        job = self.job("buckets.yaml", self.name, pod, part=self.name, backoff_limit=20)
        self.connect(job.pods, store.api)
