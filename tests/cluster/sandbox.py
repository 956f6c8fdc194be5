"""The place that the nodes live in: namespaces of their own, which the kernel ends all at once, with everything in them.

One private mount, process and network namespace holds all; its network is a switch. Each node is a further network namespace behind it. Nothing
of this machine's network is touched. What is left outside are control groups, which `remove_groups` takes away.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from tests.namespaces import inside, network_of

NODES = (1, 2, 3)
PODS, SERVICES = "10.42.0.0/16", "10.43.0.0/16"
QUEUE = 100
"""The packet filter's queue that the engine of policies listens to."""
GROUP = "matrix-platform-nodes"
"""The control group of all nodes, below each controller's root."""
LOCK = Path("/run/lock/matrix-platform-nodes")
"""Held by the process of a running cluster: there is one per machine, because of its control groups."""
_PREFIX = "matrix-cluster-"
_CGROUPS = Path("/sys/fs/cgroup")
_KEPT = {"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""What kubelet would set on the machine itself: it is shown these values instead, and leaves the machine's own alone."""


def name(node: int) -> str:
    """The name of a node in the cluster."""
    return f"node-{node}"


def address(node: int) -> str:
    """The address of a node; of the switch, for 0."""
    return f"10.0.0.{node + 10}" if node else "10.0.0.1"


def pods_of(node: int) -> str:
    """The range of addresses of a node's pods."""
    return f"10.42.{node}.0/24"


@frozen(eq=False)
class Sandbox:
    """The namespaces. `processes`: of the first process of all, and of each node's network, as numbers on this machine."""

    folder: Path
    programs: Path
    """Debian's containerd, runc, network plugins and iptables."""
    processes: dict[int, int] = field(factory=dict)

    def command(self, node: int, words: Sequence[str | Path]) -> list[str]:
        """What this machine runs so that a program runs on a node (0: on the switch), and ends when the started process ends."""
        enter = ["nsenter", "--target", str(self.processes[0]), "--mount", "--pid", f"--net=/proc/{self.processes[node]}/ns/net"]
        return [*enter, "--", "setpriv", "--pdeathsig", "KILL", *map(str, words)]

    def run(self, node: int, words: Sequence[str | Path], given: str = "", seconds: float = 60, check: bool = True) -> str:
        """Run a program on a node to its end, and return what it printed. Raises RuntimeError with its errors if it fails."""
        run = subprocess.run(
            self.command(node, words), input=given, capture_output=True, text=True, check=False, timeout=seconds, env=self.environment
        )
        if check and run.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))[:300]} on {name(node)}: code {run.returncode}\n{run.stderr}{run.stdout}"[:6000])
        return run.stdout

    @property
    def environment(self) -> Mapping[str, str]:
        """That of the nodes' programs."""
        usr = self.programs / "usr"
        path = [str(self.folder / "bin"), f"{usr}/bin", f"{usr}/sbin", os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
        (xtables,) = usr.glob("lib/*/xtables")
        return {"PATH": ":".join(path), "HOME": "/root", "LANG": "C.UTF-8", "XTABLES_LIBDIR": str(xtables)}

    def connect(self, node: int, port: int, host: str = "127.0.0.1", seconds: float = 10) -> socket.socket:
        """A connection that a program on a node would have made; this process may use it."""

        def work() -> socket.socket:
            return socket.create_connection((host, port), timeout=seconds)

        return inside(network_of(self.processes[node]), work)

    def set_link(self, node: int, up: bool) -> None:
        """Plug a node's cable into the switch, or pull it out: the node itself goes on."""
        self.run(0, ["ip", "link", "set", f"switch{node}", "up" if up else "down"])


@contextlib.contextmanager
def sandbox(programs: Path, parent: Path) -> Iterator[Sandbox]:
    """Make the place for the time of a `with` block, with a folder below `parent` for all that its programs keep.

    However this process ends, the kernel ends everything in the place.
    """
    with contextlib.ExitStack() as open_processes:
        open_processes.enter_context(_only_one())
        # What a cluster has left that was ended by force.
        remove_groups()
        for left in parent.glob(f"{_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        folder.chmod(0o755)
        made = Sandbox(folder, programs)
        own = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
        # Whose parent has ended is a child of the first process, which must not keep it as a zombie.
        holder = ["sh", "-euc", "trap '' CHLD; mount --make-rshared /; exec sleep infinity"]
        open_processes.callback(shutil.rmtree, folder, ignore_errors=True)
        open_processes.callback(remove_groups)
        made.processes[0] = _hold(open_processes, [*own, "--propagation", "private", "--", *holder])
        _prepare(made)
        for node in NODES:
            enter = ["nsenter", "--target", str(made.processes[0]), "--mount", "--pid", "--", "setpriv", "--pdeathsig", "KILL"]
            made.processes[node] = _hold(open_processes, [*enter, "unshare", "--net", "--", "sleep", "infinity"])
            _add_node(made, node)
        yield made


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the machine's one place for a cluster. Raises RuntimeError if another has it."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"a cluster is running on this machine already: end it first (process {running() or 'unknown'})") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def running() -> int:
    """The process that holds a running cluster, or 0."""
    try:
        with LOCK.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except OSError:
        pass
    return 0


def _hold(open_processes: contextlib.ExitStack, command: Sequence[str], seconds: float = 10) -> int:
    """Start what keeps namespaces, to be ended with `open_processes`, and return the number of the process that is in them."""
    process = subprocess.Popen(command, start_new_session=True)

    def end() -> None:
        process.kill()
        process.wait(30)

    open_processes.callback(end)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "sleep":
                return int(child)
        time.sleep(0.05)
    raise RuntimeError("the namespaces of the cluster could not be made")


def _prepare(made: Sandbox) -> None:
    """What programs look for in /run and /proc, the switch, and the control groups."""
    programs = made.folder / "bin"
    programs.mkdir()
    for family in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            (programs / f"{family}{suffix}").symlink_to(made.programs / "usr" / "sbin" / "xtables-nft-multi")
    shown = "".join(
        f"mkdir -p /run/proc/{Path(path).parent}; echo {value} > /run/proc/{path}; mount --bind /run/proc/{path} /proc/sys/{path}\n"
        for path, value in _KEPT.items()
    )
    made.run(0, ["sh", "-euc", f"mount -t tmpfs -o mode=0755 tmpfs /run; mkdir -p /run/netns /run/lock\n{shown}"])
    made.run(
        0, ["ip", "-batch", "-"], f"link set lo up\nlink add switch type bridge\nlink set switch up\naddr add {address(0)}/24 dev switch\n"
    )
    for group in _groups():
        for part in (group, *(group / f"n{node}" for node in NODES)):
            part.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems") if group.parent.name == "cpuset" else ():
                (part / file).write_text((part.parent / file).read_text())


def _add_node(made: Sandbox, node: int) -> None:
    """A cable to the switch, routes to the pods of the other nodes, and the queue in which the engine of policies judges packets.

    Without `--queue-bypass`: with it, an engine that has ended would leave everything open, silently.
    """
    # In this machine's own namespace of processes, by whose numbers the kernel looks for the network's owner.
    subprocess.run(
        ["nsenter", f"--net=/proc/{made.processes[0]}/ns/net", "ip", "-batch", "-"],
        input=f"link add switch{node} type veth peer name eth0 netns {made.processes[node]}\n"
        f"link set switch{node} master switch\nlink set switch{node} up\n",
        text=True,
        check=True,
        timeout=20,
        env=made.environment,
    )
    routes = "".join(f"route add {pods_of(other)} via {address(other)}\n" for other in NODES if other != node)
    made.run(
        node,
        ["ip", "-batch", "-"],
        f"link set lo up\naddr add {address(node)}/24 dev eth0\nlink set eth0 up\nroute add default via {address(0)}\n{routes}",
    )
    settings = "echo 1 > ip_forward; for name in all default; do echo 0 > conf/$name/rp_filter; done"
    made.run(node, ["sh", "-euc", f"cd /proc/sys/net/ipv4; {settings}"])
    made.run(
        node,
        ["iptables-restore", "--noflush"],
        "*nat\n"
        # Pods leave the cluster's networks with the address of their node.
        f"-A POSTROUTING -s {pods_of(node)} ! -d {PODS} -j MASQUERADE\nCOMMIT\n"
        "*mangle\n:POLICIES - [0:0]\n"
        "-A POLICIES -o lo -j ACCEPT\n"
        # kubelet's probes, and the API server's calls, come from the node itself.
        "-A POLICIES -m owner --uid-owner 0 -j ACCEPT\n"
        "-A POLICIES -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        f"-A POLICIES -j NFQUEUE --queue-num {QUEUE}\n"
        "-A POSTROUTING -j POLICIES\nCOMMIT\n",
    )


def _groups() -> list[Path]:
    """The control group of the nodes, for each hierarchy of this machine."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / GROUP]
    names = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "perf_event", "net_cls", "systemd")
    found = {(_CGROUPS / controller).resolve() for controller in names if (_CGROUPS / controller).is_dir()}
    return [controller / GROUP for controller in sorted(found)]


def remove_groups(seconds: float = 20) -> None:
    """Take the control groups away; their processes have ended, or are ending."""
    deadline = time.monotonic() + seconds
    # Programs have made some of these themselves, in hierarchies that need no preparation.
    for group in {*_groups(), *_CGROUPS.glob(f"*/{GROUP}")}:
        while group.exists() and time.monotonic() < deadline:
            for part in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    part.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
            if group.exists():
                time.sleep(0.2)
