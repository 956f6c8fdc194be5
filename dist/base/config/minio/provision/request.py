"""What the program is asked for: the request file, and the keys in the folders that it names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

ACCESS_KEY_FILE, SECRET_KEY_FILE = "access-key", "secret-key"


@frozen
class Keys:
    """A pair of S3 keys. The secret one is never shown."""

    access: str
    secret: str = field(repr=False)


@frozen
class Bucket:
    """A bucket.

    `keep_deleted_days`: how long an object that was deleted or overwritten can be brought back (None: not at all);
    `expire_days`: the age at which objects go (None: never); `quota`: the bytes that it may fill (None: as many as there are).
    """

    name: str
    keep_deleted_days: int | None
    expire_days: int | None
    quota: int | None


@frozen
class User:
    """Somebody who uses buckets: the folder with its keys, and its rights as an S3 policy document (under MinIO also the policy's name)."""

    name: str
    keys: Path
    policy_name: str
    policy: Mapping[str, Any]

    def may(self, action: str, resource: str) -> bool:
        """Whether the policy allows an action on a resource; both have to be spelled out in it."""
        effects = {s["Effect"] for s in self.policy["Statement"] if action in s["Action"] and resource in s["Resource"]}
        return effects == {"Allow"}


@frozen
class Request:
    """A request file. `administrator` is the folder with the keys of MinIO's root user; None where others run the storage."""

    endpoint: str
    region: str
    path_style: bool
    ca_file: Path | None
    administrator: Path | None
    buckets: tuple[Bucket, ...]
    users: tuple[User, ...]


def read_request(path: Path) -> Request:
    """Read a request file. Raises ValueError for a file of another form, OSError when it cannot be read."""
    try:
        return _request(json.loads(path.read_text()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no request file: {type(error).__name__} {error}") from None


def _request(document: Mapping[str, Any]) -> Request:
    administrator, ca_file = document["administrator"], document["ca_file"]
    return Request(
        endpoint=str(document["endpoint"]),
        region=str(document["region"]),
        path_style=bool(document["path_style"]),
        ca_file=Path(ca_file) if ca_file else None,
        administrator=Path(administrator) if administrator else None,
        buckets=tuple(Bucket(b["name"], b["keep_deleted_days"], b["expire_days"], b["quota"]) for b in document["buckets"]),
        users=tuple(User(u["name"], Path(u["keys"]), u["policy"]["name"], u["policy"]["document"]) for u in document["users"]),
    )


def read_keys(folder: Path) -> Keys:
    """Read the keys in a folder. Raises ValueError, naming the file, for one that is missing, unreadable or empty."""
    return Keys(*(_line(folder / file) for file in (ACCESS_KEY_FILE, SECRET_KEY_FILE)))


def _line(file: Path) -> str:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        # Not the error itself: a decoding error quotes what it could not read.
        raise ValueError(f"{file} cannot be read: {type(error).__name__}") from None
    if not text:
        raise ValueError(f"{file} is empty")
    return text
