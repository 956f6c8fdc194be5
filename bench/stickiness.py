"""What it costs that the devices of a person are served by several processes, and a device by another one after each new token.

Usage: python -m bench.stickiness, as root. It prints a table.

HAProxy finds the process by the user where tokens are Synapse's own. Those of the Matrix Authentication Service say nothing of whose they are
and are replaced every five minutes: HAProxy asks Synapse, or else finds the process by the token. Here the rendered HAProxy stands before four
real processes of each kind of sync, and people use several devices whose tokens are replaced as often. The tokens have one form or the other;
all else is the same. What the service adds, it adds to all: a question about each new token.
"""

import json
import re
import secrets
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from tabulate import tabulate

from app.__main__ import select_node
from app.compiler import compile_site
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import build, write
from tests.live.cluster import INGRESS, Cluster, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.installation import PUBLIC, metrics

PROCESSES = 4
"""Of each kind of sync."""
PEOPLE, ROOMS, ROOMS_EACH = 20, 12, 6
DEVICES = ("phone-sliding", "tablet-sliding", "laptop", "desktop")
ROUNDS, LASTS = 4, 2
"""Rounds that are measured at once, and rounds that a token lasts: as if a device asked for news twice in five minutes, which is seldom."""
QUESTIONS = 100
SITE = f"""
server_name: example.com
images: {{registry: registry.example.com/matrix}}
cluster: {{pod_cidrs: [{POD_CIDR}], service_cidrs: [{SERVICE_CIDR}], node_cidrs: [{NODE_CIDR}], api_server_cidrs: [{NODE_CIDR}]}}
"""
SERVICE = "\nfeatures: {authentication_service: true}\n"
WORKLOADS = {
    *("synapse", "synchrotron", "initial-synchrotron", "sliding-sync", "client-reader", "event-creator", "event-persister"),
    *("presence-writer", "encryption", "device-lists", "haproxy", "redis", "redis-proxy"),
}
SYNCING = ("synchrotron", "sliding-sync")
ASKED = "client-reader"
"""Who says whose a token is."""


@frozen
class Seen:
    """What processes have counted since they started, together."""

    cpu: float
    lookups: float
    hits: float
    entries: float
    """In their caches now."""

    def since(self, before: "Seen") -> "Seen":
        """What was added; the entries as they are."""
        return Seen(
            self.cpu - before.cpu,
            self.lookups - before.lookups,
            self.hits - before.hits,
            self.entries,
        )


def seen(cluster: Cluster, workload: str) -> Seen:
    """Of all processes of a workload."""
    text = "\n".join(metrics(cluster, pod.name) for pod in cluster.pods(workload))

    def total(series: str) -> float:
        return sum(float(value) for value in re.findall(rf"^{series}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))

    caches = "synapse_util_caches_cache"
    return Seen(
        total("process_cpu_seconds_total"),
        total(caches),
        total(f"{caches}_hits"),
        total(f"{caches}_size"),
    )


def objects(folder: Path) -> Iterator[dict[str, Any]]:
    """The smallest size with so many processes for syncs, and of the others what these need."""
    smallest = profiles()[0]
    workers = evolve(smallest.synapse.workers, synchrotron=PROCESSES, extra={"sliding-sync": PROCESSES})
    database = evolve(smallest.postgresql, max_connections=300, memory=smallest.postgresql.memory * 3)
    size = evolve(smallest, synapse=evolve(smallest.synapse, workers=workers), postgresql=database)
    built = []
    for name, site in (("plain", SITE), ("service", SITE + SERVICE)):
        write(folder / name, compile_site(parse_site(site), [size]))
        built.append([dict(o) for o in build(folder / name / "base")])
    # HAProxy's files are those of a site with the service, which is not there itself.
    (files,) = (o["data"] for o in built[1] if "whose.lua" in o.get("data", {}))
    for o in built[0]:
        if o["kind"] == "ConfigMap" and "routes.map" in o["data"]:
            o = {**o, "data": files}
        name = o["metadata"]["name"]
        if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            if name in WORKLOADS:
                yield o
        elif o["kind"] != "Tenant" and (o["kind"] != "Job" or name.startswith("secret-generator")):
            yield o


def by_user(person: str) -> str:
    """A token of Synapse's own form."""
    return f"syt_{b64encode(person.encode()).decode().rstrip('=')}_{secrets.token_hex(10)}_{secrets.token_hex(3)}"


def asked(_: str) -> str:
    """A token of the service's form."""
    return f"mat_{secrets.token_hex(15)}_{secrets.token_hex(3)}"


def by_token(_: str) -> str:
    """One with a sign that the service never uses, of which HAProxy does not ask whose it is."""
    return f"{asked(_)}!"


PEOPLE_NAMES = [f"person{number}" for number in range(PEOPLE)]
FORMS = {"by user": by_user, "by token": by_token, "asked": asked}


def sql(cluster: Cluster, statements: Sequence[str]) -> None:
    """In the database of Synapse, a few hundred at a time: a command line has its end."""
    for start in range(0, len(statements), 300):
        command = ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "synapse", "-qc", "; ".join(statements[start : start + 300])]
        cluster.exec("postgresql-main-1", command).check()


class Tokens:
    """Tokens that the database knows, numbered."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.number = cluster, 1_000_000

    def make(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        """`wanted`: each token with its person and device."""
        rows = []
        for token, (person, device) in wanted.items():
            self.number += 1
            rows.append(
                "INSERT INTO access_tokens (id, user_id, device_id, token, used) "
                f"VALUES ({self.number}, '@{person}:example.com', '{device}', '{token}', false)"
            )
        sql(self.cluster, rows)


def people(cluster: Cluster) -> None:
    """Accounts, which no limit binds, with their devices."""
    statements = []
    for name in PEOPLE_NAMES:
        user = f"@{name}:example.com"
        statements.append(f"INSERT INTO users (name, creation_ts) VALUES ('{user}', 1700000000)")
        statements.append(f"INSERT INTO profiles (user_id, full_user_id, displayname) VALUES ('{name}', '{user}', '{name}')")
        statements.append(f"INSERT INTO ratelimit_override VALUES ('{user}', 0, 0)")
        statements += [f"INSERT INTO devices (user_id, device_id, display_name) VALUES ('{user}', '{device}', '')" for device in DEVICES]
    sql(cluster, statements)


class Bench:
    """The platform with its people, and what is known of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.tokens = cluster, Tokens(cluster)
        self.rooms: dict[str, str] = {}
        self.positions: dict[str, str] = {}
        self.turn = 0

    def use(self, tokens: Mapping[str, Sequence[str]], rounds: int, **more: Any) -> None:
        """So many rounds."""
        given = {"base": PUBLIC, "rooms": self.rooms, "positions": self.positions, "tokens": tokens, "rounds": rounds, "lasts": LASTS}
        given |= {"first": self.turn, "members": {}, "asking": [], **more}
        said = self.cluster.run(["python", "-m", "bench.devices"], INGRESS, 400, given=json.dumps(given)).check().json
        self.rooms, self.positions, self.turn = said["rooms"], said["positions"], self.turn + rounds

    def of_devices(self, form: str, count: int) -> dict[str, list[str]]:
        """So many tokens for each device."""
        made = {f"{name} {device}": [FORMS[form](name) for _ in range(count)] for name in PEOPLE_NAMES for device in DEVICES}
        owner = {device: (device.split()[0], device.split()[1]) for device in made}
        self.tokens.make({token: owner[device] for device, tokens in made.items() for token in tokens})
        return made

    def prepare(self) -> None:
        """Rooms, who is in them, and the first sync of each device."""
        people(self.cluster)
        own = self.of_devices("by user", 1)
        first = {name: own[f"{name} {DEVICES[0]}"][0] for name in PEOPLE_NAMES}
        members: dict[str, list[str]] = {f"Room {number}": [] for number in range(ROOMS)}
        for place, name in enumerate(PEOPLE_NAMES):
            for step in range(ROOMS_EACH):
                members[f"Room {(place + step * (1 + place % 3)) % ROOMS}"].append(first[name])
        self.use(own, 1, members={room: list(dict.fromkeys(tokens)) for room, tokens in members.items()})

    def measure(self, form: str) -> Iterator[tuple[str, str, str, float, float, float, float]]:
        """Start the processes anew, and look at what the rounds after that cost, and the rounds after those."""
        for workload in SYNCING:
            for pod in self.cluster.pods(workload):
                self.cluster.delete(pod.name)
        tokens = self.of_devices(form, (2 * ROUNDS) // LASTS + 2)
        self.cluster.wait_ready(120)
        requests = PEOPLE * len(DEVICES) / len(SYNCING) * ROUNDS
        for when in ("after a start", "later"):
            before = {workload: seen(self.cluster, workload) for workload in (*SYNCING, ASKED)}
            self.use(tokens, ROUNDS)
            questions = 1000 * seen(self.cluster, ASKED).since(before[ASKED]).cpu / requests / len(SYNCING)
            for workload in SYNCING:
                cost = seen(self.cluster, workload).since(before[workload])
                yield (
                    workload,
                    when,
                    form,
                    1000 * cost.cpu / requests,
                    questions,
                    (cost.lookups - cost.hits) / requests,
                    cost.entries,
                )

    def question(self) -> float:
        """Milliseconds of a processor for a question whose a token is, each for a new one."""
        asking = [asked("") for _ in range(QUESTIONS)]
        self.tokens.make({token: (PEOPLE_NAMES[number % PEOPLE], DEVICES[0]) for number, token in enumerate(asking)})
        before = seen(self.cluster, ASKED)
        self.use({}, 0, asking=asking)
        return 1000 * seen(self.cluster, ASKED).since(before).cpu / QUESTIONS


def main() -> None:
    """Measure each way twice, in turn, and print the means."""
    select_node()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_cluster(list(objects(Path(folder) / "dist")), folder=Path(folder) / "node") as cluster,
    ):
        cluster.wait_ready(300)
        bench = Bench(cluster)
        bench.prepare()
        rows = [row for form in (*FORMS, *reversed(FORMS)) for row in bench.measure(form)]
        question = bench.question()
    table = []
    for key in dict.fromkeys(row[:3] for row in rows):
        same = [row[3:] for row in rows if row[:3] == key]
        means = [sum(values) / len(same) for values in zip(*same, strict=True)]
        table.append((*key, *means, " ".join(f"{values[0]:.1f}" for values in same)))
    head = ("pool", "when", "hashed", "CPU ms/request", "of questions", "cache misses/request", "cache entries", "CPU ms, each run")
    print(tabulate(sorted(table), head, floatfmt=("", "", "", ".1f", ".1f", ".1f", ".0f", ""), tablefmt="pipe"))
    print(f"\na question whose a token is: {question:.1f} ms")


if __name__ == "__main__":
    main()
