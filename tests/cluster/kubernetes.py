"""`kubectl` against a cluster, as its administrator."""

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from attrs import frozen

from tests.kustomize import kubectl

T = TypeVar("T")
Manifest = Mapping[str, Any]


class RefusedError(RuntimeError):
    """`kubectl` ended with an error; the message has its words."""


@frozen
class Said:
    """What `kubectl` said: its standard output, and its warnings."""

    output: str
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The output by line."""
        return tuple(self.output.splitlines())


@frozen(eq=False)
class Kubernetes:
    """An API server, by a kubeconfig."""

    kubeconfig: Path

    def kubectl(self, *words: str | Path, given: str | None = None, seconds: float = 60, codes: Sequence[int] = (0,)) -> Said:
        """Run `kubectl`. Raises RefusedError when its exit code is none of `codes`."""
        command = [kubectl(), "--kubeconfig", str(self.kubeconfig), *map(str, words)]
        run = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=seconds)
        if run.returncode not in codes:
            raise RefusedError(
                f"kubectl {' '.join(map(str, words))[:300]}: code {run.returncode}\n{run.stderr[-4000:]}{run.stdout[-2000:]}"
            )
        return Said(run.stdout, tuple(line for line in run.stderr.splitlines() if line.startswith("Warning:")))

    def apply(self, objects: Sequence[Manifest], seconds: float = 120) -> Said:
        """Apply objects, as a server-side apply does."""
        text = yaml.dump_all(objects, Dumper=yaml.CSafeDumper)
        return self.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", given=text, seconds=seconds)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """An object, or None if there is none."""
        said = self.kubectl("get", kind, name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
        found: dict[str, Any] | None = json.loads(said.output) if said.output.strip() else None
        return found

    def objects(self, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """All objects of a kind: of one namespace or of all, and with these labels."""
        scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        chosen = ["--selector", labels] if labels else []
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *scope, *chosen, "--output", "json").output)["items"]
        return items

    def listed(self, path: str, seconds: float = 20) -> list[dict[str, Any]]:
        """The objects below a path of the API, without the cost of a `kubectl`. Raises OSError where the API server does not answer."""
        context, server = _access(self.kubeconfig)
        connection = http.client.HTTPSConnection(server, timeout=seconds, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != 200:
            raise RefusedError(f"GET {path}: {answer.status} {body[:500].decode(errors='replace')}")
        items: list[dict[str, Any]] = json.loads(body)["items"]
        return items

    def exec(
        self, namespace: str, pod: str, words: Sequence[str], container: str = "", given: str | None = None, seconds: float = 60
    ) -> str:
        """The output of a program in a container."""
        which = ["--container", container] if container else []
        stdin = ["--stdin"] if given is not None else []
        return self.kubectl("exec", *stdin, "--namespace", namespace, pod, *which, "--", *words, given=given, seconds=seconds).output


@cache
def _access(kubeconfig: Path) -> tuple[ssl.SSLContext, str]:
    """What a kubeconfig says: the certificates, and host and port of the API server."""
    document = json.loads(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    # Python takes a client's certificate from a file alone.
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(b"".join(base64.b64decode(user[key]) for key in ("client-certificate-data", "client-key-data")))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context, cluster["server"].removeprefix("https://")


def wait_until(condition: Callable[[], T], seconds: float, what: str | Callable[[], str], pause: float = 1.0) -> T:
    """Call `condition` until its value is true, and return that. A refusal by the API server counts as not yet.

    Raises TimeoutError after `seconds`, with `what`.
    """
    deadline = time.monotonic() + seconds
    while True:
        problem: Exception | None = None
        try:
            if value := condition():
                return value
        except (RefusedError, OSError, subprocess.TimeoutExpired) as error:
            problem = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}") from problem
        time.sleep(pause)
