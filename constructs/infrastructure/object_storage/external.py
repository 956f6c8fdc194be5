"""Object storage that others run: any S3."""

from attrs import frozen

from infrastructure.object_storage.s3 import Authority, Bucket, Credentials, credentials_secret, outside
from kit.component import Component
from kit.installation import Installation
from kit.secrets import Fixed, Given


@frozen
class ExternalSpec:
    """Where the storage is. `authority_secret`: a Secret whose `ca.crt` is the authority of its certificate; None for a public one."""

    endpoint: str
    region: str
    authority_secret: str | None = None


class ExternalStorage(Component):
    """Deploys nothing: it says what its clients must know, and which keys the operator of the site has to give."""

    folder = "infrastructure/03-object-storage"

    def __init__(self, installation: Installation, namespace: str, spec: ExternalSpec) -> None:
        super().__init__(installation, "object-storage", namespace)
        self._spec = spec

    def bucket(self, name: str, user: str) -> Bucket:
        """A bucket as one of its users sees it, whose keys are thereby declared."""
        spec = self._spec
        keys = credentials_secret(
            f"object-storage-user-{user}",
            self.namespace,
            Given(f"Access key that may read and write the bucket {name}"),
            Given(f"Secret key of the access key for the bucket {name}"),
            Fixed(spec.region),
        )
        authority = Authority(spec.authority_secret, "ca.crt") if spec.authority_secret else None
        return Bucket(name, spec.endpoint, spec.region, Credentials(self.secret(keys).name), outside(spec.endpoint), authority)
