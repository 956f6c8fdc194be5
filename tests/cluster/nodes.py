"""Kubernetes itself: the control plane on the first node, and what runs on every node."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from tests.cluster.certificates import Authority
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.sandbox import GROUP, NODES, PODS, QUEUE, SERVICES, Sandbox, address, name, pods_of

DNS_ADDRESS = "10.43.0.10"
PAUSE = "registry.k8s.io/pause:3.10"
"""The image of containerd's own, which holds the namespaces of a pod."""
_API = f"https://{address(1)}:6443"
_READY_SECONDS = 120.0


class EndedError(Exception):
    """A program of the cluster has ended by itself; the message has its last words."""


@define(eq=False)
class Cluster:
    """Running nodes. `api`: the cluster for its administrator, from this machine."""

    place: Sandbox
    kubernetes_program: Path
    policies_program: Path
    authority: Authority
    api: Kubernetes
    programs: dict[str, subprocess.Popen[bytes]] = field(factory=dict)
    """What was started, by name."""

    @property
    def logs(self) -> Path:
        """The folder with what the programs print, by name, and with the output of all containers."""
        return self.place.folder / "logs"

    def start(self, program: str, node: int, words: Sequence[str | Path]) -> None:
        """Start a program on a node, which ends with this process."""
        with (self.logs / f"{program}.log").open("ab") as log:
            command = self.place.command(node, words)
            self.programs[program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.place.environment, start_new_session=True
            )

    def end(self, program: str, seconds: float = 20) -> None:
        """End a program in peace, on purpose."""
        process = self.programs.pop(program)
        # The started process only waits for the program, which is its child in the sandbox.
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        process.wait(seconds)

    def check(self) -> None:
        """Raise EndedError with the last words of a program that has ended."""
        for program, process in self.programs.items():
            if process.poll() is not None:
                raise EndedError(f"{program} has ended:\n{(self.logs / f'{program}.log').read_text(errors='replace')[-3000:]}")

    def start_containerd(self, node: int) -> None:
        """Start the runtime of a node, and wait until it answers."""
        folder = self.place.folder / f"n{node}"
        (folder / "cni").mkdir(parents=True, exist_ok=True)
        (folder / "cni" / "10-pods.conflist").write_text(json.dumps(_network(node, folder)))
        (folder / "containerd.toml").write_text(_containerd(node, folder, self.place.programs / "usr"))
        self.start(f"containerd-{node}", node, [self.place.programs / "usr" / "bin" / "containerd", "--config", folder / "containerd.toml"])
        wait_until(lambda: "Server" in self._ctr(node, "version"), _READY_SECONDS, f"containerd of {name(node)} answers", pause=0.1)

    def store(self, node: int) -> Path:
        """The folder in which the runtime of a node keeps its images."""
        return self.place.folder / f"n{node}" / "containerd"

    def start_node(self, node: int) -> None:
        """Start containerd, kubelet, kube-proxy and the engine of policies."""
        folder, files = self.place.folder / f"n{node}", self.authority.folder
        self.start_containerd(node)
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(node, folder, files)))
        (folder / "proxy.yaml").write_text(yaml.safe_dump(_proxy(node, files)))
        kubelet: list[str | Path] = [
            *(self.kubernetes_program, "kubelet", "--config", folder / "kubelet.yaml", "--kubeconfig", files / f"{name(node)}.kubeconfig"),
            *("--root-dir", folder / "kubelet", "--cert-dir", folder / "pki"),
            *("--hostname-override", name(node), "--node-ip", address(node)),
        ]
        self.start(f"kubelet-{node}", node, kubelet)
        self.start(f"proxy-{node}", node, [self.kubernetes_program, "proxy", "--config", folder / "proxy.yaml"])
        policies: list[str | Path] = [
            self.policies_program,
            "-kubeconfig",
            files / "admin.kubeconfig",
            "-node",
            name(node),
            "-queue",
            str(QUEUE),
        ]
        self.start(f"policies-{node}", node, policies)

    def images(self, node: int, *words: str | Path, seconds: float = 300) -> str:
        """Run containerd's `ctr images` on a node."""
        return self._ctr(node, "images", *words, seconds=seconds, check=True)

    def _ctr(self, node: int, *words: str | Path, seconds: float = 30, check: bool = False) -> str:
        ctr: list[str | Path] = [
            self.place.programs / "usr" / "bin" / "ctr",
            "--address",
            f"/run/n{node}/containerd.sock",
            "--namespace",
            "k8s.io",
        ]
        return self.place.run(node, [*ctr, *words], seconds=seconds, check=check)


@contextlib.contextmanager
def nodes(
    place: Sandbox, kubernetes_program: Path, policies_program: Path, give_images: Callable[[Cluster], None] = lambda _: None
) -> Iterator[Cluster]:
    """Start the control plane and all nodes, and wait until every kubelet has made itself known.

    `give_images` is called before the nodes start, to fill their stores.
    """
    (place.folder / "logs").mkdir()
    authority = Authority.make(place.folder / "certificates")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.sign("apiserver", "kube-apiserver", names=[*names, "10.43.0.1", address(1), "127.0.0.1"])
    authority.sign("admin", "administrator", ["system:masters"])
    authority.kubeconfig("admin", _API, authority.folder / "admin.kubeconfig")
    for node in NODES:
        authority.sign(name(node), f"system:node:{name(node)}", ["system:nodes"], [name(node), address(node)])
        authority.kubeconfig(name(node), _API, authority.folder / f"{name(node)}.kubeconfig")
    # Pods that ask the node's own name server find the cluster's.
    (place.folder / "resolv.conf").write_text(f"nameserver {DNS_ADDRESS}\n")
    with _forwarded(place) as port:
        authority.kubeconfig("admin", f"https://127.0.0.1:{port}", place.folder / "kubeconfig")
        cluster = Cluster(place, kubernetes_program, policies_program, authority, Kubernetes(place.folder / "kubeconfig"))
        _start_control_plane(cluster)
        give_images(cluster)
        for node in NODES:
            cluster.start_node(node)
        wait_until(lambda: len(_checked(cluster)) == len(NODES), _READY_SECONDS, "all nodes are known")
        try:
            yield cluster
        finally:
            for process in cluster.programs.values():
                process.kill()


def _answers(cluster: Cluster) -> bool:
    cluster.check()
    return cluster.api.kubectl("get", "--raw", "/readyz").output == "ok"


def _checked(cluster: Cluster) -> list[dict[str, Any]]:
    cluster.check()
    return cluster.api.objects("nodes")


def _start_control_plane(cluster: Cluster) -> None:
    program, files, folder = cluster.kubernetes_program, cluster.authority.folder, cluster.place.folder
    cluster.start(
        "etcd",
        1,
        [
            *(program, "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn"),
            *("--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379"),
            *("--listen-peer-urls", "http://127.0.0.1:2380"),
        ],
    )
    cluster.start(
        "apiserver",
        1,
        [
            *(program, "apiserver", "--etcd-servers", "http://127.0.0.1:2379", "--secure-port", "6443", "--advertise-address", address(1)),
            *("--service-cluster-ip-range", SERVICES, "--tls-cert-file", files / "apiserver.crt"),
            *("--tls-private-key-file", files / "apiserver.key", "--client-ca-file", files / "ca.crt"),
            *("--service-account-issuer", "https://kubernetes.default.svc.cluster.local", "--allow-privileged=true"),
            *("--service-account-key-file", files / "service-accounts.pub"),
            *("--service-account-signing-key-file", files / "service-accounts.key"),
            *("--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction"),
            *("--kubelet-client-certificate", files / "admin.crt", "--kubelet-client-key", files / "admin.key"),
            *("--kubelet-certificate-authority", files / "ca.crt", "--kubelet-preferred-address-types", "InternalIP"),
            # For the aggregation of metrics.
            *("--requestheader-client-ca-file", files / "ca.crt", "--requestheader-allowed-names", "administrator"),
            *("--requestheader-username-headers", "X-Remote-User"),
            *("--requestheader-group-headers", "X-Remote-Group", "--requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            *("--proxy-client-cert-file", files / "admin.crt", "--proxy-client-key-file", files / "admin.key"),
        ],
    )
    wait_until(lambda: _answers(cluster), _READY_SECONDS, "the API server is ready")
    cluster.start(
        "controllers",
        1,
        [
            *(program, "controllers", "--kubeconfig", files / "admin.kubeconfig", "--leader-elect=false"),
            *("--use-service-account-credentials", "--service-account-private-key-file", files / "service-accounts.key"),
            *("--root-ca-file", files / "ca.crt", "--cluster-signing-cert-file", files / "ca.crt"),
            *("--cluster-signing-key-file", files / "ca.key", "--allocate-node-cidrs=false", "--service-cluster-ip-range", SERVICES),
        ],
    )
    cluster.start("scheduler", 1, [program, "scheduler", "--kubeconfig", files / "admin.kubeconfig", "--leader-elect=false"])


@contextlib.contextmanager
def _forwarded(place: Sandbox) -> Iterator[int]:
    """A port of 127.0.0.1 of this machine behind which is the API server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    outside, _ = listener.accept()
                    threading.Thread(target=connect, args=(outside,), daemon=True).start()

        def connect(outside: socket.socket) -> None:
            with contextlib.closing(outside), contextlib.suppress(OSError), contextlib.closing(place.connect(1, 6443)) as inside:
                inside.settimeout(None)
                back = threading.Thread(target=_copy, args=(inside, outside), daemon=True)
                back.start()
                _copy(outside, inside)
                back.join()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _copy(source: socket.socket, target: socket.socket) -> None:
    """All that comes, until its end, which is passed on too."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


# --- the files of a node ---


def _network(node: int, folder: Path) -> dict[str, Any]:
    """A pair of interfaces for each pod. With a bridge, packets between pods of a node would pass no rule of the packet filter."""
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": pods_of(node)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [{"type": "ptp", "mtu": 1450, "ipam": addresses}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}


def _containerd(node: int, folder: Path, usr: Path) -> str:
    """A runtime that changes no priority of the machine's out-of-memory killer, for which it may lack the right."""
    return f"""\
version = 2
root = "{folder}/containerd"
state = "/run/n{node}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", \
"io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "/run/n{node}/containerd.sock"
[ttrpc]
  address = "/run/n{node}/containerd.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{usr}/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{usr}/lib/cni"
    conf_dir = "{folder}/cni"
"""


def _kubelet(node: int, folder: Path, files: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(files / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(files / f"{name(node)}.crt"),
        "tlsPrivateKeyFile": str(files / f"{name(node)}.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{GROUP}/n{node}",
        "failCgroupV1": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix:///run/n{node}/containerd.sock",
        "imageServiceEndpoint": f"unix:///run/n{node}/containerd.sock",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": str(folder.parent / "resolv.conf"),
        "podLogsDir": str(folder.parent / "logs" / name(node)),
        "volumePluginDir": str(folder / "plugins"),
        # Images cannot be pulled again, and a full disk is the machine's own affair.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _proxy(node: int, files: Path) -> dict[str, Any]:
    """kube-proxy, which leaves the machine's limits of connections alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(files / "admin.kubeconfig")},
        "clusterCIDR": PODS,
        "hostnameOverride": name(node),
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
