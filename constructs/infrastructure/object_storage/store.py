"""A MinIO of the platform, however its servers come to be: its root user, its address, and its buckets as each of their users sees them."""

from typing import ClassVar

from attrs import evolve

from infrastructure.object_storage.alerts import ALERTS
from infrastructure.object_storage.s3 import Bucket, Credentials, credentials_secret
from kit.component import Component, NewRelease, Priority
from kit.installation import Installation
from kit.network import Endpoint, Pods, Port
from kit.place import Place
from kit.secrets import Change, Composed, Fixed, RandomText, SecretSpec

API = Port("minio-port", 9000)
REGION = "us-east-1"
"""MinIO's own default: a name that clients must sign with, and no place."""
SETTINGS = {"MINIO_BROWSER": "off", "MINIO_PROMETHEUS_AUTH_TYPE": "public", "MINIO_UPDATE": "off"}
"""No console, which would be one more way in with the root user's password; metrics for whom the network policies let in; and no program in
place of the image's own: the operator would put it there (main-controller.go, ServerUpdate), signed by MinIO's maker."""
MOUNT = "/export"
"""Where drives are: `/export0` and so on, `/export` where there is but one."""

NEW_USER_KEY = Change(
    "Old and new are never valid together: from the bucket Job until the client has the new one it is refused.",
    "Run the bucket Job. `media`: restart `media-repository`; `logs`: restart `loki`; `reader`: restart `synapse-li`. The others: nothing, they "
    "are read for each run, or within minutes.",
)

# A Tenant's pods have its labels (minio/operator, statefulsets.PodMetadata).
NEW_ROOT_KEY = Change(
    "The servers authenticate to each other with it: with two of them there is no storage.",
    "Delete all its pods at once (`-l app.kubernetes.io/name=<name>`): media and archiving pause for a minute. Then run the bucket Job.",
)


class Store(Component):
    """Erasure-coded object storage on volumes of the cluster: any node may fail, and with EC:4 any four drives of a set.

    It is called through the Service `minio`, as the operator calls that of every tenant, so that each has a namespace of its own. Names,
    claims and Secrets are the same in every subclass: a site goes from one to the other, and the data stays where it is.
    """

    directory = "03-minio"
    noticed = "nothing while the other servers of the pool are up; an upload that is cut is tried again"
    new_release = NewRelease("media and archiving pause for a minute", of_one=True)
    config_directory = "minio"
    together = True
    priority = Priority.DATA
    pods_label: ClassVar[str]
    """The label of the servers whose value is the name of the store."""
    restored: ClassVar[str] = "Nothing but a copy that you make of its buckets: docs/05-BACKUP-RESTORE.md."

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, f"minio-{place.instance}", place)
        self.pods = Pods(self.name, self.namespace, ((self.pods_label, self.name),))
        host = installation.facts.service_host("minio", self.namespace)
        self.api = Endpoint(self.pods, host, 80, API)
        self.url = f"http://{host}"
        self.region = REGION
        self.root = self.secret(_root_secret(f"{self.name}-root", self.namespace), {"secret-key": NEW_ROOT_KEY})
        self.connect(self.pods, self.api)
        # Open to whoever may connect: MINIO_PROMETHEUS_AUTH_TYPE.
        self.offers_metrics(self.pods, API, "/minio/v2/metrics/cluster", series=500)
        self.alerts(*ALERTS)

    def bucket(self, name: str, user: str) -> Bucket:
        """A bucket of this store as one of its users sees it, whose keys are thereby declared."""
        keys = credentials_secret(f"{self.name}-user-{user}", self.namespace, Fixed(user), RandomText(40), Fixed(REGION))
        return Bucket(name, self.url, REGION, Credentials(self.secret(keys, {"secret-key": NEW_USER_KEY})), self.api)

    def seen_from(self, namespace: str, bucket: Bucket) -> Bucket:
        """The same bucket for a client in another namespace, where its keys are declared once more."""
        keys = bucket.credentials.within(namespace)
        self.secret(keys.spec)
        return evolve(bucket, credentials=keys)


def _root_secret(name: str, namespace: str) -> SecretSpec:
    """The root user, as the servers read it (`config.env`) and by key for the bucket Job."""
    return SecretSpec(
        name,
        namespace,
        {
            "access-key": Fixed("root"),
            "secret-key": RandomText(40),
            "config.env": Composed("export MINIO_ROOT_USER={access-key}\nexport MINIO_ROOT_PASSWORD={secret-key}\n"),
        },
    )
