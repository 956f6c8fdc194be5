"""Argo CD's own programs against a real API server. What its nodes and operators would do, a loop here does: all that is made becomes ready."""

import contextlib
import json
import os
import ssl
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.kustomize import ROOT, kubectl
from tests.live.control_plane import ControlPlane
from tests.live.processes import LOOPBACK, accepts_connections, free_ports, running, wait_for
from tests.live.programs import chosen, redis_program

NAMESPACE = "argocd"
FILES = ROOT / ".tools/argocd/files"


def argocd_program() -> str:
    """The program of tools/argocd; where it is not built, the test is skipped and says how to build it."""
    return chosen("ARGOCD", [ROOT / ".tools/argocd/argocd"], "Argo CD, which Go builds in about ten minutes: make argocd")


def definitions() -> list[dict[str, Any]]:
    """Argo CD's own kinds."""
    return [yaml.safe_load(file.read_text()) for file in sorted(FILES.glob("*-crd.yaml"))]


@frozen
class Repository:
    """What Argo CD clones: a folder under Git."""

    folder: Path

    @property
    def url(self) -> str:
        """Its address. `gitops.repository` names a server; a file stands in for that alone."""
        return f"file://{self.folder}"

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", "-C", str(self.folder), *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        """What stands in the folder, as the newest commit: its name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@frozen
class ArgoCd:
    """Running, for one control plane."""

    plane: ControlPlane

    def application(self, name: str) -> dict[str, Any]:
        """An Application; empty while there is none."""
        found = [o for o in self.plane.objects("applications.argoproj.io", NAMESPACE) if o["metadata"]["name"] == name]
        return found[0] if found else {}

    def _patch(self, name: str, patch: Mapping[str, Any]) -> None:
        self.plane.kubectl(
            "--namespace", NAMESPACE, "patch", "applications.argoproj.io", name, "--type=merge", "--patch", json.dumps(patch)
        )

    def refresh(self, name: str) -> dict[str, Any]:
        """Compare what runs with what is committed, without anything that is remembered (docs/user-guide/commands/argocd_app_get.md)."""
        self._patch(name, {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}})
        wait_for(
            lambda: "argocd.argoproj.io/refresh" not in self.application(name)["metadata"].get("annotations", {}), 120, "the comparison"
        )
        return self.application(name)

    def sync(self, name: str, *, prune: bool = False, seconds: float = 500) -> dict[str, Any]:
        """Apply what is committed, as a person does who presses the button: the Application afterwards."""
        policy = self.application(name)["spec"]["syncPolicy"]
        wanted = {"syncOptions": policy["syncOptions"], "prune": prune, "syncStrategy": {"hook": {}}}
        before = self.application(name).get("status", {}).get("operationState", {}).get("startedAt")
        self._patch(name, {"operation": {"initiatedBy": {"username": "tests"}, "sync": wanted, "retry": policy["retry"]}})

        def ended() -> dict[str, Any] | None:
            application = self.application(name)
            state = application.get("status", {}).get("operationState", {})
            return application if state.get("startedAt") != before and state.get("phase") in ("Succeeded", "Failed", "Error") else None

        application = wait_for(ended, seconds, f"the synchronisation of {name}")
        assert application
        return application


def differing(application: Mapping[str, Any]) -> list[str]:
    """What is not as it is committed, object by object."""
    return [
        f"{o['kind']}/{o['name']}: {o.get('status')}" for o in application["status"].get("resources", []) if o.get("status") != "Synced"
    ]


@contextlib.contextmanager
def argocd(plane: ControlPlane, folder: Path) -> Iterator[ArgoCd]:
    """Run its controllers and its server of repositories for the time of a `with` block."""
    program = argocd_program()
    cache, repositories, *others = free_ports(7)
    tools = folder / "bin"
    tools.mkdir()
    # It calls kustomize, which kubectl has inside.
    shim = tools / "kustomize"
    shim.write_text(f'#!/bin/sh\nif [ "$1" = build ]; then shift; exec {kubectl()} kustomize "$@"; fi\necho v5.7.1\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "ARGOCD_GPG_ENABLED": "false",
        "KUBECONFIG": str(plane.kubeconfig),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    redis = f"{LOOPBACK}:{cache}"
    plane.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "argocd-secret", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "argocd"}},
                "stringData": {"server.secretkey": "of-the-tests"},
            },
            *definitions(),
        ],
        folder,
    )
    for kind in ("applications", "applicationsets", "appprojects"):
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{kind}.argoproj.io")
    commands: dict[str, list[str | Path]] = {
        "redis": [redis_program(), "--port", str(cache), "--bind", LOOPBACK, "--save", "", "--dir", folder],
        "argocd-repo-server": [
            *(program, "repositories", "--address", LOOPBACK, "--port", str(repositories), "--metrics-address", LOOPBACK),
            *("--metrics-port", str(others[0]), "--disable-tls", "--redis", redis, "--loglevel", "warn"),
        ],
        "argocd-application-controller": [
            *(program, "applications", "--kubeconfig", plane.kubeconfig, "--namespace", NAMESPACE, "--redis", redis, "--app-resync", "20"),
            *("--repo-server", f"{LOOPBACK}:{repositories}", "--repo-server-plaintext", "--metrics-port", str(others[1])),
            *("--app-resync-jitter", "1", "--loglevel", "warn"),
        ],
        "argocd-applicationset-controller": [
            *(program, "applicationsets", "--kubeconfig", plane.kubeconfig, "--namespace", NAMESPACE, "--repo-server-plaintext"),
            *("--argocd-repo-server", f"{LOOPBACK}:{repositories}", "--metrics-addr", f"{LOOPBACK}:{others[2]}", "--loglevel", "warn"),
            *("--probe-addr", f"{LOOPBACK}:{others[3]}", "--webhook-addr", f"{LOOPBACK}:{others[4]}"),
        ],
    }
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            started = stack.enter_context(running(command, name=name, environment=environment, folder=folder))
            if name == "argocd-repo-server":
                started.ready(lambda: accepts_connections(repositories), 60)
        yield ArgoCd(plane)


@contextlib.contextmanager
def everything_becomes_ready(plane: ControlPlane) -> Iterator[None]:
    """Nodes and operators, as far as Argo CD sees them: each pod runs and is ready, a Job's ends, and what operators keep says that it is well."""
    ended = threading.Event()
    thread = threading.Thread(target=_Readiness(plane, ended).run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(20)


_CONDITION = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Tests", "message": ""}
_STATUS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "api/v1/pods": lambda o: _pod(o),
    "api/v1/persistentvolumeclaims": lambda _: {"phase": "Bound"},
    "apis/postgresql.cnpg.io/v1/clusters": lambda _: {"phase": "Cluster in healthy state"},
    "apis/postgresql.cnpg.io/v1/databases": lambda o: {"applied": True, "observedGeneration": o["metadata"]["generation"]},
    "apis/postgresql.cnpg.io/v1/databaseroles": lambda o: {"applied": True, "observedGeneration": o["metadata"]["generation"]},
    "apis/minio.min.io/v2/tenants": lambda _: {"currentState": "Initialized"},
    "apis/cert-manager.io/v1/certificates": lambda _: {"conditions": [_CONDITION]},
    "apis/cert-manager.io/v1/issuers": lambda _: {"conditions": [_CONDITION]},
    "apis/cert-manager.io/v1/clusterissuers": lambda _: {"conditions": [_CONDITION]},
}
"""What is said of each kind. Phases and states: app/gitops/health/."""


def _pod(pod: dict[str, Any]) -> dict[str, Any]:
    if any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", [])):
        return {"phase": "Succeeded"}
    conditions = [{**_CONDITION, "type": kind} for kind in ("Initialized", "ContainersReady", "Ready")]
    names = [container["name"] for container in pod["spec"]["containers"]]
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    containers = [{"name": name, "ready": True, "restartCount": 0, "image": "", "imageID": "", "state": state} for name in names]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": containers}


class _Readiness:
    """The loop. It asks the API server itself: kubectl takes longer to start than an answer."""

    def __init__(self, plane: ControlPlane, ended: threading.Event) -> None:
        self._server = f"https://{LOOPBACK}:{plane.port}"
        self._context = ssl.create_default_context(cafile=str(plane.certificates / "apiserver.crt"))
        settings = json.loads(plane.kubeconfig.read_text())
        self._token = settings["users"][0]["user"]["token"]
        self._ended = ended
        self._done: set[tuple[str, int]] = set()

    def run(self) -> None:
        while not self._ended.is_set():
            for place, status in _STATUS.items():
                with contextlib.suppress(OSError):  # a kind that is not there, or an object that has gone
                    for o in self._ask("GET", place)["items"]:
                        self._answer(place, o, status)
            time.sleep(0.5)

    def _answer(self, place: str, o: dict[str, Any], status: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        metadata = o["metadata"]
        seen = (metadata["uid"], metadata.get("generation", 0))
        if seen in self._done:
            return
        group, _, plural = place.rpartition("/")
        scope = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
        with contextlib.suppress(OSError):
            self._ask("PATCH", f"{group}/{scope}{plural}/{metadata['name']}/status", {"status": status(o)})
            self._done.add(seen)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/merge-patch+json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._server}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20, context=self._context) as answer:
            return json.loads(answer.read())
