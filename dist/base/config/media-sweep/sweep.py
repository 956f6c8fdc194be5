"""Remove from the bucket the media that the homeserver has deleted: `python -m services.media_sweep.sweep REQUEST [--dry-run]`.

Synapse forgets a file when an administrator deletes it, when its age is over, or with its user; the module that keeps files in S3 never
deletes. What goes is what the primary of the database does not know, asked twice, and is older than the minimum age: an upload is in the
bucket before it is in the database. An object with a name that Synapse does not give stays. README.md says more.
"""

import argparse
import datetime
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from services.media_sweep.bucket import AT_ONCE, Bucket, Version
from services.media_sweep.database import Database, connected
from services.media_sweep.names import media_of

DOUBTFUL = 3
"""The exit code when so much would go that the database is likely to be another one."""
_FEW = 100
"""So many objects may go whatever their share is."""


@frozen
class Request:
    """What the program is asked to do; the file is JSON and holds no secret."""

    bucket: str
    endpoint: str
    region: str
    database: dict[str, Any]
    password_file: str
    minimum_age_hours: float
    most_percent: float
    dry_run: bool
    keep_versions: bool = False
    """Whether the bucket has what is removed for some days more: it only marks what goes."""
    metrics_port: int | None = None
    linger_seconds: float = 0


@define
class Counts:
    """What a run has found and done."""

    objects: Counter[str] = field(factory=Counter)
    """By what became of them: `kept`, `young`, `foreign`, `doomed`, `removed`."""
    bytes_removed: int = 0


class Doubtful(Exception):  # noqa: N818 - a state of things
    """So much would go that something is likely to be wrong."""


def doomed(bucket: Bucket, database: Database, oldest: datetime.datetime, counts: Counts) -> list[Version]:
    """The versions that no known media has, older than `oldest`."""
    found: list[Version] = []
    for page in bucket.pages():
        media = {version: media_of(version.name) for version in page}
        known = database.known({one for one in media.values() if one})
        for version, one in media.items():
            fate = "foreign" if one is None else "kept" if one in known else "young" if version.changed > oldest else "doomed"
            counts.objects[fate] += 1
            if fate == "doomed":
                found.append(version)
    return found


def check_share(counts: Counts, most_percent: float) -> None:
    """Raises Doubtful."""
    all_of_it, gone = sum(counts.objects.values()), counts.objects["doomed"]
    if gone > _FEW and gone > all_of_it * most_percent / 100:
        raise Doubtful(
            f"{gone} of {all_of_it} objects would go, more than {most_percent:g} %: is this the database of this bucket, and is it whole? "
            "If so, run it once with --any-share (docs/03-OPERATIONS-GUIDE.md)"
        )


def remove(bucket: Bucket, database: Database, versions: Iterable[Version], counts: Counts) -> None:
    """Remove versions, each after the database was asked again."""
    remaining = iter(versions)
    while batch := list(itertools.islice(remaining, AT_ONCE)):
        known = database.known({one for version in batch if (one := media_of(version.name))})
        going = [version for version in batch if (one := media_of(version.name)) and one not in known]
        if going:
            bucket.remove(going)
        counts.objects["removed"] += len(going)
        counts.bytes_removed += sum(version.size for version in going)


def run(request: Request, counts: Counts) -> None:
    """One sweep. Raises Doubtful, and what the database and the storage raise."""
    bucket = Bucket(request.bucket, request.endpoint, request.region, keep_versions=request.keep_versions)
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=request.minimum_age_hours)
    with connected(request.database, request.password_file) as database:
        versions = doomed(bucket, database, oldest, counts)
        check_share(counts, request.most_percent)
        if request.dry_run:
            for version in versions:
                print(json.dumps({"would remove": version.name, "version": version.identifier}))
        else:
            remove(bucket, database, versions, counts)


def _offer(counts: Counts, succeeded: bool, port: int, seconds: float) -> None:
    """Offer metrics for as long as it takes to be scraped."""
    registry = CollectorRegistry()
    objects = Gauge("media_sweep_objects", "Versions of objects in the bucket, by what became of them", ["fate"], registry=registry)
    for fate in ("kept", "young", "foreign", "doomed", "removed"):
        objects.labels(fate).set(counts.objects[fate])
    Gauge("media_sweep_removed_bytes", "What the removed ones had", registry=registry).set(counts.bytes_removed)
    Gauge("media_sweep_success", "Whether the sweep came to its end", registry=registry).set(succeeded)
    Gauge("media_sweep_end_timestamp_seconds", "When it ended", registry=registry).set_to_current_time()
    start_http_server(port, registry=registry)
    time.sleep(seconds)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m services.media_sweep.sweep", description=__doc__)
    parser.add_argument("request", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--any-share", action="store_true", help="remove however much it is: for a person who knows why it is so much")
    options = parser.parse_args()
    request = Request(**json.loads(options.request.read_text()))
    request = evolve(request, dry_run=request.dry_run or options.dry_run, most_percent=100 if options.any_share else request.most_percent)
    counts, code = Counts(), 0
    try:
        run(request, counts)
    except Doubtful as error:
        print(f"FAILED: {error}", file=sys.stderr)
        code = DOUBTFUL
    except Exception as error:
        print(f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
        code = 1
    print(json.dumps({"objects": dict(counts.objects), "bytes_removed": counts.bytes_removed, "dry_run": request.dry_run}), flush=True)
    if request.metrics_port:
        _offer(counts, code == 0, request.metrics_port, request.linger_seconds)
    return code


if __name__ == "__main__":
    sys.exit(main())
