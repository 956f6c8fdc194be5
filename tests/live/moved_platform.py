"""Processes of Synapse with the files that a site renders, on one machine: addresses and paths of the cluster are replaced, nothing else is."""

import http.client
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from app.compiler import render
from app.site import Site
from kit.rendering import Rendering
from overlays import profiles
from tests.live.processes import LOOPBACK, free_ports, running
from tests.live.programs import redis_program
from tests.live.synapse_site import synapse_python

MAIN = "main"
ROUTES = {
    "/_matrix/client/v3/sync": "synchrotron-0",
    "/_matrix/client/v1/media": "media-repository-0",
    "/_matrix/media": "media-repository-0",
}
"""Where HAProxy would send a request, for those that are made here; everything else goes to `READER`."""
READER = "client-reader-0"


@frozen
class MovedPlatform:
    """Running processes, by name."""

    ports: Mapping[str, int]

    def call(self, method: str, path: str, token: str, body: Any = None, at: str = "") -> tuple[int, bytes]:
        """Status and body of an answer to the holder of a token."""
        process = at or next((name for prefix, name in ROUTES.items() if path.startswith(prefix)), READER)
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        with closing(http.client.HTTPConnection(LOOPBACK, self.ports[process], timeout=90)) as connection:
            connection.request(method, path, content, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()


def file(rendering: Rendering, name: str, key: str) -> dict[str, Any]:
    """A rendered file, by its ConfigMap and key."""
    path = next(files[key] for (_, found), files in rendering.config_maps.items() if found == name)
    found: dict[str, Any] = yaml.safe_load(rendering.files[path])
    return found


def _written(path: Path, config: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(config)))
    return path


def _here(config: Mapping[str, Any], folder: Path, database: Mapping[str, Any], storage: str) -> dict[str, Any]:
    """A process's own file with what is here in place of the cluster's."""
    here = dict(config)
    if "database" in here:
        pools = {name: here["database"]["args"][name] for name in ("cp_min", "cp_max")}
        here["database"] = {"name": "psycopg2", "args": {**database, **pools}}
    if "media_store_path" in here:
        here["media_store_path"] = str(folder / "cache")
        (provider,) = here["media_storage_providers"]
        keys = {"access_key_id": "key", "secret_access_key": "secret"}
        here["media_storage_providers"] = [{**provider, "config": {**provider["config"], "endpoint_url": storage, **keys}}]
    return here


def _listeners(found: Sequence[Mapping[str, Any]], ports: Mapping[int, int]) -> list[dict[str, Any]]:
    return [{**one, "port": ports[one["port"]], "bind_addresses": [LOOPBACK]} for one in found]


@contextmanager
def moved_platform(
    site: Site, folder: Path, names: Sequence[str], given: Mapping[str, str], database: Mapping[str, Any], storage: str
) -> Iterator[MovedPlatform]:
    """The processes of a site in the smallest size. `given`: what its Secret `synapse` has."""
    rendering = render(site, profiles()[0])
    every = [MAIN, *names]
    ports = {name: dict(zip((8008, 8080, 9001, 9093), free_ports(4), strict=True)) for name in every}
    (redis,) = free_ports(1)
    (folder / "cache").mkdir(parents=True)
    (folder / "log.yaml").write_text(yaml.safe_dump(file(rendering, "synapse-homeserver", "log.yaml")))
    for name, value in {**given, "worker_replication_secret": secrets.token_hex(16)}.items():
        (folder / name).write_text(value)
    shared = file(rendering, "synapse-homeserver", "homeserver.yaml")
    for key, value in shared.items():
        if isinstance(value, str) and value.startswith("/secrets/synapse/"):
            shared[key] = value.replace("/secrets/synapse", str(folder))
    shared |= {"redis": {"enabled": True, "host": LOOPBACK, "port": redis}, "log_config": str(folder / "log.yaml")}
    shared["worker_log_config"] = shared["log_config"]
    shards = file(rendering, "synapse-shards", "shards.yaml")
    shards["instance_map"] = {
        name: {"host": LOOPBACK, "port": ports[name][9093] if name in ports else 1} for name in shards["instance_map"]
    }
    files = [_written(folder / "homeserver.yaml", shared), _written(folder / "shards.yaml", shards)]
    with ExitStack() as stack:
        stack.enter_context(running([redis_program(), "--port", str(redis), "--save", ""], name="redis", folder=folder))
        for name in every:
            kind = _here(file(rendering, f"synapse-{name.removesuffix('-0')}", "kind.yaml"), folder, database, storage)
            key = "listeners" if name == MAIN else "worker_listeners"
            kind[key] = _listeners(kind[key], ports[name])
            for option in [option for option in kind if option.endswith("_path") and str(kind[option]).startswith("/secrets/synapse")]:
                kind[option] = kind[option].replace("/secrets/synapse", str(folder))
            own = [_written(folder / f"{name}.yaml", kind)]
            own += [] if name == MAIN else [_written(folder / f"name-{name}.yaml", {"worker_name": name})]
            module = "synapse.app.homeserver" if name == MAIN else "synapse.app.generic_worker"
            command = [synapse_python(), "-m", module, *(word for path in [*files, *own] for word in ("-c", str(path)))]
            started = stack.enter_context(running(command, name=name, folder=folder))
            started.ready(lambda name=name: _serves(ports[name][8080]), 120)  # type: ignore[misc]
        yield MovedPlatform({name: of[8008] for name, of in ports.items()})


def _serves(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=5)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False
