"""Run by the Python that has Synapse: which paths and methods each process serves, read from the resources that it would listen with.

Standard input: JSON, process name to its command line. Standard output: JSON, process name to a list of
`[pattern, [methods], servlet]`, in the order in which Synapse tries them. Nothing listens and nothing connects: the database is a
SQLite file, and only the public listener is built.
"""

import contextlib
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import synapse.app._base
import synapse.app.generic_worker
import synapse.app.homeserver
import synapse.rest
import yaml
from synapse.config.homeserver import HomeServerConfig
from synapse.http.server import JsonResource
from twisted.web.resource import Resource
from twisted.web.static import File

CLIENT_PORT = 8008

# Resources that answer 404 themselves and have others below them.
FOLDERS = {"Resource", "UnrecognizedRequestResource", "OptionsResource", "RootOptionsRedirectResource"}

Row = tuple[str, list[str], str]


def served(folder: Path, arguments: list[str]) -> list[Row]:
    """Build one process as its command line says, as far as its public listener, and read what that serves."""
    override = folder / "sqlite.yaml"
    override.write_text(yaml.safe_dump({"database": {"name": "sqlite3", "args": {"database": str(folder / "database")}}}))
    config = HomeServerConfig.load_config("", [*arguments, "-c", str(override)])
    roots: list[Resource] = []

    def keep(_server: Any, _listener: Any, root: Resource, *_: Any, **__: Any) -> list[Any]:
        roots.append(root)
        return []

    synapse.app.homeserver.listen_http = keep
    synapse.app._base.listen_http = keep
    # Synapse adds the group once for the whole interpreter, which elsewhere holds one process.
    synapse.rest.SERVLET_GROUPS.pop("media", None)
    worker = config.worker.worker_app is not None
    server: Any = (synapse.app.generic_worker.GenericWorkerServer if worker else synapse.app.homeserver.SynapseHomeServer)(
        config.server.server_name, config=config
    )
    server.setup()
    for listener in config.worker.worker_listeners if worker else config.server.listeners:
        if listener.port == CLIENT_PORT:
            if worker:
                server._listen_http(listener)
            else:
                server._listener_http(config, listener)
    return [row for root in roots for row in rows(root, "")]


def rows(resource: Resource, path: str) -> list[Row]:
    """The paths of one resource, then those of the resources below it."""
    found: list[Row] = []
    if isinstance(resource, JsonResource):
        for pattern, methods in resource._routes.items():
            # Synapse calls `match`, which anchors at the start.
            anchored = pattern.pattern if pattern.pattern.startswith("^") else f"^{pattern.pattern}"
            names = {entry.servlet_classname for entry in methods.values()}
            found.append((anchored, sorted(method.decode() for method in methods), "/".join(sorted(names))))
    elif type(resource).__name__ not in FOLDERS:
        methods = sorted(
            {name.rpartition("_")[2] for name in dir(resource) if re.fullmatch(r"(_async_)?render_(GET|POST|PUT|DELETE)", name)}
        )
        end = "(/|$)" if resource.isLeaf or isinstance(resource, File) else "$"
        found.append((f"^{re.escape(path)}{end}", methods, type(resource).__name__))
    if isinstance(resource, File):
        return found
    for name in resource.listNames():
        child = name if isinstance(name, bytes) else name.encode()
        found += rows(resource.getStaticEntity(child), f"{path}/{child.decode()}")
    return found


def main() -> int:
    """Answer, and give the exit code."""
    asked = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answers = {name: served(Path(sys.argv[1]), arguments) for name, arguments in asked.items()}
    except Exception:
        traceback.print_exc()
        return 1
    sys.stdout.write(json.dumps(answers))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The S3 provider's threads would wait for the reactor to stop, which has never run.
    os._exit(code)
