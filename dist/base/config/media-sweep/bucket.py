"""The bucket: every version of every object, and how versions go."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from attrs import frozen
from botocore.config import Config

AT_ONCE = 1000
"""As many as S3 lists and deletes in one request."""


class NotRemoved(Exception):  # noqa: N818 - an answer of the server
    """The storage has refused to remove something. The message says what and why."""


@frozen
class Version:
    """One version of an object, or a marker that it was deleted."""

    name: str
    identifier: str
    changed: datetime.datetime
    size: int


class Bucket:
    """One bucket. Keys and a private authority come from AWS_SHARED_CREDENTIALS_FILE and AWS_CA_BUNDLE.

    `keep_versions`: what is there is all that counts, and it is marked as deleted; versions go by the bucket's own rules.
    """

    def __init__(self, name: str, endpoint: str, region: str, *, keep_versions: bool = False) -> None:
        config = Config(connect_timeout=10, read_timeout=120, retries={"mode": "standard", "max_attempts": 5})
        self._keep = keep_versions
        self._name, self._s3 = name, boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config)

    def pages(self) -> Iterator[list[Version]]:
        """All versions, by name. Raises botocore's errors."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._name):
            yield [
                Version(one["Key"], one["VersionId"], one["LastModified"], one.get("Size", 0))
                for kind in (("Versions",) if self._keep else ("Versions", "DeleteMarkers"))
                for one in page.get(kind, ())
                if one["IsLatest"] or not self._keep
            ]

    def remove(self, versions: Sequence[Version]) -> None:
        """Remove them, for good unless versions are kept, AT_ONCE at most. Raises NotRemoved, and botocore's errors."""
        objects: list[dict[str, Any]] = [
            {"Key": version.name, **({} if self._keep else {"VersionId": version.identifier})} for version in versions
        ]
        answer = self._s3.delete_objects(Bucket=self._name, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            raise NotRemoved(f"{len(errors)} objects, the first: {errors[0]['Key']}: {errors[0].get('Code')}")
