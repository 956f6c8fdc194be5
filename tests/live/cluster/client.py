"""What tests call: start a node, ask it, and end it."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, field, frozen

from tests.live.programs import newest_postgresql_programs

ROOT = Path(__file__).parents[3]
TOOLS = ("unshare", "setpriv", "nsenter", "ip", "nft", "bwrap", "mount")
_START_SECONDS = 30

POD_CIDR, SERVICE_CIDR, NODE_CIDR = "198.18.0.0/17", "198.19.0.0/16", "198.18.240.0/20"
"""The ranges of pods, of Services, and of nodes and the API server: what a site would set as `cluster.pod_cidrs` and so on."""


@frozen
class Place:
    """Where a client program runs: in a pod of its own with these labels, outside every pod network, or on the node itself."""

    namespace: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    kind: str = "pod"
    """`pod`, `world` or `node`."""
    names: tuple[str, ...] = ()
    """Names by which everybody finds its address, as long as it runs."""


INGRESS = Place("traefik", {"app.kubernetes.io/name": "traefik"})
"""As the ingress controller: it reaches what the site publishes, by the names of Services."""
WORLD = Place(kind="world")
"""A computer on the Internet: its address is in no private range and policies know it by no label. It resolves Service names all the same."""
NODE = Place(kind="node")
"""The node, as `kubectl port-forward` comes in: no policy binds it, it reaches every pod and Service."""


@frozen
class Completed:
    """A program that has ended."""

    command: Sequence[str]
    code: int
    """Exit code; 128 + n after signal n; 124 when its time was over."""
    output: str
    errors: str

    def check(self) -> "Completed":
        """Itself, or RuntimeError with all that it printed if the code is not 0."""
        if self.code:
            raise RuntimeError(
                f"{' '.join(self.command)[:200]} ended with code {self.code}\n{self.output[-10_000:]}\n{self.errors[-10_000:]}"
            )
        return self

    @property
    def json(self) -> Any:
        """The value that its standard output is the JSON of."""
        return json.loads(self.output)


@frozen
class PodStatus:
    """A pod as `kubectl get pod` shows it."""

    namespace: str
    name: str
    workload: str
    """Name of the StatefulSet, Deployment or Job that it belongs to."""
    address: str
    phase: str
    """Pending, Running, Succeeded, Failed, Stopped (by `stop`) or Terminating."""
    ready: bool
    restarts: int
    containers: tuple[str, ...]
    labels: Mapping[str, str]


@frozen
class Event:
    """Something that happened to a pod. `at` is a time of `time.monotonic()`."""

    at: float
    namespace: str
    pod: str
    container: str
    reason: str
    """Scheduled, Started, Ready, NotReady, Unhealthy, Killing, Exited, Deleted, FailedMount."""
    message: str


@frozen
class Denied:
    """A connection that the policies refuse, and how many packets tried."""

    source: str
    """Name of the pod, or its address if it is none."""
    target: str
    protocol: str
    port: int
    packets: int


class Client:
    """A program that runs in a place while the test goes on."""

    def __init__(self, cluster: "Cluster", key: str, command: Sequence[str]) -> None:
        self._cluster, self._key, self._command = cluster, key, command

    def running(self) -> bool:
        """Whether it has not ended."""
        return bool(self._cluster._call("client_running", key=self._key))

    def output(self) -> str:
        """What it has printed to standard output so far."""
        return str(self._cluster._call("client_output", key=self._key))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._cluster._call("client_signal", key=self._key, number=number)

    def wait(self, seconds: float) -> Completed:
        """Wait for its end, which is brought about (code 124) after `seconds`. Its pod, if it had one, is gone then."""
        return Completed(self._command, **self._cluster._call("client_wait", seconds + 10, key=self._key, seconds=seconds))


class Cluster:
    """A running node. Pods are named as in Kubernetes: `synapse-0`, and `haproxy-<n>` for a Deployment's.

    Where a method takes a pod, it takes its name, or `namespace/name` if two namespaces have one of that name.
    Every method raises RuntimeError with the node's reason if it cannot do what it is asked.
    """

    def __init__(self, channel: socket.socket, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._channel, self._process, self._log = channel, process, log
        self._numbers = itertools.count()
        self._answers: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    # --- what is deployed ---

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Make these objects (everything: what `kubectl kustomize` prints) the state that the node brings about. It returns at once.

        Pods whose template has changed are replaced as their workload's strategy says; pods of a larger set are added, those of a smaller
        one deleted, highest ordinal first. Secrets, claims and finished Jobs stay.
        """
        self._call("apply", 60, objects=list(objects))

    def scale(self, workload: str, replicas: int) -> None:
        """`kubectl scale`: this many pods of a StatefulSet or Deployment, until the next `apply`."""
        self._call("scale", workload=workload, replicas=replicas)

    def pods(self, workload: str | None = None) -> list[PodStatus]:
        """All pods, or those of a workload."""
        found = [PodStatus(**{**pod, "containers": tuple(pod["containers"])}) for pod in self._call("pods")]
        return [pod for pod in found if workload in (None, pod.workload)]

    def pod(self, name: str) -> PodStatus:
        """One pod by its name."""
        return next(PodStatus(**{**pod, "containers": tuple(pod["containers"])}) for pod in self._call("pods", name=name))

    def wait_ready(self, seconds: float, *names: str) -> float:
        """Wait until all pods that should be there are ready, and all Jobs done; or only those of the named pods or workloads.

        Returns how long it took, in seconds. Raises TimeoutError that says what is missing, with the last output of each such container.
        """
        started = time.monotonic()
        missing: dict[str, str] = self._call("wait_ready", seconds + 10, seconds=seconds, names=names)
        if missing:
            raise TimeoutError(f"not ready after {seconds} s:\n" + "\n".join(f"--- {name}\n{why}" for name, why in missing.items()))
        return time.monotonic() - started

    # --- faults ---

    def kill(self, pod: str, container: str | None = None) -> None:
        """SIGKILL to the pod's containers, or to one of them: as if it had run out of memory. The node starts them anew, in the same pod."""
        self._call("kill", pod=pod, container=container)

    def power_off(self, pod: str) -> None:
        """The machine under the pod loses power: its peers get no answer any more, not even that the connection is closed.

        A pod that took its place would be a new one: `start` makes it.
        """
        self._call("power_off", pod=pod)

    def delete(self, pod: str, wait: float | None = None) -> None:
        """`kubectl delete pod`: ended gracefully, then its workload makes a new one with the same claims and another address.

        With `wait`: until the old one is gone, for so many seconds at most.
        """
        self._call("delete", (wait or 0) + 30, pod=pod, wait=wait)

    def stop(self, pod: str, wait: float | None = None) -> None:
        """End a pod gracefully and keep it from coming back until `start`. `wait` as for `delete`."""
        self._call("stop", (wait or 0) + 30, pod=pod, wait=wait)

    def start(self, pod: str) -> None:
        """Let a stopped pod come back."""
        self._call("start", pod=pod)

    # --- what can be seen ---

    def logs(self, pod: str, container: str | None = None) -> str:
        """Everything that the containers of a pod (or one of them) have printed, those that it had before a restart included."""
        return str(self._call("logs", pod=pod, container=container))

    def events(self, pod: str | None = None) -> list[Event]:
        """What happened so far, in order."""
        return [event for event in (Event(**event) for event in self._call("events")) if pod in (None, event.pod)]

    def denied(self) -> list[Denied]:
        """The connections that the NetworkPolicies have refused so far."""
        return [Denied(**denied) for denied in self._call("denied")]

    def forget_denied(self) -> None:
        """Begin anew with what `denied` tells."""
        self._call("forget_denied")

    def arrivals(self, connections: Sequence[tuple[str, str, int]], seconds: float = 1) -> set[tuple[str, str, int]]:
        """Which of these TCP connections, each from a pod to a pod's port, arrive there: they are accepted, or refused by the target itself.

        Nothing is sent over them. What has not arrived after `seconds` was dropped on the way.
        """
        answers = self._call(
            "arrivals", 60 + seconds * len({source for source, _, _ in connections}), connections=connections, seconds=seconds
        )
        return {(source, target, port) for source, target, port in answers}

    def secret(self, name: str, namespace: str = "matrix") -> dict[str, bytes]:
        """The values of a Secret."""
        return {key: base64.b64decode(value) for key, value in self._call("secret", namespace=namespace, name=name).items()}

    def resolve(self, service: str, namespace: str = "matrix") -> list[str]:
        """The addresses that DNS gives for a Service's name, or for `pod.service`."""
        return list(self._call("resolve", service=service, namespace=namespace))

    def save_logs(self, folder: Path) -> None:
        """Write the output of every container, the events and the refused connections to files, for people to read."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self._call("all_logs", 60).items():
            (folder / f"{name}.log").write_text(text)

    # --- programs ---

    def exec(self, pod: str, command: Sequence[str], container: str | None = None, seconds: float = 60) -> Completed:
        """`kubectl exec`: run a command in a container (the first if none is named), as its user and among its files."""
        answer = self._call("exec", seconds + 10, pod=pod, container=container, command=list(command), seconds=seconds)
        return Completed(command, **answer)

    def run(
        self,
        command: Sequence[str | Path],
        at: Place = INGRESS,
        seconds: float = 120,
        environment: Mapping[str, str] | None = None,
        given: str = "",
    ) -> Completed:
        """Run a program in a place, to its end. See `launch`."""
        return self.launch(command, at, environment, given).wait(seconds)

    def launch(
        self, command: Sequence[str | Path], at: Place = INGRESS, environment: Mapping[str, str] | None = None, given: str = ""
    ) -> Client:
        """Start a program in a place. It sees the repository at its own path, read only, and an empty /tmp of its own.

        `python` is that of .venv-live, with the repository on its path; the first word may be a script of the repository (`*.py`) or a
        program of the machine. `given` is its standard input. In a pod, names are resolved as pods of namespace `matrix` do.
        """
        words = [str(word) for word in command]
        if words[0].endswith(".py"):
            words = ["python", str((ROOT / words[0]).resolve()), *words[1:]]
        key = self._call("launch", 30, command=words, place=asdict(at), environment=dict(environment or {}), given=given)
        return Client(self, key, words)

    # --- the channel: one JSON value per line in each direction ---

    def _call(self, method: str, _seconds: float = 30, **arguments: Any) -> Any:
        answer: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            self._answers[number] = answer
            self._channel.sendall(json.dumps({"id": number, "call": method, "arguments": arguments}).encode() + b"\n")
        try:
            return answer.result(_seconds)
        except TimeoutError as error:
            if answer.done():
                raise
            raise TimeoutError(f"the node did not answer {method} in {_seconds} s\n{self.node_log()}") from error

    def _receive(self) -> None:
        with contextlib.suppress(OSError), self._channel.makefile("rb") as lines:
            for line in lines:
                answer = json.loads(line)
                future = self._answers.pop(answer["id"])
                if "error" in answer:
                    future.set_exception(RuntimeError(answer["error"]))
                else:
                    future.set_result(answer["value"])
        for future in self._answers.values():
            future.set_exception(RuntimeError(f"the node has ended\n{self.node_log()}"))

    def node_log(self) -> str:
        """The last lines that the node itself printed."""
        return self._log.read_text(errors="replace")[-8000:]


def _environment() -> dict[str, str]:
    """That of the node's process."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def node_command() -> list[str]:
    """The words before the node's program that put it into namespaces of its own. Skips the test, with the reason, where that cannot be."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: see tools/debian-packages.txt")
    sudo: list[str] = []
    if os.geteuid() != 0:
        # It resets most variables, those in which Python and the machine look for programs among them.
        sudo = ["sudo", "-n", "-E", "env", *(f"{name}={value}" for name, value in _environment().items() if name in ("PATH", "PYTHONPATH"))]
        if not shutil.which("sudo") or subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode:
            pytest.skip("a node makes network and mount namespaces: run as root, or let sudo work without a password")
    # The kernel ends everything in the namespace of processes with its first process, which ends with us.
    own = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*sudo, *own, "true"], capture_output=True, text=True, check=False, timeout=20)
    if probe.returncode:
        pytest.skip(f"namespaces cannot be made here: {probe.stderr.strip()}")
    return [*sudo, "setpriv", "--pdeathsig", "KILL", *own]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    # By sudo it is root's, and only ends by itself.
    with contextlib.suppress(PermissionError):
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def running_cluster(
    objects: Sequence[Mapping[str, Any]],
    *,
    folder: Path,
    pod_cidr: str = POD_CIDR,
    node_cidr: str = NODE_CIDR,
    domain: str = "cluster.local",
) -> Iterator[Cluster]:
    """A node that runs these objects, for the time of a `with` block; it is not waited for.

    `folder`: where the node's own log and, if the block fails, those of all containers are written (below `logs/`).
    Everything of it ends with the block, or with this process, however that ends. Nothing that runs in it can reach this machine's network.
    """
    command = node_command()
    if any(o["kind"] == "DatabaseRole" and o["spec"].get("replication") for o in objects):
        newest_postgresql_programs()  # From inside nothing could be fetched.
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "node.log"
    with tempfile.TemporaryDirectory(prefix="node-") as scratch, socket.socket(socket.AF_UNIX) as listener, log.open("wb") as output:
        listener.bind(f"{scratch}/socket")
        listener.listen(1)
        listener.settimeout(_START_SECONDS)
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.live.cluster", f"{scratch}/socket"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=_environment(),
        )
        try:
            ours, _ = listener.accept()
        except TimeoutError:
            _kill(process)
            raise RuntimeError(f"the node did not start\n{log.read_text(errors='replace')}") from None
    cluster = Cluster(ours, process, log)
    try:
        cluster._call("begin", _START_SECONDS, pod_cidr=pod_cidr, node_cidr=node_cidr, domain=domain)
        cluster.apply(objects)
        yield cluster
    except BaseException as error:
        with contextlib.suppress(RuntimeError, TimeoutError, OSError):
            cluster.save_logs(folder / "logs")
            error.add_note(f"the output of all containers is in {folder / 'logs'}")
        raise
    finally:
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)
        ours.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            _kill(process)
