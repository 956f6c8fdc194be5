"""The calls to object storage: S3 by boto3 for buckets and for trying out rights, MinIO's own API for users and policies.

Every failure is one of two: `Unavailable`, which may pass by itself, or `Refused`, which a repetition would not change. Neither
repeats what the server has written: only its error code, which holds no key.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

import boto3
import urllib3
from attrs import define, field, frozen
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from services.buckets.request import Bucket, Keys, Request

T = TypeVar("T")

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROBE_KEY = ".platform-rights-check"
"""No object has this name. It is read and deleted to see whether that is allowed, so neither does anything."""

_OWN_RULES = "platform-"
"""How the ids of our lifecycle rules begin. Other rules of a bucket are left as they are."""


class Unavailable(Exception):  # noqa: N818 - a state of the server
    """Nobody answers, or the server is not ready: worth another try."""


class Refused(Exception):  # noqa: N818 - an answer of the server
    """The server has said no."""

    @property
    def code(self) -> str:
        """The S3 error code."""
        return str(self.args[0])


class Verb(Enum):
    """What can be tried on a bucket: the S3 action that allows it, and whether that action is on the objects or on the bucket."""

    LIST = ("s3:ListBucket", False)
    READ = ("s3:GetObject", True)
    WRITE = ("s3:PutObject", True)
    DELETE = ("s3:DeleteObject", True)

    @property
    def action(self) -> str:
        """As in a policy document."""
        return self.value[0]

    def resource(self, bucket: str) -> str:
        """Name what the action is on, as in a policy document."""
        return f"arn:aws:s3:::{bucket}/*" if self.value[1] else f"arn:aws:s3:::{bucket}"


@define
class S3:
    """Object storage as the owner of some keys sees it."""

    client: Any

    @classmethod
    def of(cls, request: Request, keys: Keys) -> "S3":
        """Make a client that signs with these keys."""
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if request.path_style else "virtual"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": 1},
            # As synapse-s3-storage-provider does: other S3 servers than AWS refuse the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.client(
            "s3",
            endpoint_url=request.endpoint,
            region_name=request.region,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            verify=str(request.ca_file) if request.ca_file else None,
            config=config,
        )
        return cls(client)

    def make_bucket(self, bucket: Bucket) -> list[str]:
        """Make a bucket what it should be, and return what that took. Nothing is ever deleted, and versioning never switched off."""
        changes = []
        if not self._exists(bucket.name):
            self._create(bucket)
            changes.append("created")
        if bucket.keep_deleted_days is not None:
            versioning = _s3(lambda: self.client.get_bucket_versioning(Bucket=bucket.name))
            if versioning.get("Status") != "Enabled":
                enabled = {"Status": "Enabled"}
                _s3(lambda: self.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=enabled))
                changes.append("versioning switched on")
        return [*changes, *self._set_lifecycle(bucket)]

    def protects_versions(self, bucket: str) -> bool:
        """Whether a bucket has object lock, which MinIO gives to new buckets only (PutBucketObjectLockConfigHandler)."""
        try:
            _s3(lambda: self.client.get_object_lock_configuration(Bucket=bucket))
        except Refused as refusal:
            if refusal.code == "ObjectLockConfigurationNotFoundError":
                return False
            raise
        return True

    def refuses_keys(self) -> str | None:
        """Ask for the error code with which the server refuses these keys; None when it knows them, whatever they may do."""
        try:
            _s3(self.client.list_buckets)
        except Refused as refusal:
            return None if refusal.code == "AccessDenied" else refusal.code
        return None

    def may(self, verb: Verb, bucket: str) -> bool:
        """Whether the server lets these keys do something. Leaves nothing behind but, with versioning, the mark of a deletion."""
        try:
            _s3(lambda: self._attempt(verb, bucket))
        except Refused as refusal:
            if refusal.code == "AccessDenied":
                return False
            if not (verb is Verb.READ and refusal.code == "NoSuchKey"):
                raise
        return True

    def _attempt(self, verb: Verb, bucket: str) -> None:
        match verb:
            case Verb.LIST:
                self.client.list_objects_v2(Bucket=bucket, MaxKeys=1)
            case Verb.READ:
                self.client.get_object(Bucket=bucket, Key=_PROBE_KEY)["Body"].close()
            case Verb.WRITE:
                upload = self.client.create_multipart_upload(Bucket=bucket, Key=_PROBE_KEY)
                self.client.abort_multipart_upload(Bucket=bucket, Key=_PROBE_KEY, UploadId=upload["UploadId"])
            case Verb.DELETE:
                self.client.delete_object(Bucket=bucket, Key=_PROBE_KEY)

    def _exists(self, bucket: str) -> bool:
        try:
            _s3(lambda: self.client.head_bucket(Bucket=bucket))
        except Refused as refusal:
            if refusal.code in {"404", "NoSuchBucket"}:  # the answer to HEAD has no body, so boto3 knows only its number
                return False
            raise
        return True

    def _create(self, bucket: Bucket) -> None:
        region = self.client.meta.region_name
        # S3 wants the region spelled out for all but this one, and for this one refuses it.
        options: dict[str, Any] = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        if bucket.keep_deleted_days is not None:
            # Versions alone do not protect: MinIO lets whoever may delete an object delete all versions under a prefix by one header,
            # x-minio-force-delete, but not where there is object lock (DeleteObjectHandler). No retention is set: nothing is held longer.
            options["ObjectLockEnabledForBucket"] = True
        try:
            _s3(lambda: self.client.create_bucket(Bucket=bucket.name, **options))
        except Refused as refusal:
            if refusal.code != "BucketAlreadyOwnedByYou":  # another run was faster
                raise

    def _set_lifecycle(self, bucket: Bucket) -> list[str]:
        found = self._lifecycle(bucket.name)
        wanted = _lifecycle_rules(bucket)
        ours = [rule for rule in found if rule.get("ID", "").startswith(_OWN_RULES)]
        if sorted(map(_essence, ours)) == sorted(map(_essence, wanted)):
            return []
        rules = [rule for rule in found if rule not in ours] + wanted
        if rules:
            configuration = {"Rules": rules}
            _s3(lambda: self.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=configuration))
        else:
            _s3(lambda: self.client.delete_bucket_lifecycle(Bucket=bucket.name))
        return ["lifecycle set"]

    def _lifecycle(self, bucket: str) -> Sequence[Mapping[str, Any]]:
        try:
            answer = _s3(lambda: self.client.get_bucket_lifecycle_configuration(Bucket=bucket))
        except Refused as refusal:
            if refusal.code == "NoSuchLifecycleConfiguration":
                return []
            raise
        rules: Sequence[Mapping[str, Any]] = answer["Rules"]
        return rules


def _lifecycle_rules(bucket: Bucket) -> list[dict[str, Any]]:
    # There is no rule for uploads that were never finished: MinIO knows none (internal/bucket/lifecycle/rule.go),
    # and drops them itself after a day (its setting api stale_uploads_expiry).
    common = {"Status": "Enabled", "Filter": {"Prefix": ""}}
    rules: list[dict[str, Any]] = []
    if bucket.expire_days is not None:
        rules.append({"ID": f"{_OWN_RULES}expire", **common, "Expiration": {"Days": bucket.expire_days}})
    if bucket.keep_deleted_days is not None:
        gone = {"NoncurrentDays": bucket.keep_deleted_days}
        marks = {"ExpiredObjectDeleteMarker": True}
        rules.append({"ID": f"{_OWN_RULES}deleted", **common, "NoncurrentVersionExpiration": gone, "Expiration": marks})
    return rules


def _essence(rule: Mapping[str, Any]) -> str:
    """What a lifecycle rule does, in a form that can be compared: servers add defaults and leave out empty parts."""
    prefix = rule.get("Filter", {}).get("Prefix") or rule.get("Prefix") or ""
    expiration, noncurrent = rule.get("Expiration", {}), rule.get("NoncurrentVersionExpiration", {})
    parts = (prefix, expiration.get("Days"), expiration.get("ExpiredObjectDeleteMarker", False), noncurrent.get("NoncurrentDays"))
    return json.dumps([rule["ID"], rule["Status"], *parts])


@frozen
class UserState:
    """A user as MinIO has it."""

    enabled: bool
    policies: frozenset[str]


@define
class Administration:
    """MinIO's API for users and policies, as its root user."""

    endpoint: str
    _http: urllib3.PoolManager = field(repr=False)
    _admin: MinioAdmin = field(repr=False)

    @classmethod
    def of(cls, request: Request, keys: Keys) -> "Administration":
        """Make a client that signs with these keys."""
        scheme, _, host = request.endpoint.partition("://")
        http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(request.ca_file) if request.ca_file else None,
        )
        provider = StaticProvider(keys.access, keys.secret)
        admin = MinioAdmin(endpoint=host, credentials=provider, region=request.region, secure=scheme == "https", http_client=http)
        return cls(request.endpoint, http, admin)

    def check_ready(self) -> None:
        """Raise `Unavailable` unless enough drives are online to write (docs.min.io, healthcheck probe: cluster write quorum)."""
        status = _admin(lambda: self._http.request("GET", f"{self.endpoint}/minio/health/cluster").status)
        if status != 200:
            raise Unavailable(f"{self.endpoint} is not ready to write (health check: {status})")

    def set_quota(self, bucket: Bucket) -> list[str]:
        """Give a bucket its quota, and return what that took."""
        found = json.loads(_admin(lambda: self._admin.bucket_quota_get(bucket.name)))
        # Newer servers say `size`, older ones `quota` (minio/madmin-go, quota-commands.go); 0 is none.
        if int(found.get("size") or found.get("quota") or 0) == (bucket.quota or 0):
            return []
        _admin(lambda: self._admin.bucket_quota_set(bucket.name, bucket.quota or 0))
        return [f"quota of {bucket.quota} bytes" if bucket.quota else "quota taken off"]

    def policy(self, name: str) -> Mapping[str, Any] | None:
        """Get the document of a policy, or None where there is none."""
        document: Mapping[str, Any] | None = _found(lambda: json.loads(self._admin.policy_info(name)), "XMinioAdminNoSuchPolicy")
        return document

    def set_policy(self, name: str, document: Mapping[str, Any]) -> None:
        """Create a policy or replace its document."""
        _admin(lambda: self._admin.policy_add(name, policy=dict(document)))

    def user(self, access_key: str) -> UserState | None:
        """Get a user, or None where there is none."""
        answer = _found(lambda: json.loads(self._admin.user_info(access_key)), "XMinioAdminNoSuchUser")
        if answer is None:
            return None
        policies = frozenset(filter(None, (answer.get("policyName") or "").split(",")))
        return UserState(answer.get("status") == "enabled", policies)

    def set_user(self, keys: Keys) -> None:
        """Create a user or replace its secret key."""
        _admin(lambda: self._admin.user_add(keys.access, keys.secret))

    def attach(self, policy: str, access_key: str) -> None:
        """Make a policy the only one of a user."""
        _admin(lambda: self._admin.policy_set(policy, user=access_key))


def _found(call: Callable[[], T], nothing: str) -> T | None:
    try:
        return _admin(call)
    except Refused as refusal:
        if refusal.code == nothing:
            return None
        raise


def _s3(call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _TRY_AGAIN:
            raise Unavailable(code) from None
        raise Refused(code) from None
    except HTTPClientError as error:  # no connection, none in time, broken off, no trust in its certificate
        raise Unavailable(str(error)) from None
    except BotoCoreError as error:
        raise Refused(f"{type(error).__name__}: {error}") from None


def _admin(call: Callable[[], T]) -> T:
    try:
        return call()
    except MinioAdminException as error:
        # The library has no public way to these two (minio 7.2.20, error.py).
        status, code = int(error._code), _error_code(error._body)
        if status in _TRY_AGAIN:
            raise Unavailable(code) from None
        raise Refused(code) from None
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(str(error)) from None


def _error_code(body: str) -> str:
    try:
        return str(json.loads(body)["Code"])
    except (ValueError, KeyError, TypeError):
        return "an answer that is not MinIO's"
