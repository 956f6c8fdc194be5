"""A main instance and its LI instance on 127.0.0.1, small and real: PostgreSQL of both, main's with a standby, Synapse of both, S3, Redis.

Main's database is reached through a port that follows the primary, as CloudNativePG's Service does.
"""

import contextlib
import hashlib
import hmac
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import psycopg
import urllib3
import yaml
from attrs import define, field, frozen

from main_instance.synapse.configuration import LOST_SERVER
from services.li_sync.settings import Settings, parse_settings
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import newest_postgresql_programs, redis_program
from tests.live.synapse_site import synapse_python

REPOSITORY = Path(__file__).parents[2]
SERVER_NAME = "example.org"
PASSWORD = "a password for 'tests'"
"""Of all roles; with what SQL and connection strings have to quote."""
WRITERS = ("event-persister-0", "event-persister-1")
OTHER_STREAMS = "streams-0"
LISTED = ("main", *WRITERS, OTHER_STREAMS)
"""The processes of main."""
OFFICER = "li-officer"
LI_DISK_MIB = 768
MAIN_BUCKET, LI_BUCKET = "media", "li-media"
_NOBODY = 65534


@define
class Service:
    """A port of 127.0.0.1 that leads to another one, and can be led elsewhere: connections that are open break then."""

    port: int
    target: int
    open: list[socket.socket] = field(factory=list)
    listener: socket.socket = field(factory=socket.socket)

    def start(self) -> None:
        """Listen, in a thread that ends with the program."""
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((LOOPBACK, self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, port: int) -> None:
        """Lead to another port."""
        self.target = port
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def stop(self) -> None:
        """Listen no longer."""
        self.lead_to(1)
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection((LOOPBACK, self.target), timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self.open += [client, server]
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()


def _pump(a: socket.socket, b: socket.socket) -> None:
    other = {a: b, b: a}
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError), a, b:
        for end in other:
            selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                block = key.fileobj.recv(65536)
                if not block:
                    return
                other[key.fileobj].sendall(block)


@define
class Cluster:
    """One PostgreSQL server. Its files belong to `nobody`, since it does not run as root."""

    programs: Path
    folder: Path
    port: int
    stack: ExitStack
    program: Program | None = None

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "HOME": str(self.folder.parent)}
        command = [*as_nobody(), str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder.parent)
        assert not done.returncode, f"{program}: {done.stderr}"

    def make(self, settings: Mapping[str, str]) -> None:
        """Make an empty cluster."""
        secret = self.folder.parent / "superuser"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.run(
            "initdb",
            "-D",
            self.folder,
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "--locale=C",
            "-E",
            "UTF8",
            "--no-sync",
        )
        self.configure({"fsync": "off", "listen_addresses": f"'{LOOPBACK}'", "unix_socket_directories": "''", **settings})

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add to its configuration."""
        with (self.folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {text}\n" for name, text in {"port": str(self.port), **settings}.items())

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [*as_nobody(), str(self.programs / "postgres"), "-D", str(self.folder)]
        self.program = self.stack.enter_context(running(command, name=f"postgres-{self.folder.name}", folder=self.folder))
        self.program.ready(self.answers, 60)

    def answers(self) -> bool:
        """Whether it takes queries."""
        try:
            with self.connect("postgres"):
                return True
        except psycopg.OperationalError:
            return False

    def kill(self) -> None:
        """As a machine that loses power would."""
        assert self.program
        self.program.kill()

    def connect(self, database: str = "synapse") -> psycopg.Connection[Any]:
        """As the superuser."""
        return psycopg.connect(
            host=LOOPBACK, port=self.port, user="postgres", password=PASSWORD, dbname=database, autocommit=True, connect_timeout=5
        )

    def sql(self, *statements: str, database: str = "synapse") -> list[Any]:
        """Run statements; the rows of the last."""
        with self.connect(database) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def primary_conninfo(primary: Cluster) -> str:
    """How a standby finds its primary, as postgresql.conf has it."""
    quoted = PASSWORD.replace("'", r"\'")
    text = f"host={LOOPBACK} port={primary.port} user=postgres dbname=postgres password='{quoted}'"
    return "'" + text.replace("\\", r"\\").replace("'", "''") + "'"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own for LI's database, which a test can fill, where somebody who may make one runs it."""
    folder.mkdir()
    if os.geteuid():
        yield
        return
    options = f"size={LI_DISK_MIB}m,mode=0700,uid={_NOBODY},gid={_NOBODY}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "li", folder], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, timeout=30)


def as_nobody() -> list[str]:
    """Words before a command that must not run as root."""
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []


_HTTP = urllib3.PoolManager(maxsize=64, retries=False)


@frozen
class Answer:
    """Of a homeserver."""

    status: int
    body: Any

    def ok(self) -> Any:
        """The body of a good answer."""
        assert self.status == 200, self
        return self.body


@frozen
class User:
    """Somebody with an access token."""

    base: str
    name: str
    token: str

    def call(self, method: str, path: str, body: Any = None, *, base: str = "", timeout: float = 40, raw: bytes | None = None) -> Answer:
        """A request of the client or admin API; `path` from `/_matrix/client/v3`, or a whole one that begins with `/_`."""
        url = (base or self.base) + (path if path.startswith("/_") else f"/_matrix/client/v3{path}")
        kind = {"Content-Type": "application/json"} if raw is None else {"Content-Type": "image/png"}
        headers = {"Authorization": f"Bearer {self.token}", **kind}
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        try:
            answer = _HTTP.request(method, url, headers=headers, body=data, timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            return Answer(0, repr(error))
        try:
            return Answer(answer.status, json.loads(answer.data))
        except ValueError:
            return Answer(answer.status, answer.data)

    def send(self, room: str, text: str = "", kind: str = "m.room.message", content: Mapping[str, Any] | None = None) -> str:
        """Send an event; its id."""
        body, transaction = content or {"msgtype": "m.text", "body": text}, time.time_ns()
        # As clients do: a pooled connection to a database that has restarted is noticed by the request that uses it.
        for _ in range(40):
            answer = self.call("PUT", f"/rooms/{quote(room)}/send/{kind}/{transaction}", body)
            if answer.status == 200:
                break
            time.sleep(0.5)
        found: str = answer.ok()["event_id"]
        return found

    def sync(self, since: str = "", timeout: int = 0) -> Answer:
        """One /sync; `timeout` in milliseconds."""
        everything = quote(json.dumps({"room": {"timeline": {"limit": 1000}}}))
        return self.call("GET", f"/sync?timeout={timeout}&filter={everything}" + (f"&since={since}" if since else ""))


@define
class Stack:
    """Everything that runs."""

    folder: Path
    exits: ExitStack
    main: Cluster
    standby: Cluster
    li: Cluster
    service: Service
    ports: dict[str, int]
    settings_file: Path
    synapse: Path | None = None
    """A folder with another Synapse than the live environment's."""
    programs: dict[str, Program] = field(factory=dict)

    def url(self, name: str) -> str:
        """Where a process of Synapse, or a program of li_sync, listens."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    @property
    def settings(self) -> Settings:
        """li_sync's."""
        return parse_settings(self.settings_file.read_text())

    def s3(self) -> Any:
        """A client that may do anything."""
        return boto3.client("s3", endpoint_url=self.url("s3"), region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")

    # --- li_sync ---

    def command(self, *words: str) -> list[str]:
        """A command of li_sync."""
        return [sys.executable, "-m", "services.li_sync", words[0], "--settings", str(self.settings_file), *words[1:]]

    def task(self, name: str, code: int = 0, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a task in the foreground."""
        done = subprocess.run(self.command("run", name), cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == code, f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def checkpoint(self, name: str) -> dict[str, Any]:
        """A task's checkpoint."""
        found: dict[str, Any] = json.loads((self.folder / "state" / f"{name}.json").read_text())
        return found

    def runs(self, name: str) -> int:
        """How often a task has begun."""
        return int(self.checkpoint(name)["runs"]) if (self.folder / "state" / f"{name}.json").exists() else 0

    def start(self, name: str, *words: str) -> Program:
        """Start a program of li_sync."""
        self.programs[name] = self.exits.enter_context(running(self.command(*words), name=name, folder=REPOSITORY))
        return self.programs[name]

    # --- Synapse ---

    def start_synapse(self, name: str) -> Program:
        """Start a process of Synapse and wait until it serves. LI's takes over main's positions first."""
        python, folder = synapse_python(), self.folder / name
        command: list[str | Path]
        if name == "synapse-li":
            command = [python, REPOSITORY / "services/li_sync/synapse_start.py", "main-master", "-c", folder / "homeserver.yaml"]
        elif name == "main":
            command = [python, "-m", "synapse.app.homeserver", "-c", folder / "homeserver.yaml"]
        else:
            command = [python, "-m", "synapse.app.generic_worker", "-c", self.folder / "main/homeserver.yaml", "-c", folder / "worker.yaml"]
        environment = {"PYTHONPATH": str(self.synapse)} if self.synapse else {}
        program = self.programs[name] = self.exits.enter_context(running(command, name=name, folder=folder, environment=environment))
        program.ready(
            lambda: (
                _HTTP.request("GET", f"{self.url(name)}/health", timeout=2).status == 200
                if accepts_connections(self.ports[name])
                else False
            ),
            120,
        )
        return program

    def register(self, name: str, *, admin: bool = False) -> User:
        """A new user of main."""
        base = self.url("main")
        nobody = User(base, "", "")
        nonce = nobody.call("GET", "/_synapse/admin/v1/register").ok()["nonce"]
        text = "\0".join([nonce, name, PASSWORD, "admin" if admin else "notadmin"])
        mac = hmac.new(b"reg", text.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac}
        return User(base, name, nobody.call("POST", "/_synapse/admin/v1/register", body).ok()["access_token"])

    def add_officer(self) -> None:
        """An account that exists on LI alone, made by the owner of LI's database."""
        made = [
            synapse_python(),
            "-c",
            "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())",
            PASSWORD,
        ]
        hashed = subprocess.run(made, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        with self.li.connect() as connection:
            connection.execute(
                "INSERT INTO public.users (name, password_hash, admin, creation_ts) VALUES (%s, %s, 1, 1)",
                (f"@{OFFICER}:{SERVER_NAME}", hashed),
            )

    def officer(self) -> User:
        """The officer, logged in to LI."""
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": OFFICER}, "password": PASSWORD}
        base = self.url("synapse-li")
        return User(base, OFFICER, User(base, "", "").call("POST", "/login", body).ok()["access_token"])

    def on_li(self, name: str, officer: User) -> User:
        """A user of main, as an officer acts on LI. Their token is given a device, without which sliding sync fails (on main as well)."""
        path = f"/_synapse/admin/v1/users/@{name}:{SERVER_NAME}/login"
        token: str = officer.call("POST", path, {}).ok()["access_token"]
        self.li.sql(
            f"UPDATE local.access_tokens SET device_id = 'LI' WHERE token = '{token}'",
            f"INSERT INTO local.devices (user_id, device_id) VALUES ('@{name}:{SERVER_NAME}', 'LI') ON CONFLICT DO NOTHING",
        )
        return User(officer.base, name, token)


def _write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _listeners(port: int, replication: int) -> list[dict[str, Any]]:
    def listener(number: int, *names: str) -> dict[str, Any]:
        return {"port": number, "bind_addresses": [LOOPBACK], "type": "http", "resources": [{"names": list(names)}]}

    return [listener(port, "client", "media", "health"), listener(replication, "replication")]


def _homeserver(stack: Stack, name: str, database: Mapping[str, Any], redis: int, bucket: str, **special: Any) -> None:
    folder = stack.folder / name
    (folder / "media").mkdir(parents=True, exist_ok=True)
    handlers = {"console": {"class": "logging.StreamHandler"}}
    _write(
        folder / "log.yaml",
        {"version": 1, "disable_existing_loggers": False, "handlers": handlers, "root": {"level": "WARNING", "handlers": ["console"]}},
    )
    many = {"per_second": 1000, "burst_count": 1000}
    provider = {
        "module": "s3_storage_provider.S3StorageProviderBackend",
        "store_local": name == "main",
        "store_remote": name == "main",
        "store_synchronous": True,
        "config": {
            "bucket": bucket,
            "endpoint_url": stack.url("s3"),
            "region_name": "us-east-1",
            "access_key_id": "a",
            "secret_access_key": "b",
        },
    }
    _write(
        folder / "homeserver.yaml",
        {
            "server_name": SERVER_NAME,
            "public_baseurl": f"{stack.url(name)}/",
            "pid_file": f"{folder}/pid",
            "listeners": _listeners(stack.ports[name], stack.ports[f"{name}:replication"]),
            "database": {
                "name": "psycopg2",
                "args": {"host": LOOPBACK, "dbname": "synapse", "password": PASSWORD, "cp_min": 1, "cp_max": 5, **LOST_SERVER, **database},
            },
            "redis": {"enabled": True, "host": LOOPBACK, "port": redis},
            "log_config": f"{folder}/log.yaml",
            "media_store_path": f"{folder}/media",
            "media_storage_providers": [provider],
            "signing_key_path": f"{stack.folder}/signing.key",
            "macaroon_secret_key": f"mac-{name}",
            "form_secret": "form",
            "worker_replication_secret": f"replication-{name}",
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "report_stats": False,
            "federation_domain_whitelist": [],
            "redaction_retention_period": None,
            "presence": {"enabled": False},
            "background_updates": {"sleep_enabled": False},
            "rc_message": many,
            "rc_login": {"address": many, "account": many},
            "rc_joins": {"local": many, "remote": many},
            "rc_invites": {"per_room": many, "per_user": many},
            "rc_room_creation": many,
            **special,
        },
    )


def _synapse_files(stack: Stack) -> None:
    key = [
        synapse_python(),
        "-c",
        "from signedjson.key import *; import sys; write_signing_keys(sys.stdout, [generate_signing_key('a_1')])",
    ]
    (stack.folder / "signing.key").write_text(subprocess.run(key, capture_output=True, text=True, timeout=60, check=True).stdout)
    writers = {"events": list(WRITERS), "receipts": [OTHER_STREAMS], "account_data": [OTHER_STREAMS]}
    workers = (*WRITERS, OTHER_STREAMS)
    addresses = {name: {"host": LOOPBACK, "port": stack.ports[f"{name}:replication"]} for name in ("main", *workers)}
    through = {"port": stack.service.port, "user": "synapse"}
    _homeserver(
        stack,
        "main",
        through,
        stack.ports["redis-main"],
        MAIN_BUCKET,
        instance_map=addresses,
        stream_writers=writers,
        registration_shared_secret="reg",
    )
    for name in workers:
        worker = {"worker_app": "synapse.app.generic_worker", "worker_name": name, "worker_log_config": f"{stack.folder}/main/log.yaml"}
        _write(
            stack.folder / name / "worker.yaml",
            worker | {"worker_listeners": _listeners(stack.ports[name], stack.ports[f"{name}:replication"])},
        )
    write_li_files(stack)


def write_li_files(stack: Stack) -> None:
    """The configuration of LI's Synapse."""
    writers = {"events": list(WRITERS), "receipts": [OTHER_STREAMS], "account_data": [OTHER_STREAMS]}
    # LI's own main process is called `master`, as main's is: main's has another name here, and no writer of main has an address that answers.
    foreign = writers | {"push_rules": ["main-master"]}
    if stack.synapse is None:
        foreign["quarantined_media_changes"] = ["main-master"]
    nowhere = {name: {"host": LOOPBACK, "port": 1} for names in foreign.values() for name in names}
    _homeserver(
        stack,
        "synapse-li",
        {"port": stack.li.port, "user": "synapse_li"},
        stack.ports["redis-li"],
        LI_BUCKET,
        instance_map={"main": {"host": LOOPBACK, "port": stack.ports["synapse-li:replication"]}, **nowhere},
        stream_writers=foreign,
        push={"enabled": False},
        federation_sender_instances=["nobody"],
        run_background_tasks_on="nobody",
        update_user_directory_from_worker="nobody",
        notify_appservices_from_worker="nobody",
        media_instance_running_background_jobs="nobody",
        enable_set_displayname=False,
        enable_registration=False,
        url_preview_enabled=False,
        caches={"sync_response_cache_duration": "0s"},
    )


def _settings(stack: Stack) -> None:
    secrets = stack.folder / "secrets"
    (secrets / "keys").mkdir(parents=True)
    for name, text in {"password": PASSWORD, "keys/access-key": "a", "keys/secret-key": "b"}.items():
        (secrets / name).write_text(text + "\n")

    def database(port: int, user: str) -> dict[str, Any]:
        return {
            "host": LOOPBACK,
            "port": port,
            "database": "synapse",
            "user": user,
            "password_file": f"{secrets}/password",
            "sslmode": "disable",
        }

    def redis(name: str) -> dict[str, Any]:
        return {"host": LOOPBACK, "port": stack.ports[name]}

    def bucket(name: str) -> dict[str, Any]:
        return {"endpoint": stack.url("s3"), "name": name, "keys": f"{secrets}/keys"}

    restart = [sys.executable, "-m", "tests.live.li_stack", str(stack.folder / "restart")]
    _write(
        stack.settings_file,
        {
            "state": str(stack.folder / "state"),
            "broker": redis("redis-broker"),
            "main": {"owner": database(stack.service.port, "li_publisher"), "replication": database(stack.service.port, "li_replication")},
            "li": {"owner": database(stack.li.port, "li_sync"), "reserved_prefix": "li-"},
            "follow": {
                "database": database(stack.li.port, "li_follow"),
                "redis": redis("redis-li"),
                "server_name": SERVER_NAME,
                "metrics_port": stack.ports["follow"],
            },
            "media": {"source": bucket(MAIN_BUCKET), "target": bucket(LI_BUCKET)},
            "refresh": {"health": f"{stack.url('synapse-li')}/health", "command": restart, "seconds": 60},
            "pg_dump": str(stack.main.programs / "pg_dump"),
            "schedule": {"watch": 2, "prepare": None, "verify": 30, "mirror_new_media": 1, "mirror_media": 30, "refresh": None},
        },
    )


def _roles(stack: Stack) -> None:
    """What CloudNativePG makes of `managed.roles`."""
    password = "'" + PASSWORD.replace("'", "''") + "'"
    empty = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'"
    stack.main.sql(
        f"CREATE ROLE synapse LOGIN PASSWORD {password}",
        f"CREATE ROLE li_publisher LOGIN PASSWORD {password} IN ROLE synapse",
        f"CREATE ROLE li_replication LOGIN REPLICATION PASSWORD {password}",
        f"CREATE DATABASE synapse OWNER synapse {empty}",
        database="postgres",
    )
    stack.li.sql(
        f"CREATE ROLE li_sync LOGIN CREATEDB PASSWORD {password} IN ROLE pg_create_subscription, pg_signal_backend, pg_read_all_stats",
        f"CREATE ROLE synapse_li LOGIN PASSWORD {password}",
        f"CREATE ROLE li_follow LOGIN PASSWORD {password}",
        f"CREATE DATABASE synapse OWNER li_sync {empty}",
        database="postgres",
    )


@contextlib.contextmanager
def running_stack(synapse: Path | None = None) -> Iterator[Stack]:
    """All but LI's Synapse and li_sync, main ready for `prepare`. `synapse`: a folder with another Synapse than the live environment's."""
    programs, redis, names = newest_postgresql_programs(), redis_program(), ("main", *WRITERS, OTHER_STREAMS, "synapse-li")
    wanted = ["pg-main", "pg-standby", "pg-li", "pg-service", "redis-main", "redis-li", "redis-broker", "s3", "follow", "status"]
    wanted += [part for name in names for part in (name, f"{name}:replication")]
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="li-")))
        folder.chmod(0o711)
        databases = folder / "postgresql"
        databases.mkdir()
        exits.enter_context(small_disk(databases / "li"))
        if os.geteuid() == 0:
            os.chown(databases, _NOBODY, _NOBODY)
        ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
        main, standby, li = (Cluster(programs, databases / name, ports[f"pg-{name}"], exits) for name in ("main", "standby", "li"))
        stack = Stack(folder, exits, main, standby, li, Service(ports["pg-service"], main.port), ports, folder / "li-sync.yaml", synapse)
        for name in ("redis-main", "redis-li", "redis-broker"):
            command = [redis, "--port", str(ports[name]), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
            stack.programs[name] = exits.enter_context(running(command, name=name))
        moto = [synapse_python(), "-m", "moto.server", "-H", LOOPBACK, "-p", str(ports["s3"])]
        stack.programs["s3"] = exits.enter_context(running(moto, name="s3"))
        main.make(
            {
                "wal_level": "logical",
                "max_slot_wal_keep_size": "'192MB'",
                "synchronized_standby_slots": "'standby'",
                "max_connections": "100",
            }
        )
        main.start()
        main.run(
            "pg_basebackup",
            "-D",
            standby.folder,
            "-h",
            LOOPBACK,
            "-p",
            str(main.port),
            "-U",
            "postgres",
            "-C",
            "-S",
            "standby",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        (standby.folder / "standby.signal").touch()
        standby_settings = {
            "primary_slot_name": "'standby'",
            "hot_standby_feedback": "on",
            "sync_replication_slots": "on",
            "synchronized_standby_slots": "''",
        }
        standby.configure({**standby_settings, "primary_conninfo": primary_conninfo(main)})
        standby.start()
        li.make({"log_error_verbosity": "terse", "max_wal_size": "'256MB'"})
        li.start()
        _roles(stack)
        stack.service.start()
        exits.callback(stack.service.stop)
        _synapse_files(stack)
        _settings(stack)
        stack.programs["s3"].ready(lambda: accepts_connections(ports["s3"]), 60)
        for bucket in (MAIN_BUCKET, LI_BUCKET):
            stack.s3().create_bucket(Bucket=bucket)
        stack.start_synapse("main")
        for name in (*WRITERS, OTHER_STREAMS):
            stack.start_synapse(name)
        wait_for(lambda: main.sql("SELECT count(*) FROM background_updates")[0][0] == 0, 180, "main's background updates")
        threading.Thread(target=_restarter, args=(stack,), daemon=True).start()
        yield stack


def _restarter(stack: Stack) -> None:
    """Restart LI's Synapse when li_sync's `refresh.command` asks: the part of Kubernetes."""
    asked, done = stack.folder / "restart", stack.folder / "restart.done"
    while stack.folder.exists():
        if asked.exists():
            asked.unlink()
            try:
                stack.programs["synapse-li"].stop()
                stack.start_synapse("synapse-li")
            finally:
                done.touch()
        time.sleep(0.05)


def _ask_for_restart(asked: Path) -> None:
    done = asked.with_suffix(".done")
    done.unlink(missing_ok=True)
    asked.touch()
    wait_for(done.exists, 60, "the restart")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _ask_for_restart(Path(sys.argv[1]))
