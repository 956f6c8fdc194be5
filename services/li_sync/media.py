"""mirror_media: main's media bucket into LI's own, object by object, each proven, and never the same one twice.

What is copied stands in an inventory on the volume (SQLite), written after the object is whole in LI's bucket. A run that is killed goes on
where it was; a run that is lost with its volume finds what LI's bucket has by listing it. Main's bucket is only read.
"""

import base64
import contextlib
import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import boto3
from attrs import define, field, frozen
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.li_sync.postgres import Problem, connect, rows
from services.li_sync.settings import Bucket, Media, Settings, read_secret

SHA256 = "li-sha256"
"""The name of the metadata that each of LI's objects carries."""
_MEMORY_BYTES = 8 * 1024**2
_BLOCK = 1024**2
_QUEUE = 64
_RECENT_MILLISECONDS = 3600 * 1000
_GONE = {"404", "NoSuchKey"}

# The keys of synapse-s3-storage-provider: Synapse's own paths (synapse/media/filepath.py).
_RECENT = """
    SELECT media_id, sha256 FROM public.local_media_repository
    WHERE created_ts > (SELECT max(created_ts) FROM public.local_media_repository) - %s AND url_cache IS NULL ORDER BY created_ts DESC LIMIT 5000
"""


class Damaged(Exception):  # noqa: N818 - a state of an object
    """An object is not what its checksum says. It is not copied."""


@frozen
class Object:
    """One object of a listing. `etag` without quotes."""

    key: str
    size: int
    etag: str


@define
class Store:
    """One bucket as one user. Raises Problem, without keys, when the server refuses or is not there."""

    bucket: Bucket
    client: Any

    @classmethod
    def of(cls, bucket: Bucket, threads: int) -> "Store":
        """Connect with the keys in the bucket's folder."""
        access, secret = (read_secret(bucket.keys / name) for name in ("access-key", "secret-key"))
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 4, "mode": "standard"},
            max_pool_connections=threads + 2,
            s3={"addressing_style": "path" if bucket.path_style else "virtual"},
        )
        client = boto3.client(
            "s3",
            endpoint_url=bucket.endpoint,
            region_name=bucket.region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=config,
            verify=str(bucket.ca_file) if bucket.ca_file else None,
        )
        return cls(bucket, client)

    def objects(self) -> Iterator[Object]:
        """All objects, by key in the order of their bytes."""
        with _told(self.bucket):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name, Prefix=self.bucket.prefix):
                for found in page.get("Contents", []):
                    yield Object(found["Key"].removeprefix(self.bucket.prefix), found["Size"], found["ETag"].strip('"'))

    def name(self, key: str) -> dict[str, str]:
        """How a request names an object."""
        return {"Bucket": self.bucket.name, "Key": self.bucket.prefix + key}


@contextlib.contextmanager
def _told(bucket: Bucket) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise Problem(f"bucket {bucket.name} at {bucket.endpoint}: {error.response.get('Error', {}).get('Code', '?')}") from None
    except BotoCoreError as error:
        raise Problem(f"bucket {bucket.name} at {bucket.endpoint}: {type(error).__name__}") from None


@frozen
class Copy:
    """A copied object: main's as it was listed, and LI's as it was written."""

    key: str
    size: int
    etag: str
    sha256: str
    target_etag: str


@define
class Inventory:
    """What LI has, on the volume. Every change is on the disk when its method returns."""

    database: sqlite3.Connection

    @classmethod
    def open(cls, path: Path) -> "Inventory":
        """Open or make the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=30, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS copies (key TEXT PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL, sha256 TEXT NOT NULL, "
            "target_etag TEXT NOT NULL) WITHOUT ROWID"
        )
        database.execute("CREATE TABLE IF NOT EXISTS deleted (key TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID")
        return cls(database)

    def find(self, key: str) -> Copy | None:
        """The copy of an object."""
        row = self.database.execute("SELECT key, size, etag, sha256, target_etag FROM copies WHERE key = ?", (key,)).fetchone()
        return Copy(*row) if row else None

    def add(self, copy: Copy) -> None:
        """Note a copy."""
        self.database.execute(
            "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)", (copy.key, copy.size, copy.etag, copy.sha256, copy.target_etag)
        )

    def remove(self, key: str) -> None:
        """Forget a copy."""
        self.database.execute("DELETE FROM copies WHERE key = ?", (key,))
        self.restored(key)

    def deleted(self) -> dict[str, float]:
        """The objects that main has deleted and LI still has, and the Unix seconds since when that is known."""
        return dict(self.database.execute("SELECT key, since FROM deleted").fetchall())

    def note_deleted(self, key: str, since: float) -> None:
        """Note that main has deleted an object that LI keeps for some time."""
        self.database.execute("INSERT INTO deleted VALUES (?, ?)", (key, since))

    def restored(self, key: str) -> None:
        """Note that main has an object again, or LI no longer."""
        self.database.execute("DELETE FROM deleted WHERE key = ?", (key,))

    def totals(self) -> tuple[int, int]:
        """How many copies there are, and their bytes."""
        count, size = self.database.execute("SELECT count(*), coalesce(sum(size), 0) FROM copies").fetchone()
        return int(count), int(size)


@define
class Tally:
    """What a run has done."""

    listed: int = 0
    copied: int = 0
    copied_bytes: int = 0
    recovered: int = 0
    """Objects of LI that were whole, but not in the inventory."""
    repaired: int = 0
    """Objects of LI that were missing or not what they had been."""
    deleted: int = 0
    kept: int = 0
    """Objects of LI that main has deleted."""
    failed: list[str] = field(factory=list)

    def facts(self, inventory: Inventory) -> dict[str, Any]:
        """For the checkpoint."""
        objects, size = inventory.totals()
        return {
            "objects": objects,
            "bytes": size,
            "listed": self.listed,
            "copied": self.copied,
            "copied_bytes": self.copied_bytes,
            "recovered": self.recovered,
            "repaired": self.repaired,
            "deleted": self.deleted,
            "kept": self.kept,
            "failed": len(self.failed),
        }


def mirror_media(settings: Settings, step: Callable[[str], None], check: Callable[[], None]) -> Mapping[str, Any]:
    """Compare both buckets whole, and copy what differs. Raises Problem when a bucket is not there or an object could not be copied."""
    media, tally = settings.media, Tally()
    source, target = Store.of(media.source, media.threads), Store.of(media.target, media.threads)
    with contextlib.closing(Inventory.open(settings.state / "media.sqlite").database) as database:
        inventory = Inventory(database)
        deleted = inventory.deleted()

        def wanted() -> Iterator[tuple[Object, str | None]]:
            for object_, there in _side_by_side(source.objects(), target.objects()):
                if object_ is None:
                    if there is not None:
                        _outlive(target, inventory, there.key, deleted.get(there.key), media.keep_deleted_seconds, tally)
                    continue
                if object_.key in deleted:
                    inventory.restored(object_.key)
                tally.listed += 1
                if tally.listed % 1000 == 0:
                    check()
                    step(f"{tally.listed} objects compared, {tally.copied} copied")
                known = inventory.find(object_.key)
                if known and known.etag == object_.etag and known.size == object_.size:
                    if there and there.etag == known.target_etag and there.size == known.size:
                        continue
                    tally.repaired += 1
                yield object_, None

        _copy_all(wanted(), source, target, inventory, media, tally)
        facts = tally.facts(inventory)
    if tally.failed:
        raise Problem(f"{len(tally.failed)} object(s) could not be copied: " + "; ".join(tally.failed[:5]))
    return facts


def mirror_new_media(settings: Settings) -> Mapping[str, Any]:
    """Copy the uploads that LI's database knows of and its bucket has not, without listing a bucket. Raises Problem.

    An upload that main has not yet put into its bucket is left for the next run.
    """
    media, tally = settings.media, Tally()
    with connect(settings.li.owner, statement_seconds=30, read_only=True) as li:
        recent = rows(li, _RECENT, (_RECENT_MILLISECONDS,))
    with contextlib.closing(Inventory.open(settings.state / "media.sqlite").database) as database:
        inventory = Inventory(database)
        new = [(media_id, sha256) for media_id, sha256 in recent if inventory.find(content_key(media_id)) is None]
        if not new:
            return tally.facts(inventory)
        source, target = Store.of(media.source, media.threads), Store.of(media.target, media.threads)

        def wanted() -> Iterator[tuple[Object, str | None]]:
            for media_id, sha256 in new:
                key = content_key(media_id)
                try:
                    head = source.client.head_object(**source.name(key))
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") in _GONE:
                        continue
                    raise
                tally.listed += 1
                yield Object(key, head["ContentLength"], head["ETag"].strip('"')), sha256

        with _told(media.source):
            _copy_all(wanted(), source, target, inventory, media, tally)
        facts = tally.facts(inventory)
    if tally.failed:
        raise Problem(f"{len(tally.failed)} object(s) could not be copied: " + "; ".join(tally.failed[:5]))
    return facts


def content_key(media_id: str) -> str:
    """Where Synapse keeps an upload."""
    return f"local_content/{media_id[0:2]}/{media_id[2:4]}/{media_id[4:]}"


def _side_by_side(ours: Iterable[Object], theirs: Iterable[Object]) -> Iterator[tuple[Object | None, Object | None]]:
    """Two listings in the same order, as pairs of the same key."""
    left, right = iter(ours), iter(theirs)
    a, b = next(left, None), next(right, None)
    while a or b:
        # S3 lists by the bytes of the key.
        first, second = a.key.encode() if a else None, b.key.encode() if b else None
        if second is None or (first is not None and first < second):
            yield a, None
            a = next(left, None)
        elif first is None or second < first:
            yield None, b
            b = next(right, None)
        else:
            yield a, b
            a, b = next(left, None), next(right, None)


def _outlive(target: Store, inventory: Inventory, key: str, since: float | None, keep: float | None, tally: Tally) -> None:
    """Delete what main has deleted when its time is over. Objects that this program did not write are left alone."""
    with _told(target.bucket):
        # An inventory that was lost with its volume does not know what it has written: its mark tells.
        if inventory.find(key) is None and SHA256 not in (_existing(target, key) or {}).get("Metadata", {}):
            return
        now = time.time()
        if keep is None or now - (now if since is None else since) < keep:
            if since is None:
                inventory.note_deleted(key, now)
            tally.kept += 1
            return
        target.client.delete_object(**target.name(key))
    inventory.remove(key)
    tally.deleted += 1


def _copy_all(
    wanted: Iterator[tuple[Object, str | None]], source: Store, target: Store, inventory: Inventory, media: Media, tally: Tally
) -> None:
    """Copy in threads; the inventory is written by this one alone."""
    with ThreadPoolExecutor(media.threads) as pool:
        under_way: set[Future[tuple[Copy, bool] | None]] = set()
        names: dict[Future[tuple[Copy, bool] | None], str] = {}

        def collect(*, all_of_them: bool) -> None:
            nonlocal under_way
            while under_way and (all_of_them or len(under_way) >= _QUEUE):
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    _note(future, names.pop(future), inventory, tally)

        for object_, sha256 in wanted:
            future = pool.submit(_copy, source, target, object_, sha256, media.largest_bytes)
            under_way.add(future)
            names[future] = object_.key
            collect(all_of_them=False)
        collect(all_of_them=True)


def _note(future: "Future[tuple[Copy, bool] | None]", key: str, inventory: Inventory, tally: Tally) -> None:
    try:
        result = future.result()
    except Damaged as error:
        tally.failed.append(f"{key}: {error}")
        return
    except ClientError as error:
        tally.failed.append(f"{key}: {error.response.get('Error', {}).get('Code', '?')}")
        return
    except BotoCoreError as error:
        tally.failed.append(f"{key}: {type(error).__name__}")
        return
    if result is None:
        return
    copy, sent = result
    inventory.add(copy)
    if sent:
        tally.copied += 1
        tally.copied_bytes += copy.size
    else:
        tally.recovered += 1


def _copy(source: Store, target: Store, object_: Object, sha256: str | None, largest: int) -> tuple[Copy, bool] | None:
    """Copy one object; None if main no longer has it. The flag: whether it had to be sent.

    Its bytes are checked against main's ETag where that is their MD5, or else the MD5s of its parts, and against the SHA-256 that Synapse has
    noted of an upload; LI's server checks what it gets against the SHA-256 that goes with it.
    """
    if object_.size > largest:
        raise Damaged(f"{object_.size} bytes are more than media.largest_bytes")
    with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as body:
        try:
            etag, hashed, kind = _download(source, object_.key, body)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                return None
            raise
        size = body.tell()
        if etag != object_.etag:
            # It was replaced since it was listed.
            object_ = Object(object_.key, size, etag)
        if size != object_.size or not _matches(source, object_.key, etag, body):
            raise Damaged("what main's server sent is not what its ETag says")
        if sha256 and hashed.hex() != sha256:
            raise Damaged("it is not what Synapse noted when it was uploaded (SHA-256)")
        known = _existing(target, object_.key)
        if known and known.get("Metadata", {}).get(SHA256) == hashed.hex() and known["ContentLength"] == size:
            return Copy(object_.key, size, etag, hashed.hex(), known["ETag"].strip('"')), False
        body.seek(0)
        answer = target.client.put_object(
            **target.name(object_.key),
            Body=body,
            ContentLength=size,
            ContentType=kind,
            ChecksumSHA256=base64.b64encode(hashed).decode(),
            Metadata={SHA256: hashed.hex()},
        )
        return Copy(object_.key, size, etag, hashed.hex(), answer["ETag"].strip('"')), True


def _download(source: Store, key: str, body: Any) -> tuple[str, bytes, str]:
    answer = source.client.get_object(**source.name(key))
    digest = hashlib.sha256()
    for block in answer["Body"].iter_chunks(_BLOCK):
        digest.update(block)
        body.write(block)
    return answer["ETag"].strip('"'), digest.digest(), answer.get("ContentType") or "application/octet-stream"


def _matches(source: Store, key: str, etag: str, body: Any) -> bool:
    """Whether the bytes are those of the ETag. True where it is of a form that says nothing of them (encrypted objects)."""
    digest, _, count = etag.partition("-")
    if len(digest) != 32:
        return True
    body.seek(0)
    if not count:
        return _md5(body, None) == bytes.fromhex(digest)
    parts = hashlib.md5(usedforsecurity=False)
    for size in _part_sizes(source, key, int(count)):
        parts.update(_md5(body, size))
    return parts.digest() == bytes.fromhex(digest)


def _part_sizes(source: Store, key: str, count: int) -> Sequence[int]:
    return [source.client.head_object(**source.name(key), PartNumber=number)["ContentLength"] for number in range(1, count + 1)]


def _md5(body: Any, size: int | None) -> bytes:
    digest, left = hashlib.md5(usedforsecurity=False), size
    while block := body.read(_BLOCK if left is None else min(_BLOCK, left)):
        digest.update(block)
        left = None if left is None else left - len(block)
        if left == 0:
            break
    return digest.digest()


def _existing(target: Store, key: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = target.client.head_object(**target.name(key))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _GONE:
            return None
        raise
    return found
