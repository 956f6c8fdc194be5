"""The cluster that docs/05-BACKUP-RESTORE.md and moving in speak of: its `kubectl` asks this, which does with real programs what the operator would.

PostgreSQL is made, restored and backed up by what `kubectl kustomize` prints, with barman-cloud's own programs; Secrets are kept as an API server
does. A command that it does not know is an error, so that the guide cannot say what nobody has tried.
"""

import base64
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field, frozen

from tests.kustomize import ROOT
from tests.live.archives import Place, Rendered, backup
from tests.live.li_stack import PASSWORD, Cluster
from tests.live.processes import LOOPBACK
from tests.live.programs import newest_postgresql_programs

MAIN, BESIDE = "postgresql-main", "beside"
APPLICATION_PASSWORD = "password-of-synapse"
"""What the operator gives the role that Synapse has."""

_KUBECTL = """#!{python}
import asyncio, json, os, socket, sys
words = sys.argv[1:]
given = sys.stdin.read() if "-" in words or "-i" in words else ""
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("{socket}")
    asked.sendall(json.dumps([words, given, os.getcwd()]).encode() + b"\\n")
    answer = json.loads(asked.makefile().readline())
if "forward" in answer:
    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
    async def connect(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", answer["forward"][1])
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
    async def serve():
        async with await asyncio.start_server(connect, "127.0.0.1", answer["forward"][0]) as server:
            await server.serve_forever()
    asyncio.run(serve())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["error"])
sys.exit(answer["code"])
"""
_MAKE = """#!/bin/sh
[ "$*" = synth ] || exit 9
exec {python} -O -m app synth
"""


@frozen
class Answer:
    """What a command prints, and how it ends."""

    out: str = ""
    error: str = ""
    code: int = 0


@define
class GuideCluster:
    """A namespace `matrix`: a database or none, Secrets, and what was asked of Synapse."""

    place: Place
    folder: Path
    databases: dict[str, Cluster] = field(factory=dict)
    as_rendered: dict[str, Rendered] = field(factory=dict)
    backups: dict[str, str] = field(factory=dict)
    secrets: dict[tuple[str, str], dict[str, Any]] = field(factory=dict)
    asked_of_synapse: list[str] = field(factory=list)
    made: int = 0

    def run(self, script: str, **variables: str) -> str:
        """Run a piece of the guide as a person would. Returns what it prints."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
        # rclone cannot have an authority of its own beside that of its endpoint.
        environment.pop("AWS_CA_BUNDLE", None)
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def answer(self, words: Sequence[str], given: str, folder: Path) -> Answer | tuple[int, int]:
        """Do what a command of kubectl says."""
        words = list(words)
        if words[:2] == ["-n", "matrix"]:
            words = words[2:]
        match words:
            case ["apply", "--server-side", "-k", path]:
                return self._apply(list(yaml.safe_load_all(_kustomized(folder / path))))
            case ["apply", "--server-side", "-f", "dist/base/namespace.yaml"]:
                return Answer() if (folder / words[3]).exists() else Answer(error="no such file", code=1)
            case ["apply" | "create", "-f", "-"]:
                return self._apply(list(yaml.safe_load_all(given)))
            case ["delete", kinds, name, *_] if "cluster" in kinds:
                self._delete(name)
                return Answer()
            case ["wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=synapse", _]:
                return Answer(code=0 if any("--replicas=0" in words for words in self.asked_of_synapse) else 1)
            case ["wait", "--for=condition=Ready", what, _]:
                return Answer(code=0 if what.removeprefix("cluster/") in self.databases else 1)
            case ["get", "backups"]:
                return Answer("".join(f"{name} {phase}\n" for name, phase in self.backups.items()))
            case ["get", "cluster", name, "-o", path]:
                return Answer(self._status(name, path.removeprefix("jsonpath=")))
            case ["exec", pod, "-c", "postgres", "--", program, *arguments] | [
                "exec",
                "-i",
                pod,
                "-c",
                "postgres",
                "--",
                program,
                *arguments,
            ]:
                return self._execute(pod.removesuffix("-1").removeprefix("service/").removesuffix("-rw"), program, arguments, given)
            case ["scale" | "rollout", *rest] if "app.kubernetes.io/name=synapse" in rest:
                self.asked_of_synapse.append(" ".join(words))
                return Answer()
            case ["port-forward", "service/postgresql-main-rw", ports]:
                return int(ports.partition(":")[0]), self.databases[MAIN].port
            case ["create", "secret", "generic", name, *rest]:
                return self._make_secret(name, rest, folder)
            case ["port-forward", "service/minio", ports]:
                return int(ports.partition(":")[0]), self.place.storage.port
            case ["get", "secret", name, "-o", path]:
                key = path.removeprefix("jsonpath={.data.").removesuffix("}")
                return Answer(self.secrets["matrix", name]["data"][key])
            case ["get", "secrets", "--namespace", namespace, *names, "--ignore-not-found", "--output", "json"]:
                found = [self.secrets[namespace, name] for name in names if (namespace, name) in self.secrets]
                return Answer(json.dumps({"kind": "List", "items": found}) if found else "")
            case ["create" | "replace" as verb, "--filename", "-"]:
                return self._put(verb, json.loads(given)["items"])
        return Answer(error=f"the cluster of this test does not know: kubectl {' '.join(words)}", code=64)

    def _apply(self, objects: list[dict[str, Any]]) -> Answer:
        stores = [o["spec"] for o in objects if o and o["kind"] == "ObjectStore" and o["metadata"]["name"] == MAIN]
        for o in filter(None, objects):
            name = o["metadata"].get("name", "")
            if o["kind"] == "Backup":
                backup(self.as_rendered[MAIN], self.databases[MAIN])
                self.backups[f"{o['metadata']['generateName']}1"] = "completed"
            elif o["kind"] == "Cluster" and name in (MAIN, BESIDE) and name not in self.databases:
                store = stores[0] if stores else self.as_rendered[MAIN].store
                # One that stands beside archives nowhere: what it would send goes to a place that nobody looks at.
                beside = {"postgresql": {"parameters": {}}, "plugins": [{"parameters": {"serverName": BESIDE}}]}
                spec = o["spec"] if name == MAIN else {**beside, **o["spec"]}
                self._make(name, Rendered(spec, store, self.place.storage.endpoint))
        return Answer()

    def _make(self, name: str, of: Rendered) -> None:
        """What the operator does for a Cluster that has no volumes."""
        self.made += 1
        make = self.place.restored if "recovery" in of.cluster["bootstrap"] else self.place.new
        self.databases[name], self.as_rendered[name] = make(of, f"{name}-{self.made}"), of
        if name == MAIN:
            self.secrets["matrix", f"{MAIN}-app"] = secret("matrix", f"{MAIN}-app", {"password": APPLICATION_PASSWORD})
            if make == self.place.new:
                database = self.databases[name]
                database.sql(f"create role synapse login password '{APPLICATION_PASSWORD}'", "alter database synapse owner to synapse")
            # The Job of the first backup.
            backup(of, self.databases[name])
            self.backups[f"{of.server}-first-1"] = "completed"

    def _delete(self, name: str) -> None:
        if database := self.databases.pop(name, None):
            database.kill()
            shutil.rmtree(database.folder)

    def _status(self, name: str, path: str) -> str:
        if "conditions" in path:
            return "Ready=True \nContinuousArchiving=True \n"
        spec = self.as_rendered[name].cluster
        known = {
            "{.spec.imageName}": spec["imageName"],
            "{.spec.storage.size}": spec["storage"]["size"],
            "{.status.currentPrimary}": f"{name}-1",
        }
        return str(known[path])

    def _execute(self, name: str, program: str, arguments: Sequence[str], given: str) -> Answer:
        keys = {"PGHOST": LOOPBACK, "PGPORT": str(self.databases[name].port), "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
        command = [str(newest_postgresql_programs() / program), *arguments]
        done = subprocess.run(command, env={**os.environ, **keys}, input=given, capture_output=True, text=True, timeout=120, check=False)
        return Answer(done.stdout, done.stderr, done.returncode)

    def _make_secret(self, name: str, options: Sequence[str], folder: Path) -> Answer:
        values = {}
        for option in options:
            source, _, pair = option.removeprefix("--from-").partition("=")
            key, _, value = pair.partition("=")
            values[key] = (folder / value).read_text() if source == "file" else value
        self.secrets["matrix", name] = secret("matrix", name, values)
        return Answer()

    def _put(self, verb: str, items: list[dict[str, Any]]) -> Answer:
        names = [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in items]
        if wrong := [name for name in names if (name in self.secrets) == (verb == "create")]:
            return Answer(error=f"{verb}: {wrong}", code=1)
        self.secrets |= {name: {**o, "metadata": {**o["metadata"], "uid": "1"}} for name, o in zip(names, items, strict=True)}
        return Answer()


def _kustomized(folder: Path) -> str:
    command = [str(ROOT / ".tools" / "bin" / "kubectl"), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def secret(namespace: str, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A Secret as an API server gives it."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    metadata = {"namespace": namespace, "name": name, "uid": "5f0c", "resourceVersion": "7", "managedFields": []}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


@contextmanager
def guide_cluster(place: Place, folder: Path, site: str) -> Iterator[GuideCluster]:
    """A folder with a site, in which the guide's commands can be run, and the cluster that they speak to."""
    cluster = GuideCluster(place, folder)
    (folder / "bin").mkdir()
    (folder / "site.yaml").write_text(site)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for name, text in {"kubectl": _KUBECTL, "make": _MAKE}.items():
        (folder / "bin" / name).write_text(text.replace("{python}", sys.executable).replace("{socket}", f"{folder}/socket"))
        (folder / "bin" / name).chmod(0o755)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            words, given, where = json.loads(self.rfile.readline())
            try:
                answer = cluster.answer(words, given, Path(where))
            except Exception as error:  # it has to reach the person who reads the test's output
                answer = Answer(error=f"{type(error).__name__}: {error}", code=65)
            said = {"forward": answer} if isinstance(answer, tuple) else {"out": answer.out, "error": answer.error, "code": answer.code}
            self.wfile.write(json.dumps(said).encode() + b"\n")

    with socketserver.ThreadingUnixStreamServer(f"{folder}/socket", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield cluster
        server.shutdown()
