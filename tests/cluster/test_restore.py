"""The database is lost with its volumes while people send, and comes back from its backup as docs/05-BACKUP-RESTORE.md says."""

import time
from pathlib import Path

import pytest

from tests.cluster import SITE, Cluster, Overlay, compiled
from tests.cluster.conftest import PROFILE
from tests.cluster.convergence import missing, postgresql, why
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.people import scenarios
from tests.cluster.report import Report
from tests.live.traffic import Traffic
from tests.live.traffic_log import lost, twice

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

MATRIX = ("--namespace", "matrix")
SYNAPSE = ("--selector", "app.kubernetes.io/name=synapse")
RESTORED_SECONDS = 900.0
LOST_SECONDS = 300.0
"""What the page promises: a file of the log is sent every five minutes at the latest (archive_timeout)."""
AGAIN = "\nbackups:\n  generation: 2\n  restore: {generation: 1}\n"


def test_the_database_comes_back_after_its_total_loss(
    people: Traffic, api: Kubernetes, cluster: Cluster, report: Report, tmp_path: Path
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE.read_text() + AGAIN)
    again = Overlay(compiled(site, tmp_path / "dist") / PROFILE, cluster.place.folder / "again")

    _archive(api)
    gone = time.monotonic()
    api.kubectl("scale", "statefulset", *MATRIX, *SYNAPSE, "--replicas=0")
    api.kubectl("wait", "--for=delete", "pod", *MATRIX, *SYNAPSE, "--timeout=300s", seconds=330)
    api.kubectl("delete", "clusters.postgresql.cnpg.io", "postgresql-main", *MATRIX, seconds=300)
    wait_until(lambda: not _claims(api), 300, "the volumes are gone")
    started = time.monotonic()
    again.apply(api)
    words = ("wait", "--for=condition=Ready", "cluster/postgresql-main", *MATRIX, f"--timeout={RESTORED_SECONDS:.0f}s")
    api.kubectl(*words, seconds=RESTORED_SECONDS + 30)
    ready = time.monotonic()
    api.exec("matrix", "postgresql-main-1", ["psql", "synapse", "-c", "TRUNCATE e2e_one_time_keys_json"], container="postgres")
    api.kubectl("scale", "statefulset", *MATRIX, *SYNAPSE, "--replicas=1")
    api.kubectl("rollout", "restart", "statefulset", *MATRIX, *SYNAPSE)
    again.apply(api)
    wait_until(lambda: not missing(api), RESTORED_SECONDS, lambda: why(api), pause=3)
    whole = time.monotonic()

    people.check()
    lines = people.lines()
    missed = {event for _, event in lost(lines)}
    times = [line["at"] for line in lines if line["kind"] == "accepted" and line["event"] in missed and line["at"] < gone]
    seconds = gone - min(times) if times else 0.0
    report.add(
        "database and volumes lost", f"restored {ready - started:.0f} s after the apply, everything ready after {whole - started:.0f} s"
    )
    report.add("lost with it", f"{len(times)} messages, of the last {seconds:.0f} s")
    assert seconds < LOST_SECONDS + 60, "what was archived is there"
    assert twice(lines) == set()


def _archive(api: Kubernetes) -> None:
    """Wait until the log is archived so far: a base backup that has just ended needs the log of its end."""
    ask = ["psql", "-Atc"]
    primary = str(postgresql(api)["status"]["currentPrimary"])
    file = api.exec("matrix", primary, [*ask, "SELECT pg_walfile_name(pg_switch_wal())"], container="postgres").strip()
    done = f"SELECT last_archived_wal >= '{file}' FROM pg_stat_archiver"
    wait_until(lambda: api.exec("matrix", primary, [*ask, done], container="postgres").strip() == "t", 300, f"{file} is archived", pause=2)


def _claims(api: Kubernetes) -> list[str]:
    return [o["metadata"]["name"] for o in api.objects("persistentvolumeclaims", "matrix", "cnpg.io/cluster=postgresql-main")]


@pytest.mark.usefixtures("people")
def test_people_use_what_was_restored(api: Kubernetes, cluster: Cluster, report: Report) -> None:
    facts = scenarios(api, cluster.place.folder / "people", "messages")
    assert [name for name, result in facts.items() if "failed" in result] == []
    report.add("after the restore", "new messages are sent and read")


def test_the_new_database_is_backed_up_in_a_place_of_its_own(api: Kubernetes) -> None:
    def completed() -> bool:
        found = api.get("backups.postgresql.cnpg.io", "postgresql-main-2-first-1", "matrix") or {}
        return bool(found.get("status", {}).get("phase") == "completed")

    wait_until(completed, RESTORED_SECONDS, "the first base backup of the new generation", pause=3)
