"""The one interface to object storage: what a client of a bucket must know, whoever serves it."""

from urllib.parse import urlsplit

from attrs import frozen

from kit.network import Endpoint, External


@frozen
class Credentials:
    """A Secret with a bucket user's keys, in every form that a client reads.

    `access_key` and `secret_key` are keys of the Secret; `shared_file` holds both as an AWS shared credentials file.
    """

    secret: str
    access_key: str = "CONSOLE_ACCESS_KEY"
    secret_key: str = "CONSOLE_SECRET_KEY"
    shared_file: str = "credentials"


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
    path_style: bool = True
    authority: Authority | None = None


def outside(url: str) -> External:
    """The peer behind a URL."""
    parts = urlsplit(url)
    return External("object-storage", (parts.port or (443 if parts.scheme == "https" else 80),))
