"""Object storage that others run: any S3."""

from infrastructure.object_storage.options import OBJECT_STORAGE, ExternalOptions
from infrastructure.object_storage.s3 import Authority, Bucket, Credentials, credentials_secret, peer
from kit.component import Component
from kit.installation import Installation
from kit.place import Place
from kit.secrets import Change, Fixed, Form, Given

NEW_KEYS = Change(
    "As your storage has it; let the old pair be valid until the clients have the new one.",
    "`media`: restart `media-repository`; `logs`: restart `loki`; `reader`: restart `synapse-li`. The others: nothing, they are read for each "
    "run, or within minutes.",
)


class ExternalStorage(Component):
    """Deploys nothing: it says what its clients must know, and which keys the operator of the site has to give.

    `way`: the name of the way out that leads to it, which its Secrets have too.
    """

    directory = "03-object-storage"

    def __init__(self, installation: Installation, place: Place, options: ExternalOptions, way: str = OBJECT_STORAGE) -> None:
        super().__init__(installation, way, place)
        self._options = options
        self._way = way

    def bucket(self, name: str, user: str, may: str = "read and write") -> Bucket:
        """A bucket as one of its users sees it, whose keys are thereby declared. `may`: what the user does with it."""
        options = self._options
        keys = credentials_secret(
            f"{self._way}-user-{user}",
            self.namespace,
            Given(f"Access key that may {may} the bucket {name}", Form.LINE),
            Given(f"Secret key of the access key for the bucket {name}", Form.LINE),
            Fixed(options.region),
        )
        authority = Authority(options.ca_secret, "ca.crt") if options.ca_secret else None
        secret = self.secret(keys, dict.fromkeys(keys.kept, NEW_KEYS))
        behind = peer(self._way, options.endpoint, options.pods)
        return Bucket(name, options.endpoint, options.region, Credentials(secret), behind, authority)
