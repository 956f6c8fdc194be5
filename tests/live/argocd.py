"""Argo CD's own controllers on a control plane, and the repository that they follow."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from app.layout import Files
from tests.kustomize import ROOT, build, write
from tests.live.control_plane import ControlPlane
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import chosen, installed, redis_program
from tests.manifests.rules.objects import Object, Objects

NAMESPACE = "argocd"
_API = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}"
_FOLDER = ROOT / ".tools" / "argocd"
_TMP = Path("/tmp")
"""The repository server keeps a socket and its clones there, and gets one of its own."""
_AUTHOR = {key: value for who in ("AUTHOR", "COMMITTER") for key, value in ((f"GIT_{who}_NAME", "a"), (f"GIT_{who}_EMAIL", "a@b"))}
_NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
_NO_WAY_OUT = {"HTTPS_PROXY": f"http://{LOOPBACK}:9", "HTTP_PROXY": f"http://{LOOPBACK}:9", "NO_PROXY": ""}
"""Charts are fetched from the internet, which no test depends on."""


def argocd_program() -> str:
    """The program of tools/argocd; where it is not built, the test is skipped and says how to build it."""
    return chosen("ARGOCD", [_FOLDER / "argocd"], "Argo CD, which Go builds in about ten minutes: make argocd")


@frozen
class Followed:
    """An Argo CD that follows a repository. `tmp`: what the repository server has for its `/tmp`, with the repository in it.

    `named`: the URL that the rendered objects have for the repository, which is a folder here.
    """

    plane: ControlPlane
    tmp: Path
    named: str

    @property
    def repository(self) -> Path:
        """The repository, with its work tree."""
        return self.tmp / "repository"

    def commit(self, files: Files) -> str:
        """Make `dist/` of it these files, and nothing else, in a revision of its own. Returns that."""
        shutil.rmtree(self.repository / "dist", ignore_errors=True)
        write(self.repository / "dist", files)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "dist")
        return self._git("rev-parse", "HEAD")

    def told(self) -> Objects:
        """What `dist/argocd` says, with the folder for the repository's URL."""
        text = yaml.safe_dump_all(build(self.repository / "dist" / "argocd"))
        return list(yaml.safe_load_all(text.replace(self.named, (_TMP / "repository").as_uri())))

    def application(self, name: str) -> Object:
        """An Application as it is now."""
        found: Object = self.plane.ask(f"{_API}/applications/{name}")
        return found

    def refresh(self, name: str, how: str = "normal") -> None:
        """Let Argo CD look again, as a webhook of the repository does, and wait until it has."""
        key = "argocd.argoproj.io/refresh"
        self.plane.ask(f"{_API}/applications/{name}", "PATCH", {"metadata": {"annotations": {key: how}}})
        wait_for(lambda: key not in self.application(name)["metadata"].get("annotations", {}), 120, f"{name} is compared again")

    def git_init(self) -> None:
        """Make the repository."""
        self.repository.mkdir()
        self._git("init", "--quiet", "--initial-branch", "main")

    def _git(self, *arguments: str) -> str:
        environment = {**os.environ, **_AUTHOR, **_NO_SETTINGS}
        command = [installed("git"), *arguments]
        run = subprocess.run(command, cwd=self.repository, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return run.stdout.strip()


@contextmanager
def running_argocd(plane: ControlPlane, folder: Path, named: str) -> Iterator[Followed]:
    """Run its application controller, its repository server and its controller of ApplicationSets, with Redis, as its own manifests do."""
    program = argocd_program()
    tmp = folder / "tmp"
    tmp.mkdir()
    followed = Followed(plane, tmp, named)
    followed.git_init()
    kustomize = tmp / "bin" / "kustomize"
    kustomize.parent.mkdir()
    kustomize.write_text(f'#!/bin/sh\nexec {program} kustomize "$@"\n')
    kustomize.chmod(0o755)
    # Its image has it, and it is asked for every revision; what is not signed makes it say nothing.
    verify = kustomize.with_name("git-verify-wrapper.sh")
    verify.write_text("#!/bin/sh\n")
    verify.chmod(0o755)
    _install(plane, Path(program).with_name("files"), folder)
    redis, server, server_metrics, metrics, sets_metrics, sets_probe, sets_webhook = free_ports(7)
    inside = [installed("bwrap"), "--die-with-parent", "--dev-bind", "/", "/", "--bind", str(tmp), str(_TMP)]
    serving: list[str | Path] = [
        *(*inside, program, "repo-server", "--disable-tls", "--client-ca-path=", "--redis", f"{LOOPBACK}:{redis}"),
        *("--address", LOOPBACK, "--port", str(server), "--metrics-address", LOOPBACK, "--metrics-port", str(server_metrics)),
    ]
    own = {**_NO_SETTINGS, "ARGOCD_GPG_ENABLED": "false", "HOME": str(_TMP)}
    path = f"{_TMP / 'bin'}:{os.environ['PATH']}"
    # It applies to the cluster of the kubeconfig what it would apply to the one that it runs in.
    cluster = {"KUBECONFIG": str(plane.kubeconfig), "ARGOCD_FAKE_IN_CLUSTER": "true"}
    # The API server is this machine's alone.
    cluster |= {"ARGOCD_K8S_CLIENT_QPS": "400", "ARGOCD_K8S_CLIENT_BURST": "800"}
    to_server = ["--namespace", NAMESPACE, "--repo-server-plaintext"]
    controlling = [program, "application-controller", *to_server, "--repo-server", f"{LOOPBACK}:{server}"]
    controlling += ["--redis", f"{LOOPBACK}:{redis}", "--metrics-port", str(metrics)]
    generating = [program, "applicationset-controller", *to_server, "--argocd-repo-server", f"{LOOPBACK}:{server}"]
    for flag, port in (("metrics", sets_metrics), ("probe", sets_probe), ("webhook", sets_webhook)):
        generating += [f"--{flag}-addr", f"{LOOPBACK}:{port}"]
    caching = [redis_program(), "--port", str(redis), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
    with (
        running(caching, name="redis", folder=folder) as cache,
        running(serving, name="repo-server", environment={**own, **_NO_WAY_OUT, "PATH": path}) as repositories,
        running(controlling, name="application-controller", environment=cluster) as controller,
        running(generating, name="applicationset-controller", environment=cluster) as sets,
    ):
        ready: tuple[tuple[Program, int], ...] = ((cache, redis), (repositories, server), (controller, metrics), (sets, sets_probe))
        for started, port in ready:
            started.ready(lambda: accepts_connections(port), 60)  # noqa: B023
        yield followed


def _install(plane: ControlPlane, files: Path, folder: Path) -> None:
    """Its definitions and its settings, as upstream ships them."""

    def there(name: str) -> Any:
        return yaml.safe_load((files / name).read_text())

    labels = {"app.kubernetes.io/part-of": "argocd"}
    secret = {"name": "argocd-secret", "namespace": NAMESPACE, "labels": labels}
    settings = there("argocd-cm.yaml")
    settings["metadata"]["namespace"] = NAMESPACE
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}], folder)
    plane.apply(
        [
            *(there(f"{kind}-crd.yaml") for kind in ("application", "applicationset", "appproject")),
            settings,
            {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"server.secretkey": "of-the-test"}},
        ],
        folder,
    )
    plane.wait_for_definitions()
