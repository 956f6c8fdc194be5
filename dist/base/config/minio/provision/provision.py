"""Make the buckets, users and rights of one object storage. Runs in a Job: `python -m services.buckets.provision REQUEST`.

What is missing is made, what differs is set right, what the request does not name is left alone. No bucket, object or user is
ever deleted. At the end each user tries what it may do on each bucket. `--check` does only that: for storage that others run.
Exit codes: 0 all is as it should be; 1 something is not; 2 wrong usage.
"""

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen

from services.buckets.request import Bucket, Keys, Request, User, read_keys, read_request
from services.buckets.storage import S3, Administration, Refused, Unavailable, Verb

T = TypeVar("T")

DONE, FAILED = 0, 1

_PAUSE_SECONDS = 2.0
_SETTLE_SECONDS = 30.0
"""How long a tenant's nodes may disagree about rights before that counts: a node learns of a change by a message of another."""

_ADVICE = {
    "403": "the bucket is another account's, or the keys do not allow it",
    "AccessDenied": "the keys do not allow it",
    "BucketAlreadyExists": "another account has a bucket of that name",
    "InvalidAccessKeyId": "the access key is not known there, or is disabled",
    "NoSuchBucket": "the bucket does not exist",
    "RequestTimeTooSkewed": "the clocks of this node and of the server are too far apart",
    "SignatureDoesNotMatch": "the server has another secret key for this access key",
    "XMinioAdminInvalidAccessKey": "MinIO wants an access key of 3 characters or more",
    "XMinioAdminInvalidSecretKey": "MinIO wants a secret key of 8 characters or more",
    "XMinioInvalidIAMCredentials": "the access key is the root user's",
}


@define
class Report:
    """What has been said: each change as it is made, and what failed."""

    say: Callable[[str], None]
    changes: int = 0
    failures: list[str] = field(factory=list)

    def changed(self, what: str) -> None:
        """Say that something is no longer as it was."""
        self.changes += 1
        self.say(what)

    def failed(self, what: str) -> None:
        """Say that something is not as it should be."""
        self.failures.append(what)
        self.say(f"FAILED: {what}")

    @contextlib.contextmanager
    def about(self, subject: str) -> Iterator[None]:
        """Report what is refused within the block as a failure of `subject`, which holds up nothing else."""
        try:
            yield
        except Refused as refusal:
            advice = _ADVICE.get(refusal.code)
            self.failed(f"{subject}: {refusal.code}" + (f" ({advice})" if advice else ""))


@frozen
class Patience:
    """Tries again what may pass by itself. `deadline` is a time of `time.monotonic()`."""

    deadline: float

    def call(self, attempt: Callable[[], T]) -> T:
        """Return the value of `attempt`. Raises `Unavailable` when it is still so at the deadline."""
        while True:
            try:
                return attempt()
            except Unavailable:
                if time.monotonic() + _PAUSE_SECONDS > self.deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)


@frozen
class Actor:
    """A user of the request with its keys, and the storage as it sees it."""

    user: User
    keys: Keys
    s3: S3


def provision(request: Request, administrator: Keys, actors: Sequence[Actor], patience: Patience, report: Report) -> None:
    """Make all that the request names. Raises `Unavailable` when the storage is not there in time."""
    admin, s3 = Administration.of(request, administrator), S3.of(request, administrator)
    patience.call(admin.check_ready)
    for bucket in request.buckets:
        with report.about(f"bucket {bucket.name}"):
            patience.call(partial(_make_bucket, admin, s3, bucket, report))
    for actor in actors:
        with report.about(f"user {actor.user.name}"):
            patience.call(partial(_make_user, admin, actor, report))
    report.say(f"{report.changes} change(s)" if report.changes else "nothing to change")


def _make_bucket(admin: Administration, s3: S3, bucket: Bucket, report: Report) -> None:
    for change in [*s3.make_bucket(bucket), *admin.set_quota(bucket)]:
        report.changed(f"bucket {bucket.name}: {change}")
    if bucket.keep_deleted_days is not None and not s3.protects_versions(bucket.name):
        report.say(
            f"WARNING: bucket {bucket.name}: it was made without object lock, which only a new bucket can have, "
            "so whoever may delete objects in it may destroy their versions too"
        )


def _make_user(admin: Administration, actor: Actor, report: Report) -> None:
    user, keys = actor.user, actor.keys
    document = admin.policy(user.policy_name)
    if document is None or _essence(document) != _essence(user.policy):
        admin.set_policy(user.policy_name, user.policy)
        report.changed(f"policy {user.policy_name}: {'created' if document is None else 'document replaced'}")
    state = admin.user(keys.access)
    if state is None:
        admin.set_user(keys)
        report.changed(f"user {user.name}: created")
    elif not state.enabled:
        # Somebody's decision, perhaps in an emergency: to set its keys would silently undo it.
        raise Refused("disabled by an administrator, and left so")
    elif _secret_differs(actor.s3):
        admin.set_user(keys)
        report.changed(f"user {user.name}: secret key replaced")
    if state is None or state.policies != {user.policy_name}:
        admin.attach(user.policy_name, keys.access)
        report.changed(f"user {user.name}: policy {user.policy_name} attached")


def _secret_differs(s3: S3) -> bool:
    """MinIO tells nobody a secret key, so the only way to know is to sign with ours."""
    refusal = s3.refuses_keys()
    if refusal not in {None, "SignatureDoesNotMatch"}:
        raise Unavailable(f"the nodes of the tenant disagree about a user: {refusal}")
    return refusal is not None


def _essence(policy: Mapping[str, Any]) -> list[Any]:
    """The statements of a policy in a form that can be compared: MinIO gives what is in a list in any order."""
    return sorted(sorted((key, sorted(map(str, value))) for key, value in statement.items()) for statement in policy["Statement"])


@frozen
class Finding:
    """What a user turned out to be able to do on a bucket."""

    user: User
    bucket: Bucket
    may: frozenset[Verb]

    def should(self, verb: Verb) -> bool:
        """Whether its policy allows it."""
        return self.user.may(verb.action, verb.resource(self.bucket.name))

    @property
    def missing(self) -> list[Verb]:
        """What it must be able to do and cannot."""
        return [verb for verb in Verb if self.should(verb) and verb not in self.may]

    @property
    def excess(self) -> list[Verb]:
        """What it can do and must not."""
        return [verb for verb in Verb if verb in self.may and not self.should(verb)]


def check(buckets: Sequence[Bucket], actors: Sequence[Actor], patience: Patience, report: Report, *, strict: bool) -> None:
    """Try as each user what it may do on each bucket. A right that is missing is a failure, one too many only if `strict`.

    Raises `Unavailable` when the storage is not there in time.
    """
    settled = time.monotonic() + _SETTLE_SECONDS
    while True:
        attempt = Report(lambda _: None)
        findings = list(_findings(buckets, actors, patience, attempt))
        wrong = attempt.failures or any(finding.missing or (strict and finding.excess) for finding in findings)
        if not wrong or time.monotonic() > settled:
            break
        time.sleep(_PAUSE_SECONDS)
    for line in _table(findings):
        report.say(line)
    for failure in attempt.failures:
        report.failed(failure)
    for finding in findings:
        subject = f"user {finding.user.name}, bucket {finding.bucket.name}"
        if finding.missing:
            report.failed(f"{subject}: may not {_names(finding.missing)}{_hint(finding)}")
        if finding.excess and strict:
            report.failed(f"{subject}: may {_names(finding.excess)}, which its policy does not say")
        elif finding.excess:
            report.say(f"WARNING: {subject}: may {_names(finding.excess)}, which it need not")


def _findings(buckets: Sequence[Bucket], actors: Sequence[Actor], patience: Patience, report: Report) -> Iterator[Finding]:
    for actor, bucket in product(actors, buckets):
        with report.about(f"user {actor.user.name}, bucket {bucket.name}"):
            may = frozenset(verb for verb in Verb if patience.call(partial(actor.s3.may, verb, bucket.name)))
            yield Finding(actor.user, bucket, may)


def _names(verbs: Sequence[Verb]) -> str:
    return " and ".join(verb.name.lower() for verb in verbs)


def _hint(finding: Finding) -> str:
    if Verb.READ in finding.missing and not finding.should(Verb.LIST):
        return "; AWS answers so for an object that is missing, unless s3:ListBucket is allowed too"
    return ""


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    rows = [["user", "bucket", *(verb.name.lower() for verb in Verb)]]
    rows += [[f.user.name, f.bucket.name, *("yes" if verb in f.may else "-" for verb in Verb)] for f in findings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="provision", description="Make the buckets, users and rights of an object storage, and try them.")
    parser.add_argument("request", type=Path, help="which buckets and users (JSON)")
    parser.add_argument("--check", action="store_true", help="change nothing; only try what each user may do")
    parser.add_argument("--time-limit", type=float, default=600, metavar="SECONDS", help="give up after this long (default: %(default)s)")
    options = parser.parse_args(arguments)
    report, patience = Report(_say), Patience(time.monotonic() + options.time_limit)
    try:
        _run(read_request(options.request), patience, report, only_check=options.check)
    except (OSError, ValueError) as error:
        report.failed(str(error))
    except Unavailable as error:
        report.failed(f"waited in vain: {error}")
    except Exception as error:
        # The place and never the message, which might quote a key.
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__)))
        report.failed(f"{type(error).__name__} at {places}")
    return FAILED if report.failures else DONE


def _run(request: Request, patience: Patience, report: Report, *, only_check: bool) -> None:
    actors = [Actor(user, keys, S3.of(request, keys)) for user in request.users for keys in [read_keys(user.keys)]]
    if not only_check:
        if request.administrator is None:
            raise ValueError("the request names no administrator: this storage is run by others, so only --check can be done")
        report.say(f"waiting for {request.endpoint}")
        provision(request, read_keys(request.administrator), actors, patience, report)
    if not report.failures:
        check(request.buckets, actors, patience, report, strict=not only_check)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
