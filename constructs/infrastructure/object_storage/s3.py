"""The one interface to object storage: what a client of a bucket must know, whoever serves it."""

from ipaddress import ip_network
from urllib.parse import urlsplit

from attrs import evolve, frozen

from kit.formats import OthersPods
from kit.network import Endpoint, External, Pods, Port
from kit.secrets import Composed, Recipe, SecretSpec, Shared


@frozen
class Credentials:
    """A Secret with a bucket user's keys, in every form that a client reads: the fields are keys of the Secret.

    `shared_file` holds both keys as an AWS shared credentials file.
    """

    spec: SecretSpec
    access_key: str = "access-key"
    secret_key: str = "secret-key"
    region: str = "region"
    shared_file: str = "credentials"

    @property
    def secret(self) -> str:
        """The Secret's name."""
        return self.spec.name

    def within(self, namespace: str) -> "Credentials":
        """The same keys for a client in another namespace, which mounts a Secret of its own."""
        if namespace == self.spec.namespace:
            return self
        keys = {key: Shared(self.spec.key(key)) if key in self.spec.kept else recipe for key, recipe in self.spec.keys}
        return evolve(self, spec=SecretSpec(self.spec.name, namespace, keys))


@frozen
class Authority:
    """The certificate authority of a private endpoint: a key of a Secret."""

    secret: str
    key: str


@frozen
class Bucket:
    """One bucket as one client sees it. `peer` is where its packets go: an endpoint of the platform, or something outside."""

    name: str
    endpoint: str
    region: str
    credentials: Credentials
    peer: Endpoint | External
    authority: Authority | None = None


def peer(way: str, url: str, pods: OthersPods | None) -> Endpoint | External:
    """Who is behind a URL: pods of others, or somebody outside, by the name of the way out to it."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if pods:
        return Endpoint(Pods(way, pods.namespace, pods.labels), parts.hostname or "", port, Port("s3", pods.port or port))
    try:
        cidrs: tuple[str, ...] = (str(ip_network(parts.hostname or "")),)
    except ValueError:
        cidrs = ()
    return External(way, (port,), cidrs)


def credentials_secret(name: str, namespace: str, access_key: Recipe, secret_key: Recipe, region: Recipe) -> SecretSpec:
    """The Secret that `Credentials` describes, from the recipes of its parts."""
    return SecretSpec(
        name,
        namespace,
        {
            "access-key": access_key,
            "secret-key": secret_key,
            "region": region,
            "credentials": Composed("[default]\naws_access_key_id = {access-key}\naws_secret_access_key = {secret-key}\n"),
        },
    )
