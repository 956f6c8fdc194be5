"""docs/05-BACKUP-RESTORE.md, followed word for word: every command of it is run, and what it promises to bring back is there again.

What was lost (RPO) and how long it took until it was back (RTO) is printed. `make drill` runs these.
"""

import json
import re
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cdk8s import App

from app.platform import assemble
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.archives import BASE, Place, archived, databases
from tests.live.guide_cluster import MAIN, GuideCluster, guide_cluster, secret
from tests.live.li_stack import Cluster
from tests.live.programs import installed

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

GUIDE = (ROOT / "docs" / "05-BACKUP-RESTORE.md").read_text()
TIME, ITS_TIME = "2026-01-31T12:00:00", "%Y-%m-%dT%H:%M:%S"
FOLLOWED = {
    "Look whether backups are there",
    "The database is lost",
    "Back to a point in time",
    "One table",
    "Media",
    "Secrets",
}
STOPPED_AND_STARTED = ["--replicas=0", "--replicas=1", "app.kubernetes.io/name=synapse"]
"""The last words of what is asked of Synapse: nobody outlives the database of before, and all start anew at the end."""
SEND = "insert into messages default values returning id"


def blocks(section: str) -> list[tuple[str, str]]:
    """The language and the text of each block of a section, as it stands in the guide."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```(sh|yaml)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [(language, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)) for indent, language, block in found]


def commands(section: str) -> list[str]:
    return [text for language, text in blocks(section) if language == "sh"]


@pytest.fixture
def place() -> Iterator[Place]:
    with databases() as found:
        yield found


@pytest.fixture
def cluster(place: Place, tmp_path: Path) -> Iterator[GuideCluster]:
    """A platform that runs, with people's messages in its database."""
    with guide_cluster(place, tmp_path, BASE) as found:
        found.run("make synth\nkubectl apply --server-side -k dist/overlays/1000-ccu")
        found.databases[MAIN].sql(
            "create table messages (id bigserial primary key, at timestamptz default clock_timestamp())",
            "create table event_reports (id bigserial primary key, reason text)",
            "create table e2e_one_time_keys_json (key text)",
            "insert into e2e_one_time_keys_json values ('claimed')",
            "insert into event_reports (reason) values ('spam'), ('abuse')",
        )
        yield found


def send(database: Cluster, count: int) -> list[int]:
    return [database.sql(SEND)[0][0] for _ in range(count)]


def there(database: Cluster) -> list[int]:
    return [number for (number,) in database.sql("select id from messages order by id")]


def follow(cluster: GuideCluster, section: str, moment: str = TIME) -> None:
    """Do what a section says, from its first block to its last; what it puts into site.yaml goes there."""
    for language, text in blocks(section):
        if language == "yaml":
            (cluster.folder / "site.yaml").write_text(BASE + text.replace(TIME, moment))
        else:
            cluster.run(text.replace(TIME, moment))


def say(capsys: pytest.CaptureFixture[str], drill: str, lost: str, seconds: float) -> None:
    with capsys.disabled():
        print(f"\n{drill}: lost (RPO) {lost}; back after (RTO) {seconds:.1f} s", end="")


def test_every_section_with_commands_is_followed() -> None:
    sections = re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
    assert {section for section in sections if commands(section)} == FOLLOWED


def test_a_command_that_nobody_has_tried_is_noticed(cluster: GuideCluster) -> None:
    with pytest.raises(AssertionError, match="does not know: kubectl drain"):
        cluster.run("kubectl drain node-1")


def test_the_backups_are_looked_at_and_one_is_taken_by_hand(cluster: GuideCluster) -> None:
    look, by_hand = commands("Look whether backups are there")
    assert "ContinuousArchiving=True" in cluster.run(look)
    cluster.run(by_hand)
    assert cluster.run(look).splitlines()[:2] == ["postgresql-main-1-first-1 completed", "by-hand-1 completed"]


def test_the_database_is_lost_and_comes_back(cluster: GuideCluster, capsys: pytest.CaptureFixture[str]) -> None:
    database = cluster.databases[MAIN]
    sent = send(database, 200)
    archived(database)
    last = send(database, 3)
    database.kill()
    started = time.monotonic()
    follow(cluster, "The database is lost")
    restored = cluster.databases[MAIN]
    send(restored, 1)
    took = time.monotonic() - started
    assert there(restored)[:-1] == sent
    assert restored.sql("select * from e2e_one_time_keys_json") == []
    assert [words.split()[-1] for words in cluster.asked_of_synapse] == STOPPED_AND_STARTED
    assert cluster.backups["postgresql-main-2-first-1"] == "completed"
    say(capsys, "total loss", f"{len(last)} rows, those of the file of the log that was not full yet", took)


def test_the_database_goes_back_to_the_second_before_a_mistake(cluster: GuideCluster, capsys: pytest.CaptureFixture[str]) -> None:
    database = cluster.databases[MAIN]
    sent = send(database, 50)
    moment = _a_moment()
    database.sql("delete from messages")
    started = time.monotonic()
    follow(cluster, "Back to a point in time", moment)
    restored = cluster.databases[MAIN]
    send(restored, 1)
    took = time.monotonic() - started
    assert there(restored)[:-1] == sent
    assert restored.sql("select * from e2e_one_time_keys_json") == []
    assert [words.split()[-1] for words in cluster.asked_of_synapse] == STOPPED_AND_STARTED
    say(capsys, "point in time", "what came after the second before the DELETE", took)


def test_one_table_comes_back_into_the_database_that_runs(cluster: GuideCluster, capsys: pytest.CaptureFixture[str]) -> None:
    database = cluster.databases[MAIN]
    moment = _a_moment()
    database.sql("drop table event_reports")
    sent = send(database, 5)
    archived(database)
    started = time.monotonic()
    follow(cluster, "One table", moment)
    took = time.monotonic() - started
    assert database.sql("select reason from event_reports order by id") == [("spam",), ("abuse",)]
    assert there(database) == sent, "nothing else has changed"
    assert cluster.databases.keys() == {MAIN}
    say(capsys, "one table", "nothing", took)


def _a_moment() -> str:
    """A second in which nothing happens."""
    time.sleep(1.1)
    moment = datetime.now(UTC).strftime(ITS_TIME)
    time.sleep(1.1)
    return moment


def test_a_bucket_is_copied_away_and_comes_back(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed("rclone")
    copy, back, one_file, undelete = (text.replace("/srv/matrix-copy", f"{tmp_path}/copy") for text in commands("Media"))
    # A shell that goes on would still have these.
    settings = "trap 'kill %1' EXIT\n" + copy.rpartition("rclone copy")[0]
    s3 = place.storage.client()
    s3.create_bucket(Bucket="matrix-media")
    for bucket in ("matrix-backups", "matrix-media"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    files = {f"local_content/{number:02}/file": secrets.token_bytes(20_000) for number in range(40)}
    for name, content in files.items():
        s3.put_object(Bucket="matrix-media", Key=name, Body=content)
        s3.put_object(Bucket="matrix-backups", Key=name, Body=content)
    with guide_cluster(place, tmp_path, BASE) as cluster:
        cluster.secrets["matrix", "minio-main-root"] = secret("matrix", "minio-main-root", {"access-key": "key", "secret-key": "secret"})
        cluster.run(f"trap 'kill %1' EXIT\n{copy}", PASSPHRASE="a passphrase")
        on_disk = b"".join(path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file())
        assert len(on_disk) > 40 * 20_000
        assert files["local_content/00/file"][:32] not in on_disk, "it is encrypted"
        s3.put_object(Bucket="matrix-media", Key="local_content/since", Body=b"sent after the copy")
        _empty(s3, "matrix-media")
        started = time.monotonic()
        cluster.run(settings + back, PASSPHRASE="a passphrase")
        assert _content(s3, "matrix-media") == files
        say(capsys, "one bucket", "1 file, sent after the copy", time.monotonic() - started)

        removed = ("local_content/aB/cD/efgh", "local_thumbnails/aB/cD/efgh/32-32-image-png-crop", "local_content/aB/cD/other")
        for name in removed:
            s3.put_object(Bucket="matrix-media", Key=name, Body=name.encode())
        moment = _a_moment()
        for name in removed:
            s3.delete_object(Bucket="matrix-media", Key=name)
        started = time.monotonic()
        cluster.run(settings + one_file.replace(TIME, moment), PASSPHRASE="a passphrase")
        assert _content(s3, "matrix-media") == files | {name: name.encode() for name in removed[:2]}, "and nothing else that was removed"
        say(capsys, "a file that was removed from the bucket", "nothing", time.monotonic() - started)

        moment = _a_moment()
        _empty(s3, "matrix-backups")
        assert _content(s3, "matrix-backups") == {}
        started = time.monotonic()
        cluster.run(settings + undelete.replace(TIME, moment), PASSPHRASE="a passphrase")
        assert _content(s3, "matrix-backups") == files
        say(capsys, "backups that somebody has deleted", "nothing", time.monotonic() - started)


def _empty(s3: Any, bucket: str) -> None:
    for one in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])


def _content(s3: Any, bucket: str) -> dict[str, bytes]:
    names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
    return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def test_secrets_are_exported_lost_and_brought_back(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = f"{BASE}features: {{authentication_service: true}}\n"
    declared = [need.spec for need in assemble(App(), parse_site(site), profiles()[0]).declared.secrets if not need.spec.made_in_cluster]
    export, bring_back = commands("Secrets")
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"# created: 2026-01-31T12:00:00Z\n# public key: {identity.to_public()}\n{identity}\n")
    with guide_cluster(place, tmp_path, site) as cluster:
        cluster.run("make synth")
        for spec in declared:
            values = {key: secrets.token_hex(16) for key, _ in spec.keys}
            cluster.secrets[spec.namespace, spec.name] = secret(spec.namespace, spec.name, values)
        before = _values(cluster)
        cluster.run(export)
        (copy,) = tmp_path.glob("*.age")
        assert copy.stat().st_mode & 0o777 == 0o600
        assert not any(value in copy.read_text() for data in before.values() for value in data.values())
        assert {"synapse", "matrix-authentication-service"} <= {name for _, name in before}, "signing keys, and those of logins"

        # One is lost.
        del cluster.secrets["matrix", "synapse"]
        started = time.monotonic()
        cluster.run(bring_back.rstrip() + " --only matrix/synapse")
        assert _values(cluster) == before
        say(capsys, "one Secret", "what changed since the export", time.monotonic() - started)

        # All of them are, and one was made anew.
        other = secret("matrix", "synapse", {"signing.key": "another"})
        cluster.secrets = {("matrix", "synapse"): other}
        started = time.monotonic()
        with pytest.raises(AssertionError, match=r"left alone: matrix/synapse; --replace puts"):
            cluster.run(bring_back)
        assert cluster.secrets["matrix", "synapse"] == other
        cluster.run(bring_back.rstrip() + " --replace")
        assert _values(cluster) == before
        say(capsys, f"all {len(before)} Secrets", "what changed since the export", time.monotonic() - started)


def _values(cluster: GuideCluster) -> dict[tuple[str, str], dict[str, str]]:
    return {name: dict(json.loads(json.dumps(manifest["data"]))) for name, manifest in cluster.secrets.items()}
