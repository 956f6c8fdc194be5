"""What the homeserver deletes is gone from the bucket: the real Synapse on the real PostgreSQL, and an S3."""

import json
import struct
import subprocess
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from attrs import frozen

from tests.kustomize import ROOT
from tests.live.homeservers import BUCKET, Homeserver, ObjectStorage, running_homeserver, running_storage
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, free_ports, running
from tests.live.report import Report
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PASSWORD = "password-of-the-test"


@frozen
class Site:
    """A homeserver with media in a bucket that keeps versions, and the request for the sweep."""

    homeserver: Homeserver
    storage: ObjectStorage
    database: Mapping[str, Any]
    folder: Path

    def names(self) -> set[str]:
        """The names of all objects of which there is any version."""
        answer = self.storage.client().list_object_versions(Bucket=BUCKET)
        return {one["Key"] for kind in ("Versions", "DeleteMarkers") for one in answer.get(kind, ())}

    def sweep(self, *options: str, code: int = 0, **changes: Any) -> dict[str, Any]:
        """Run the program; its last line."""
        request = {
            "bucket": BUCKET,
            "endpoint": self.storage.endpoint,
            "region": "us-east-1",
            "database": self.database,
            "password_file": str(self.folder / "pgpass"),
            "minimum_age_hours": 0,
            "most_percent": 50,
            "dry_run": False,
            **changes,
        }
        (self.folder / "request.json").write_text(json.dumps(request))
        command: list[str | Path] = [synapse_python(), "-m", "services.media_sweep.sweep", self.folder / "request.json", *options]
        environment = {"PYTHONPATH": str(ROOT), "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"), "PATH": "/usr/bin:/bin"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == code, run.stdout + run.stderr
        assert PASSWORD not in run.stdout + run.stderr
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return found | {"errors": run.stderr, "lines": run.stdout.splitlines()[:-1]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sweep")
    (port,) = free_ports(1)
    with running_postgresql(port, "synapse", PASSWORD), running_storage() as storage:
        storage.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        parameters: dict[str, Any] = {"host": LOOPBACK, "port": port, "dbname": "synapse", "user": "synapse"}
        with psycopg.connect(**{**parameters, "dbname": "postgres"}, password=PASSWORD, autocommit=True) as connection:
            connection.execute("CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        (folder / "pgpass").write_text(f"{LOOPBACK}:{port}:synapse:synapse:{PASSWORD}\n")
        # As a Secret's files are for the pod's group.
        (folder / "pgpass").chmod(0o440)
        (folder / "credentials").write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
        database = {"name": "psycopg2", "args": {**parameters, "password": PASSWORD, "cp_min": 1, "cp_max": 5}}
        with running_homeserver(folder / "synapse", storage=storage, database=database) as homeserver:
            homeserver.register("bob")
            yield Site(homeserver, storage, parameters, folder)


def picture(color: bytes) -> bytes:
    """A PNG of one colour, large enough for every size of thumbnail."""
    width, height = 900, 700

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + color * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def upload(site: Site, user: str, color: bytes) -> str:
    """Its id; it and its thumbnails are in the bucket."""
    status, _, _ = (answer := site.homeserver.request("POST", "/_matrix/media/v3/upload?filename=a.png", picture(color), user, "image/png"))
    assert status == 200, answer
    return str(json.loads(answer[1])["content_uri"].rpartition("/")[2])


def of(site: Site, media: str) -> set[str]:
    """The objects of an upload."""
    return {name for name in site.names() if f"/{media[:2]}/{media[2:4]}/{media[4:]}" in name}


def delete(site: Site, path: str, method: str = "DELETE") -> None:
    status, text, _ = site.homeserver.request(method, path, b"{}", "admin", "application/json")
    assert status == 200, text


def test_what_is_deleted_by_an_administrator_with_its_user_and_by_age_is_gone_and_nothing_else(site: Site, report: Report) -> None:
    by_age = upload(site, "alice", b"\0\0\xff")
    by_admin, kept, with_user = upload(site, "alice", b"\xff\0\0"), upload(site, "alice", b"\0\xff\0"), upload(site, "bob", b"\xff\xff\xff")
    # An older version of an object, and something that is not Synapse's.
    client = site.storage.client()
    overwritten = min(of(site, by_admin))
    client.put_object(Bucket=BUCKET, Key=overwritten, Body=b"another version")
    client.put_object(Bucket=BUCKET, Key="someone/elses.txt", Body=b"x")
    before = site.names()
    doomed = of(site, by_age) | of(site, by_admin) | of(site, with_user)
    assert len(doomed) > 3 * 2, "with thumbnails"

    server = quote(site.homeserver.name)
    delete(site, f"/_synapse/admin/v1/media/{server}/{by_admin}")
    delete(site, f"/_synapse/admin/v1/users/{quote('@bob:' + site.homeserver.name)}/media")
    with psycopg.connect(**site.database, password=PASSWORD, autocommit=True) as connection:
        connection.execute("UPDATE local_media_repository SET created_ts = 1000, last_access_ts = 1000 WHERE media_id = %s", (by_age,))
    # What the job behind `media_retention` calls too (synapse/media/media_repository.py, delete_old_local_media).
    delete(site, "/_synapse/admin/v1/media/delete?before_ts=100000000000", "POST")
    # This is why there is a sweep.
    assert site.names() == before

    young = site.sweep(minimum_age_hours=24)
    assert (young["objects"].get("removed", 0), site.names()) == (0, before)
    tried = site.sweep("--dry-run")
    assert {json.loads(line)["would remove"] for line in tried["lines"]} == doomed
    assert site.names() == before

    swept = site.sweep()
    assert site.names() == before - doomed
    assert swept["objects"]["removed"] == len(doomed) + 1, "and the older version"
    assert of(site, kept)
    assert "someone/elses.txt" in site.names()
    status, content = site.homeserver.download(f"mxc://{site.homeserver.name}/{kept}")
    assert (status, content) == (200, picture(b"\0\xff\0"))
    again = site.sweep()
    assert again["objects"].get("removed", 0) == 0
    report.scenarios.append(("media deleted by admin, with a user, by age", f"{len(doomed)} objects gone, {len(before - doomed)} left"))


def test_what_was_removed_by_mistake_comes_back_where_the_bucket_keeps_it(site: Site) -> None:
    client, media = site.storage.client(), upload(site, "alice", b"\xff\0\xff")
    names, before = of(site, media), _versions(client)
    with psycopg.connect(**site.database, password=PASSWORD, autocommit=True) as connection:
        (row,) = connection.execute("SELECT row_to_json(m)::text FROM local_media_repository m WHERE media_id = %s", (media,)).fetchall()
        delete(site, f"/_synapse/admin/v1/media/{quote(site.homeserver.name)}/{media}")
        swept = site.sweep(keep_versions=True)
        assert swept["objects"]["removed"] == len(names)
        assert _there(client) & names == set()
        assert before.items() <= _versions(client).items(), "each version is still there"
        assert site.sweep(keep_versions=True)["objects"].get("removed", 0) == 0, "what is only marked is not counted again"
        assert site.homeserver.download(f"mxc://{site.homeserver.name}/{media}")[0] == 404
        # As docs/05-BACKUP-RESTORE.md says: the file as it was before, and its row.
        for name in names:
            source = {"Bucket": BUCKET, "Key": name, "VersionId": before[name]}
            client.copy_object(Bucket=BUCKET, Key=name, CopySource=source)
        connection.execute("INSERT INTO local_media_repository SELECT * FROM json_populate_record(null::local_media_repository, %s)", row)
    assert site.homeserver.download(f"mxc://{site.homeserver.name}/{media}") == (200, picture(b"\xff\0\xff"))
    assert site.sweep(keep_versions=True)["objects"].get("removed", 0) == 0


def _there(client: Any) -> set[str]:
    return {one["Key"] for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def _versions(client: Any) -> dict[str, str]:
    """The newest version of each object that is no mark."""
    found = client.list_object_versions(Bucket=BUCKET).get("Versions", ())
    return {one["Key"]: one["VersionId"] for one in sorted(found, key=lambda one: one["LastModified"])}


def test_copies_of_other_servers_media_go_by_the_name_of_their_file(site: Site) -> None:
    client, content = site.storage.client(), "remote_content/other.example/aB/cD/efgh"
    thumbnail = "remote_thumbnail/other.example/aB/cD/efgh/32-32-image-png-crop"
    for name in (content, thumbnail, "remote_content/other.example/zz/zz/zzzz"):
        client.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    with psycopg.connect(**site.database, password=PASSWORD, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO remote_media_cache (media_origin, media_id, media_type, created_ts, upload_name, media_length, filesystem_id, "
            "last_access_ts) VALUES ('other.example', 'theirs', 'image/png', 1, 'a', 1, 'aBcDefgh', 1)"
        )
    site.sweep()
    assert {content, thumbnail} <= site.names()
    assert "remote_content/other.example/zz/zz/zzzz" not in site.names()


def test_when_most_would_go_nothing_does_unless_a_person_says_so(site: Site) -> None:
    client = site.storage.client()
    names = {f"local_content/AA/{chr(65 + a)}{chr(65 + b)}/lost" for a in range(12) for b in range(12)}
    for name in names:
        client.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    refused = site.sweep(code=3)
    assert "objects would go" in refused["errors"]
    assert names <= site.names()
    site.sweep("--any-share")
    assert not names & site.names()


def test_a_standby_is_not_believed(site: Site) -> None:
    """One that is asked by mistake may not know yet what was just uploaded."""
    # A server that is in recovery, as far as it can be asked.
    with psycopg.connect(**site.database, password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA fake")
        connection.execute("CREATE FUNCTION fake.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        connection.execute("ALTER DATABASE synapse SET search_path = fake, public, pg_catalog")
    try:
        before = site.names()
        assert "standby" in site.sweep(code=1)["errors"]
        assert site.names() == before
    finally:
        with psycopg.connect(**site.database, password=PASSWORD, autocommit=True) as connection:
            connection.execute("ALTER DATABASE synapse RESET search_path")


def test_metrics_say_what_a_run_has_found(site: Site) -> None:
    (port,) = free_ports(1)
    site.sweep()
    request = json.loads((site.folder / "request.json").read_text()) | {"metrics_port": port, "linger_seconds": 60}
    (site.folder / "request.json").write_text(json.dumps(request))
    environment = {"PYTHONPATH": str(ROOT), "AWS_SHARED_CREDENTIALS_FILE": str(site.folder / "credentials")}
    command: list[str | Path] = [synapse_python(), "-m", "services.media_sweep.sweep", site.folder / "request.json"]

    def scrape() -> str:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    with running(command, name="sweep", environment=environment) as program:
        text = program.ready(scrape, 60)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["media_sweep_success"]) == 1
    assert float(values['media_sweep_objects{fate="kept"}']) > 0
    assert float(values['media_sweep_objects{fate="removed"}']) == 0
