"""Take the first base backup of a database as soon as its archive works. Runs in a Job: `python -m services.first_backup.take REQUEST`.

A `ScheduledBackup` that begins at once races the bucket and its keys, fails, and is not tried again before its time. This program waits
until the operator says that the write-ahead log is archived, has a backup taken, and another one if that fails. Running it again changes
nothing once there is one.
Exit codes: 0 there is a base backup; 1 there is none yet, and the Job tries again.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import frozen

from services.kubernetes_api.api import ACCOUNT, Api, ApiError, RefusedError

DONE, FAILED = 0, 1
_PAUSE_SECONDS = 5.0
_ACCESS_GRACE_SECONDS = 60.0
"""How long the API may refuse: the rights, and the operator's definitions, may come later than the Job."""
_GROUP = "/apis/postgresql.cnpg.io/v1"

Object = Mapping[str, Any]


@frozen
class Wanted:
    """The base backup of one life of a database: `generation` is that of the site, `plugin` the one that takes it."""

    namespace: str
    cluster: str
    generation: int
    plugin: str

    def name(self, number: int) -> str:
        """Of the n-th try, from 1."""
        return f"{self.cluster}-{self.generation}-first-{number}"

    def manifest(self, number: int) -> Object:
        """The Backup that the operator is asked for."""
        return {
            "apiVersion": "postgresql.cnpg.io/v1",
            "kind": "Backup",
            "metadata": {
                "name": self.name(number),
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/part-of": "matrix-platform"},
            },
            "spec": {"cluster": {"name": self.cluster}, "method": "plugin", "pluginConfiguration": {"name": self.plugin}},
        }


def read_request(path: Path) -> Wanted:
    """Raises ValueError for a file of another form, OSError when it cannot be read."""
    try:
        request = json.loads(path.read_text())
        return Wanted(request["namespace"], request["cluster"], int(request["generation"]), request["plugin"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no request file: {type(error).__name__} {error}") from None


def take(api: Api, wanted: Wanted, say: Callable[[str], None], pause: float = _PAUSE_SECONDS) -> None:
    """Return when there is a base backup. Raises ApiError at the deadline, RefusedError when rights or definitions do not come."""
    started, number, said = time.monotonic(), 1, "?"
    while True:
        try:
            state, number = _step(api, wanted, number)
        except RefusedError as error:
            if error.status not in (403, 404) or time.monotonic() - started > _ACCESS_GRACE_SECONDS:
                raise
            state = str(error)
        if state != said:
            say(f"{wanted.cluster}: {state or 'there is a base backup'}")
            said = state
        if not state:
            return
        if time.monotonic() + pause >= api.deadline:
            raise ApiError(f"{wanted.cluster} has no base backup in time: {state}")
        time.sleep(pause)


def _step(api: Api, wanted: Wanted, number: int) -> tuple[str, int]:
    """Look, and do what is next. Returns what is waited for, nothing if there is a backup, and the number of the try."""
    backups = f"{_GROUP}/namespaces/{quote(wanted.namespace)}/backups"
    backup = api.ask("GET", f"{backups}/{wanted.name(number)}", f"get Backup {wanted.name(number)}", (404,))
    match (backup or {}).get("status", {}).get("phase"):
        case "completed":
            return "", number
        case "failed":
            return f"{wanted.name(number)} has failed, another one follows", number + 1
        case phase if backup is not None:
            return f"waiting for {wanted.name(number)}, which is {phase or 'not begun'}", number
    cluster = api.ask(
        "GET", f"{_GROUP}/namespaces/{quote(wanted.namespace)}/clusters/{wanted.cluster}", f"get Cluster {wanted.cluster}", (404,)
    )
    if cluster is None:
        return "waiting for the Cluster", number
    conditions = {c["type"]: c["status"] for c in cluster.get("status", {}).get("conditions", ())}
    # cloudnative-pg, api/v1/cluster_types.go: ConditionClusterReady and ConditionContinuousArchiving.
    if lacking := [name for name in ("Ready", "ContinuousArchiving") if conditions.get(name) != "True"]:
        return f"waiting for the Cluster to be {' and '.join(lacking)}", number
    api.ask("POST", backups, f"create Backup {wanted.name(number)}", (409,), "application/json", wanted.manifest(number))
    return f"waiting for {wanted.name(number)}", number


def main(arguments: Sequence[str] | None = None, *, environment: Mapping[str, str] = os.environ) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="take", description="Take the first base backup of a database.")
    parser.add_argument("request", type=Path, help="of which database (JSON)")
    parser.add_argument("--time-limit", type=float, default=3600, metavar="SECONDS", help="give up after this long (default: %(default)s)")
    parser.add_argument("--account", type=Path, default=ACCOUNT, metavar="FOLDER", help="the token and ca.crt (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        wanted = read_request(options.request)
        take(Api.of_pod(environment, options.account, time.monotonic() + options.time_limit), wanted, _say)
    except (ApiError, RefusedError, OSError, ValueError) as error:
        _say(f"FAILED: {error}")
        return FAILED
    return DONE


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
