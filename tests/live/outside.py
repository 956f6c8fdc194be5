"""Who is outside of the platform of the live tests: an ingress controller with TLS in front of it, and another homeserver."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import yaml
from attrs import evolve

from main_instance.synapse.configuration import log_config
from tests.live.cluster import INGRESS, WORLD, Client, Cluster, Place
from tests.live.homeservers import SHARED_SECRET, homeserver_config, signing_key
from tests.live.installation import AUTHORITY, SERVER_NAME
from tests.live.processes import wait_for

PARTNER = "partner.example"
PARTNER_URL = f"http://{PARTNER}:8008"
_FOLDER = "/tmp/homeserver"


@contextmanager
def launched(cluster: Cluster, module: str, given: Mapping[str, object], at: Place) -> Iterator[Client]:
    """A program of tests/live/clients/, until the end of the block."""
    client = cluster.launch(["python", "-m", f"tests.live.clients.{module}"], at, given=json.dumps(given))
    try:
        yield client
    finally:
        client.signal(15)
        client.wait(10)


@contextmanager
def program(cluster: Cluster, files: Mapping[str, str], command: Sequence[str], at: Place) -> Iterator[Client]:
    """A program that finds these files, until the end of the block."""
    with launched(cluster, "with_files", {"files": files, "command": command}, at) as client:
        yield client


@contextmanager
def ingress_controller(cluster: Cluster) -> Iterator[str]:
    """Answers for the server name and for its homeserver, by TLS. Its address."""
    names = (SERVER_NAME, f"matrix.{SERVER_NAME}")
    certificate, key = AUTHORITY.issue(*names)
    to = ("haproxy.matrix.svc.cluster.local.", 8008)
    given = {"listen": 443, "to": to, "certificate": certificate, "key": key}
    with launched(cluster, "relay", given, evolve(INGRESS, names=names)) as relay:
        wait_for(relay.output, 20, "the ingress controller")
        yield relay.output().strip()


@contextmanager
def partner(cluster: Cluster) -> Iterator[Client]:
    """The homeserver of somebody else, at the port that servers have by default. Its own people use it without TLS."""
    certificate, key = AUTHORITY.issue(PARTNER)
    every = {"type": "http", "bind_addresses": ["0.0.0.0"]}
    listeners = [
        {**every, "port": 8008, "resources": [{"names": ["client", "media"]}]},
        {**every, "port": 8448, "tls": True, "resources": [{"names": ["federation"]}]},
    ]
    files = {
        "homeserver.yaml": yaml.safe_dump(homeserver_config(PARTNER, _FOLDER, listeners, _FOLDER)),
        "log.yaml": yaml.safe_dump(log_config(structured=False)),
        "signing.key": signing_key(PARTNER),
        "ca.pem": AUTHORITY.certificate,
        "tls.pem": certificate,
        "tls.key": key,
    }
    command = ("python", "-m", "synapse.app.homeserver", "-c", f"{_FOLDER}/homeserver.yaml")
    there = evolve(WORLD, names=(PARTNER,))
    with program(cluster, {f"{_FOLDER}/{name}": text for name, text in files.items()}, command, there) as server:
        answers = ["curl", "--silent", "--fail", f"{PARTNER_URL}/health"]
        wait_for(lambda: cluster.run(answers, WORLD).code == 0, 90, "the other homeserver")
        yield server


def register_partner(cluster: Cluster, name: str) -> str:
    """An account at the other homeserver: its password."""
    password = f"{name}-has-a-password"
    command = ["register_new_matrix_user", "-u", name, "-p", password, "--no-admin", "-k", SHARED_SECRET, PARTNER_URL]
    cluster.run(command, WORLD).check()
    return password
