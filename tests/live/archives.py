"""Databases that archive, and are restored, as the backup plugin does it: what a site says, with barman-cloud's own programs.

The plugin runs these programs with these arguments (github.com/cloudnative-pg/barman-cloud, pkg/command and pkg/walarchive).
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from app.compiler import render
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.homeservers import ObjectStorage, running_storage
from tests.live.li_stack import PASSWORD, Cluster
from tests.live.processes import LOOPBACK, free_ports, wait_for
from tests.live.programs import newest_postgresql_programs

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
NEW, RESTORED = "", "backups: {generation: 2, restore: {generation: 1}}\n"
_NOBODY = 65534


@frozen
class Rendered:
    """What a site makes of the database, and where its archive is in place of MinIO."""

    cluster: Mapping[str, Any]
    store: Mapping[str, Any]
    endpoint: str

    @property
    def server(self) -> str:
        """Under what name it archives."""
        (plugin,) = self.cluster["plugins"]
        return str(plugin["parameters"]["serverName"])

    @property
    def source(self) -> str:
        """Under what name that has archived from which it is made."""
        recovery = self.cluster["bootstrap"]["recovery"]
        (found,) = (one for one in self.cluster["externalClusters"] if one["name"] == recovery["source"])
        return str(found["plugin"]["parameters"]["serverName"])

    @property
    def target(self) -> str | None:
        """The time to which it is restored, as the operator writes it (cloudnative-pg, pkg/postgres/time: ConvertToPostgresFormat)."""
        target = self.cluster["bootstrap"]["recovery"].get("recoveryTarget", {})
        return datetime.fromisoformat(target["targetTime"]).isoformat(" ", "microseconds") if target else None

    def command(self, program: str, server: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """One of barman-cloud's programs."""
        configuration = self.store["configuration"]
        compressed = {"barman-cloud-wal-archive": "wal", "barman-cloud-backup": "data"}.get(program)
        words = [f"--{configuration[compressed]['compression']}"] if compressed else []
        if program == "barman-cloud-backup":
            words += ["--jobs", str(configuration["data"]["jobs"])]
        place = [configuration["destinationPath"], server]
        return [str(ROOT / ".venv-live" / "bin" / program), *options, *words, "--endpoint-url", self.endpoint, *place, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Of these programs."""
        given = {one["name"]: one["value"] for one in self.store["instanceSidecarConfiguration"]["env"]}
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        return {"PATH": os.environ["PATH"], "HOME": "/tmp", **given, **keys}

    def run(self, program: str, server: str, *arguments: str, options: tuple[str, ...] = (), code: int = 0, **variables: str) -> str:
        """Run one to its end. Returns what it has printed."""
        command, environment = self.command(program, server, *arguments, options=options), {**self.environment, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False, cwd="/tmp")
        assert done.returncode == code, f"{program}: {done.returncode} {done.stderr[-2000:]}"
        return done.stdout + done.stderr


def rendered(choices: str, storage: ObjectStorage) -> Rendered:
    """A site with these choices."""
    objects = render(parse_site(BASE + choices), profiles()[0]).objects.values()
    (cluster,) = (o.manifest["spec"] for o in objects if o.manifest["kind"] == "Cluster")
    (store,) = (o.manifest["spec"] for o in objects if o.manifest["kind"] == "ObjectStore")
    return Rendered(cluster, store, storage.endpoint)


# What PostgreSQL runs: it asks the thread of `Plugin` beside it, as it asks the plugin, and waits for the answer. The interpreter of these
# tests may be where PostgreSQL's user cannot read.
ASK = """#!/bin/sh
cd "$1" || exit 255
printf '%s\\n' "$2" "$3" "$4" >asked.tmp && mv asked.tmp asked
while [ ! -e answered ]; do sleep 0.02; done
read -r code <answered
rm answered
exit "$code"
"""


@define
class Plugin:
    """The plugin of one database: it archives the files of its log, and fetches those of the archive that it is made of."""

    of: Rendered
    data: Path
    folder: Path
    ended: threading.Event = field(factory=threading.Event)

    def start(self) -> None:
        """Answer, in a thread that ends with the program."""
        self.folder.mkdir(mode=0o777)
        self.folder.chmod(0o777)
        script = self.folder / "ask"
        script.write_text(ASK)
        script.chmod(0o755)
        threading.Thread(target=self._answer, daemon=True).start()

    def command(self, what: str) -> str:
        """What stands in PostgreSQL's configuration."""
        return f"'{self.folder}/ask {self.folder} {what} %p %f'"

    def _answer(self) -> None:
        asked = self.folder / "asked"
        while not self.ended.wait(0.02):
            if not asked.exists():
                continue
            what, path, name = asked.read_text().split()
            asked.unlink()
            file = self.data / path
            if what == "archive":
                words = self.of.command("barman-cloud-wal-archive", self.of.server, str(file))
            else:
                words = self.of.command("barman-cloud-wal-restore", self.of.source, name, str(file))
            done = subprocess.run(words, env=self.of.environment, capture_output=True, text=True, timeout=120, check=False, cwd="/tmp")
            if what == "fetch" and file.exists():
                os.chown(file, _NOBODY, _NOBODY)
            (self.folder / "answer").write_text(f"{done.returncode}\n")
            (self.folder / "answer").rename(self.folder / "answered")


@frozen
class Place:
    """Where databases are made: each in a folder of its own that ends with the block."""

    folder: Path
    storage: ObjectStorage
    stack: ExitStack

    def new(self, of: Rendered, name: str) -> Cluster:
        """An empty database that archives."""
        database = self._server(name)
        database.make(self._settings(of, database))
        database.start()
        database.sql("create database synapse", database="postgres")
        return database

    def restored(self, of: Rendered, name: str) -> Cluster:
        """The database of an archive, as far as the archive goes or to the site's time; running, and archiving on its own."""
        # The plugin asks before it archives for the first time.
        of.run("barman-cloud-check-wal-archive", of.server)
        database = self._server(name)
        (latest,) = [line.split()[0] for line in of.run("barman-cloud-backup-list", of.source).splitlines()[-1:]]
        of.run("barman-cloud-restore", of.source, latest, str(database.folder))
        (database.folder / "recovery.signal").touch()
        subprocess.run(["chown", "--recursive", f"{_NOBODY}:{_NOBODY}", database.folder], check=True, timeout=60)
        settings = {"recovery_target_action": "promote"} | ({"recovery_target_time": f"'{of.target}'"} if of.target else {})
        database.configure({**self._settings(of, database), **settings})
        database.start()
        wait_for(lambda: database.sql("select pg_is_in_recovery()") == [(False,)], 60, "the end of the recovery")
        return database

    def _server(self, name: str) -> Cluster:
        (port,) = free_ports(1)
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        os.chown(folder, _NOBODY, _NOBODY)
        return Cluster(newest_postgresql_programs(), folder, port, self.stack)

    def _settings(self, of: Rendered, database: Cluster) -> dict[str, str]:
        plugin = Plugin(of, database.folder, database.folder.with_name(f"{database.folder.name}-plugin"))
        plugin.start()
        self.stack.callback(plugin.ended.set)
        known = {name: f"'{value}'" for name, value in of.cluster["postgresql"]["parameters"].items() if "." not in name}
        # A replication slot is not needed here, and the operator sets the level of the log.
        return {
            **known,
            "wal_level": "logical",
            "sync_replication_slots": "off",
            "archive_mode": "on",
            "archive_command": plugin.command("archive"),
            "restore_command": plugin.command("fetch"),
        }


@contextmanager
def databases() -> Iterator[Place]:
    """A place for databases, and an S3 with the bucket that they archive in."""
    # Not in pytest's own folder, which other users may not look into.
    with tempfile.TemporaryDirectory(prefix="restore-") as name, running_storage() as storage, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        storage.client().create_bucket(Bucket="matrix-backups")
        yield Place(folder, storage, stack)


def backup(of: Rendered, database: Cluster) -> None:
    """A base backup, as the plugin takes it on an instance."""
    options = ("--host", LOOPBACK, "--port", str(database.port), "--user", "postgres", "--immediate-checkpoint")
    of.run("barman-cloud-backup", of.server, options=options, PGPASSWORD=PASSWORD)


def archived(database: Cluster) -> None:
    """Wait until all that is written so far is in the archive, as it would be within `archive_timeout`."""
    (name,) = database.sql("select pg_walfile_name(pg_switch_wal())")[0]
    wait_for(
        lambda: database.sql(f"select coalesce(last_archived_wal >= '{name}', false) from pg_stat_archiver") == [(True,)],
        60,
        f"{name} to be archived",
    )
