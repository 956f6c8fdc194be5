"""People who use the platform in the cluster: the clients of the live tests, in pods where the ingress controller is."""

import contextlib
import json
import secrets
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.sandbox import name
from tests.kustomize import ROOT
from tests.live.traffic import Traffic

PUBLIC = "http://haproxy.matrix.svc.cluster.local:8008"
SERVER_NAME = "example.com"
NAMESPACE = "traefik"
"""Where the ingress controller is, for the policies: what runs here reaches what is published, and nothing else."""
IMAGE = "docker.io/tests/client:1"
_REPOSITORY, _EXCHANGE = "/repository", "/exchange"
_PASSWORDS: defaultdict[str, str] = defaultdict(lambda: secrets.token_hex(12))
"""By person, for the whole run: an account that exists keeps the password that it has."""


def client_pod(pod: str, command: str, exchange: Path, node: int) -> dict[str, Any]:
    """A pod that runs a command of this repository, with a folder of this machine to give and take."""
    mounts = [
        {"name": "repository", "mountPath": _REPOSITORY, "readOnly": True},
        {"name": "exchange", "mountPath": _EXCHANGE},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    container = {
        "name": "client",
        "image": IMAGE,
        "command": ["sh", "-euc", command],
        "workingDir": _REPOSITORY,
        "env": [
            {"name": "PYTHONPATH", "value": f"{_REPOSITORY}:{_REPOSITORY}/constructs"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "traefik"}},
        "spec": {
            "nodeName": name(node),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [
                {"name": "repository", "hostPath": {"path": str(ROOT)}},
                {"name": "exchange", "hostPath": {"path": str(exchange)}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }


@frozen(eq=False)
class Client:
    """A running program of the tests in the cluster."""

    api: Kubernetes
    pod: str
    exchange: Path

    def running(self) -> bool:
        """Whether it has not ended."""
        found = self.api.get("pod", self.pod, NAMESPACE)
        return bool(found and found["status"].get("phase") in ("Pending", "Running"))

    def output(self) -> str:
        """What it has printed so far."""
        file = self.exchange / "output"
        return file.read_text() if file.exists() else ""

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.api.exec(NAMESPACE, self.pod, ["kill", f"-{signal.Signals(number).name.removeprefix('SIG')}", "1"])

    def wait(self, seconds: float) -> str:
        """Wait for its end, and return what it printed. Raises RuntimeError with its errors if it failed."""
        wait_until(lambda: not self.running(), seconds, f"{self.pod} ends")
        found = self.api.get("pod", self.pod, NAMESPACE)
        if not found or found["status"].get("phase") != "Succeeded":
            raise RuntimeError(f"{self.pod} failed:\n{(self.exchange / 'errors').read_text()[-4000:]}")
        return self.output()


@contextlib.contextmanager
def launched(api: Kubernetes, command: str, given: Mapping[str, Any], folder: Path, node: int = 1) -> Iterator[Client]:
    """Run `python -m tests.live.clients <command>` for the time of a `with` block."""
    pod = f"{command}-{secrets.token_hex(3)}"
    exchange = folder / pod
    exchange.mkdir(parents=True)
    (exchange / "given.json").write_text(json.dumps(given))
    words = f"exec python -m tests.live.clients {command} <{_EXCHANGE}/given.json >{_EXCHANGE}/output 2>{_EXCHANGE}/errors"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api.apply([namespace, client_pod(pod, words, exchange, node)])
    try:
        yield Client(api, pod, exchange)
    finally:
        api.kubectl("delete", "pod", pod, "--namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def register(api: Kubernetes, *names: str) -> dict[str, str]:
    """Make accounts as the deployment guide says, by the secret that only the pod of main has. Returns passwords by name."""
    passwords = {person: _PASSWORDS[person] for person in names}
    secret = "/secrets/synapse/registration_shared_secret"
    for person, password in passwords.items():
        command = f'register_new_matrix_user -u {person} -p {password} --no-admin --exists-ok -k "$(cat {secret})" http://localhost:8008'
        api.exec("matrix", "synapse-0", ["sh", "-c", f"for _ in 1 2 3 4; do {command} && exit 0; sleep 2; done; exit 1"], seconds=180)
    return passwords


def scenarios(api: Kubernetes, folder: Path, *chosen: str, seconds: float = 400) -> dict[str, Any]:
    """Let people do what is chosen of `tests/live/clients/scenarios.py`. Returns what came of each, by name."""
    given = {
        "base": PUBLIC,
        "host": f"matrix.{SERVER_NAME}",
        "place": {"server_name": SERVER_NAME},
        "people": register(api, "alice", "bob", "bot"),
        "only": chosen,
    }
    with launched(api, "use", given, folder) as client:
        found: dict[str, Any] = json.loads(client.wait(seconds))["scenarios"]
    return found


@contextlib.contextmanager
def traffic(api: Kubernetes, folder: Path, *names: str, rooms: int = 2, pause: float = 0.5, seconds: float = 180) -> Iterator[Traffic]:
    """Traffic of new people for the time of a `with` block. They go on sending until its end."""
    given = {
        "base": PUBLIC,
        "host": f"matrix.{SERVER_NAME}",
        "server_name": SERVER_NAME,
        "people": register(api, *names),
        "rooms": rooms,
        "pause": pause,
    }
    with launched(api, "traffic", given, folder) as client:
        running = Traffic(client, names)
        wait_until(lambda: '"ready"' in client.output() or not client.running(), seconds, "the traffic begins")
        if not client.running():
            client.wait(1)
        yield running
