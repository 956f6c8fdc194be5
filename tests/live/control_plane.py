"""A real Kubernetes control plane on 127.0.0.1: etcd, the API server with its admission, and the controllers. No node runs anything."""

import contextlib
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.definitions import is_served
from tests.kustomize import ROOT, kubectl
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import chosen, installed

_TOKEN = "administrator-of-the-test"


def kubernetes_program() -> Path:
    """The program of tools/kubernetes; where it is not built, the test is skipped and says how to build it."""
    built = [ROOT / ".tools" / "kubernetes" / "kubernetes"]
    return Path(chosen("KUBERNETES", built, "the control plane of Kubernetes, which Go builds in about ten minutes: make programs"))


@frozen
class Applied:
    """What `kubectl` said: standard output by line, and its warnings."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


@frozen
class ControlPlane:
    """A running control plane. `kubeconfig`: a file that makes `kubectl` its administrator. `port`: of the API server, with TLS."""

    kubeconfig: Path
    port: int
    certificates: Path
    api_server: Program

    def kubectl(self, *arguments: str | Path, seconds: float = 120, codes: tuple[int, ...] = (0,)) -> Applied:
        """Run `kubectl` and return what it said. An exit code that is not among `codes` fails the test with its errors."""
        run = subprocess.run(
            [kubectl(), "--kubeconfig", str(self.kubeconfig), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert run.returncode in codes, (
            f"kubectl {' '.join(map(str, arguments))}: exit code {run.returncode}\n{run.stderr}\n{run.stdout[-3000:]}"
        )
        return Applied(tuple(run.stdout.splitlines()), tuple(line for line in run.stderr.splitlines() if line.startswith("Warning:")))

    def objects(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """All objects of a kind, of one namespace or of all."""
        scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        answer = self.kubectl("get", kind, *scope, "--output", "json")
        items: list[dict[str, Any]] = json.loads("\n".join(answer.lines))["items"]
        return items

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the API as its administrator, in a fraction of the time that `kubectl` takes to start. A body is merged into what is there."""
        headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/merge-patch+json"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"https://{LOOPBACK}:{self.port}{path}", data, headers, method=method)
        context = ssl.create_default_context(cafile=str(self.certificates / "apiserver.crt"))
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.load(answer)

    def wait_for_definitions(self) -> None:
        """Until every custom resource is served."""
        wait_for(lambda: all(is_served(o) for o in self.objects("customresourcedefinitions")), 60, "every definition is served")

    def as_pod(self, account: str, namespace: str, folder: Path) -> tuple[list[str], dict[str, str]]:
        """What stands before a command, and its environment, so that it finds the API and its account's rights as in a pod.

        The files are where Kubernetes puts them (client-go/rest/config.go).
        """
        (token,) = self.kubectl("create", "token", account, "--namespace", namespace).lines
        (folder / "token").write_text(token)
        (folder / "namespace").write_text(namespace)
        (folder / "ca.crt").write_bytes((self.certificates / "apiserver.crt").read_bytes())
        mounts = ["--dev-bind", "/", "/", "--tmpfs", "/run", "--ro-bind", str(folder), "/run/secrets/kubernetes.io/serviceaccount"]
        environment = {"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": str(self.port)}
        return [installed("bwrap"), "--die-with-parent", *mounts], environment

    def apply(self, objects: list[dict[str, Any]], folder: Path) -> Applied:
        """Apply objects as a server-side apply does."""
        file = folder / "objects.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        return self.kubectl("apply", "--server-side", "--filename", file)


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Run one for the time of a `with` block; all that it keeps is below `folder`."""
    program = kubernetes_program()
    client, peer, secure, controllers = free_ports(4)
    certificates = folder / "certificates"
    certificates.mkdir()
    key = certificates / "service-account.key"
    key.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{_TOKEN},administrator,administrator,system:masters\n")
    etcd: list[str | Path] = [
        *(program, "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync"),
        *("--listen-client-urls", f"http://{LOOPBACK}:{client}", "--advertise-client-urls", f"http://{LOOPBACK}:{client}"),
        *("--listen-peer-urls", f"http://{LOOPBACK}:{peer}", "--initial-advertise-peer-urls", f"http://{LOOPBACK}:{peer}"),
        *("--initial-cluster", f"default=http://{LOOPBACK}:{peer}"),
    ]
    api_server: list[str | Path] = [
        *(program, "apiserver", f"--etcd-servers=http://{LOOPBACK}:{client}", f"--secure-port={secure}"),
        *(f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}", f"--cert-dir={certificates}"),
        *("--service-account-issuer=https://kubernetes.default.svc.cluster.local", f"--service-account-key-file={key}"),
        *(f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=198.19.0.0/16", "--authorization-mode=RBAC"),
        # Built from its module it has no version that others can read, and takes no other number.
        "--version=v0.0.0-master",
        *(f"--token-auth-file={tokens}", "--allow-privileged=true", "--endpoint-reconciler-type=none"),
    ]
    kubeconfig = folder / "kubeconfig"
    with running(etcd, name="etcd"), running(api_server, name="kube-apiserver") as server:
        server.ready(lambda: (certificates / "apiserver.crt").exists() and _ready(secure, certificates / "apiserver.crt"), 90)
        kubeconfig.write_text(json.dumps(_kubeconfig(secure, certificates / "apiserver.crt")))
        manager: list[str | Path] = [
            *(program, "controllers", f"--kubeconfig={kubeconfig}", f"--service-account-private-key-file={key}"),
            *(f"--root-ca-file={certificates / 'apiserver.crt'}", "--leader-elect=false", f"--secure-port={controllers}"),
            *(f"--bind-address={LOOPBACK}", f"--cert-dir={folder / 'controllers'}"),
        ]
        with running(manager, name="kube-controller-manager"):
            yield ControlPlane(kubeconfig, secure, certificates, server)


def _ready(port: int, certificate: Path) -> bool:
    context = ssl.create_default_context(cafile=str(certificate))
    request = urllib.request.Request(f"https://{LOOPBACK}:{port}/readyz", headers={"Authorization": f"Bearer {_TOKEN}"})
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:
        return bool(answer.status == 200)


def _kubeconfig(port: int, certificate: Path) -> dict[str, Any]:
    cluster = {"server": f"https://{LOOPBACK}:{port}", "certificate-authority": str(certificate)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "administrator", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "administrator"}}],
        "current-context": "test",
    }
