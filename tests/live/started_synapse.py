"""A small homeserver on 127.0.0.1 whose processes are started as in the pods, by services/synapse_start, against a real database and Redis."""

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import yaml
from attrs import define, field

from main_instance.synapse.configuration import log_config
from tests.kustomize import ROOT
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, Program, free_ports, running
from tests.live.programs import redis_program
from tests.live.synapse_site import synapse_python

MAIN, CREATOR = "main", "event-creator-0"
PERSISTERS = ("event-persister-0", "event-persister-1")
EVERYBODY = (MAIN, CREATOR, *PERSISTERS)
_SECRETS = ("macaroon_secret_key", "form_secret", "worker_replication_secret", "registration_shared_secret")


def persister_of(room: str, persisters: Sequence[str]) -> str:
    """Synapse's own rule (synapse/config/_base.py, ShardedWorkerHandlingConfig)."""
    return persisters[int.from_bytes(hashlib.sha256(room.encode()).digest(), "little") % len(persisters)]


@define
class StartedSynapse:
    """Main, a worker that takes requests, and up to two event persisters. Each is a process that a kubelet would not see end."""

    folder: Path
    exits: ExitStack
    ports: Mapping[str, int]
    synapse: Path | None = None
    """A folder with another Synapse than the live environment's."""
    programs: dict[str, Program] = field(factory=dict)

    # --- what it stands on ---

    def start_database(self, password: str = "right") -> None:
        """An empty one."""
        self.exits.enter_context(running_postgresql(self.ports["database"], "synapse", password))
        with self.connect("postgres") as connection:
            connection.execute("CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")

    def start_redis(self) -> None:
        """Without a password."""
        command = [redis_program(), "--port", str(self.ports["redis"]), "--save", "", "--appendonly", "no"]
        self.exits.enter_context(running(command, name="redis", folder=self.folder))

    def know_password(self, password: str) -> None:
        """What the Secret of the database says."""
        (self.folder / "pgpass").write_text(f"{LOOPBACK}:{self.ports['database']}:synapse:synapse:{password}\n")

    def connect(self, database: str = "synapse") -> "psycopg.Connection[Any]":
        """A connection of the tests."""
        return psycopg.connect(
            host=LOOPBACK,
            port=self.ports["database"],
            user="synapse",
            password="right",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def sql(self, statement: str) -> list[Any]:
        """The rows of a query."""
        with self.connect() as connection:
            return connection.execute(statement).fetchall()

    # --- its processes ---

    def write(self, persisters: Sequence[str]) -> None:
        """The files of all processes, with a list of event persisters."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in _SECRETS:
            (self.folder / name).write_text(hashlib.sha256(name.encode()).hexdigest())
        (self.folder / "signing_key").write_text(f"ed25519 a_1 {base64.b64encode(bytes(32)).decode().rstrip('=')}\n")
        (self.folder / "log.yaml").write_text(yaml.safe_dump(log_config(structured=False)))
        homeserver = {
            "server_name": "example.org",
            "report_stats": False,
            "log_config": str(self.folder / "log.yaml"),
            "worker_log_config": str(self.folder / "log.yaml"),
            "signing_key_path": str(self.folder / "signing_key"),
            **{f"{name}_path": str(self.folder / name) for name in _SECRETS},
            "database": {
                "name": "psycopg2",
                "args": {
                    "host": LOOPBACK,
                    "port": self.ports["database"],
                    "dbname": "synapse",
                    "user": "synapse",
                    # Each process has its own copy, in the folder that the program writes to; only the pods have one path for all.
                    "passfile": "PASSFILE",
                    "cp_min": 1,
                    "cp_max": 3,
                },
            },
            "redis": {"enabled": True, "host": LOOPBACK, "port": self.ports["redis"]},
            "enable_media_repo": False,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "presence": {"enabled": False},
            "rc_message": {"per_second": 1000, "burst_count": 1000},
            "rc_login": {"address": {"per_second": 1000, "burst_count": 1000}},
        }
        shards = {
            "instance_map": {name: {"host": LOOPBACK, "port": self.ports[f"{name} replication"]} for name in (MAIN, *persisters)},
            "stream_writers": {"events": list(persisters)},
        }
        (self.folder / "shards.yaml").write_text(yaml.safe_dump(shards))
        for name in EVERYBODY:
            own = self.folder / name
            own.mkdir(exist_ok=True)
            homeserver["database"]["args"]["passfile"] = f"{own}/run/pgpass"  # type: ignore[index]
            (own / "homeserver.yaml").write_text(yaml.safe_dump(homeserver))
            (own / "kind.yaml").write_text(yaml.safe_dump(self._kind(name)))

    def _kind(self, name: str) -> dict[str, Any]:
        def http(port: int, resource: str) -> dict[str, Any]:
            return {"type": "http", "port": port, "bind_addresses": [LOOPBACK], "resources": [{"names": [resource]}]}

        listeners = [http(self.ports[f"{name} health"], "health")]
        if name in (MAIN, CREATOR):
            listeners.append(http(self.ports[name], "client"))
        if name != CREATOR:
            listeners.append(http(self.ports[f"{name} replication"], "replication"))
        if name == MAIN:
            return {"listeners": listeners}
        return {"worker_app": "synapse.app.generic_worker", "worker_listeners": listeners}

    def start(self, *names: str) -> None:
        """Start processes, without waiting for anything."""
        for name in names:
            own, run = self.folder / name, self.folder / name / "run"
            run.mkdir(exist_ok=True)
            options = [f"--run={run}", f"--password-file={self.folder}/pgpass"]
            options += [f"--{kind}-port={self.ports[f'{name} {kind}']}" for kind in ("health", "alive")]
            options.append("--start-seconds=120")
            options += [f"--publish={self.folder}/shards.yaml"] if name == MAIN else []
            options += ["--listed"] if name in PERSISTERS else []
            module = "synapse.app.homeserver" if name == MAIN else "synapse.app.generic_worker"
            files = [own / "homeserver.yaml", run / "shards.yaml", own / "kind.yaml", *([] if name == MAIN else [run / "name.yaml"])]
            words = [str(word) for path in files for word in ("-c", path)]
            path = ":".join(map(str, [*([self.synapse] if self.synapse else []), ROOT]))
            # Whoever starts it has SIGINT ignored, as a shell does for what it runs in the background: it is stopped all the same.
            ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
            command = [*ignoring, synapse_python(), "-m", "services.synapse_start", *options, module, *words]
            environment = {"PYTHONPATH": path, "POD_NAME": name, "PYTHONDONTWRITEBYTECODE": "1"}
            self.programs[name] = self.exits.enter_context(running(command, name=name, folder=self.folder, environment=environment))

    def stop(self, *names: str) -> None:
        """As the kubelet does."""
        for name in names:
            self.programs[name].send(signal.SIGTERM)
        for name in names:
            assert self.programs[name].stop(30) in (0, -signal.SIGTERM), self.programs[name].output()[-3000:]

    def says(self, name: str, text: str, seconds: float = 30) -> None:
        """Wait until a process has printed something."""
        program = self.programs[name]
        program.ready(lambda: text in program.output(), seconds)

    def lines(self, name: str) -> list[str]:
        """What the start of a process has said."""
        found = [line for line in self.programs[name].output().splitlines() if '"synapse_start"' in line]
        return [json.loads(line[line.index("{") :])["log"] for line in found]

    def serves(self, name: str) -> bool:
        """Whether its readiness probe would succeed."""
        return self._answers(f"{name} health")

    def lives(self, name: str) -> bool:
        """Whether its liveness probe would succeed."""
        return self._answers(f"{name} alive", timeout=12)

    def _answers(self, port: str, timeout: float = 5) -> bool:
        try:
            with closing(http.client.HTTPConnection(LOOPBACK, self.ports[port], timeout=timeout)) as connection:
                connection.request("GET", "/health" if port.endswith("health") else "/alive")
                return connection.getresponse().status == 200
        except OSError:
            return False

    def ready(self, *names: str, seconds: float = 120) -> None:
        """Wait until processes serve; none may have ended."""
        for name in names:
            self.programs[name].ready(lambda name=name: self.serves(name), seconds)  # type: ignore[misc]

    # --- its people ---

    def call(self, method: str, path: str, body: Any = None, token: str = "", at: str = CREATOR, timeout: float = 90) -> Any:
        """The answer to a request that was accepted. Raises OSError for any other."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.ports[at], timeout=timeout)) as connection:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"{method} {path}: {answer.status} {text[:300]!r}")
            return json.loads(text)

    def register(self, user: str) -> str:
        """An account; its access token."""
        path, secret = "/_synapse/admin/v1/register", (self.folder / "registration_shared_secret").read_text()
        nonce = self.call("GET", path, at=MAIN)["nonce"]
        mac = hmac.new(secret.encode(), f"{nonce}\0{user}\0secret\0notadmin".encode(), hashlib.sha1).hexdigest()
        account = {"nonce": nonce, "username": user, "password": "secret", "admin": False, "mac": mac}
        return str(self.call("POST", path, account, at=MAIN)["access_token"])


@define
class Sender:
    """Somebody who sends to several rooms all the time, and notes when each message was accepted. A refused one is sent again."""

    synapse: StartedSynapse
    token: str
    rooms: Sequence[str]
    accepted: list[tuple[float, str, str]] = field(factory=list)
    """When, in which room, and the event's id."""
    stopped: threading.Event = field(factory=threading.Event)

    def run(self, index: int) -> None:
        """Send to one room until it is stopped."""
        number, room = 0, self.rooms[index]
        while not self.stopped.is_set():
            path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/{index}-{number}"
            try:
                answer = self.synapse.call("PUT", path, {"msgtype": "m.text", "body": str(number)}, self.token)
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            self.accepted.append((time.monotonic(), room, answer["event_id"]))
            number += 1
            time.sleep(0.05)

    def gap(self) -> float:
        """The longest time between two accepted messages, in any room."""
        times = sorted(at for at, _, _ in self.accepted)
        return max(later - earlier for earlier, later in itertools.pairwise(times))


@contextmanager
def sending(synapse: StartedSynapse, rooms: int = 8) -> Iterator[Sender]:
    """Traffic for the time of a block."""
    token = synapse.register(f"sender{time.time_ns()}")
    names = [synapse.call("POST", "/_matrix/client/v3/createRoom", {"preset": "private_chat"}, token)["room_id"] for _ in range(rooms)]
    sender = Sender(synapse, token, names)
    threads = [threading.Thread(target=sender.run, args=(index,), daemon=True) for index in range(rooms)]
    for thread in threads:
        thread.start()
    try:
        yield sender
    finally:
        sender.stopped.set()
        for thread in threads:
            thread.join(100)


@contextmanager
def started_synapse(folder: Path) -> Iterator[StartedSynapse]:
    """Nothing of it runs yet."""
    names = ["database", "redis", MAIN, CREATOR]
    names += [f"{name} {kind}" for name in EVERYBODY for kind in ("health", "alive", "replication")]
    with ExitStack() as exits:
        synapse = StartedSynapse(folder, exits, dict(zip(names, free_ports(len(names)), strict=True)))
        try:
            yield synapse
        finally:
            # Shown where a test fails.
            for name, program in synapse.programs.items():
                print(f"{name}: code {program.process.poll()}", *synapse.lines(name), sep="\n    ")
