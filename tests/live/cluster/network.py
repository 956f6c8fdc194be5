"""The node's network: a pod is a network namespace behind one pair of interfaces, and the node routes, translates and filters between them.

Pods have addresses of one host each (/32) and send everything to the node, as with Calico: nothing passes between two pods unseen. Addresses are
of 198.18.0.0/15, which RFC 2544 keeps for benchmarks, so that they are no real host's; there is no way out of the node in any case.
"""

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.live.cluster.policies import Accept, Filter
from tests.live.cluster.services import Forward
from tests.namespaces import inside

SERVICE_NETWORK = IPv4Network("198.19.0.0/16")
DNS_ADDRESS = "198.19.0.10"
API_ADDRESS = "198.19.0.1"
GATEWAY = "169.254.1.1"
NAMESPACES = Path("/run/netns")


def prepare(node_address: str) -> None:
    """Make this process's namespace the node: with an address of its own, routing, and the tables of the packet filter."""
    _run(
        ["ip", "-batch", "-"], f"link set lo up\naddr add {node_address}/32 dev lo\nroute add {SERVICE_NETWORK} dev lo src {node_address}\n"
    )
    for name in ("all", "default"):
        _sysctl(f"ipv4/conf/{name}/rp_filter", 0)
    _sysctl("ipv4/ip_forward", 1)
    # Else a client that tries again soon would be left without an answer.
    _sysctl("ipv4/icmp_ratelimit", 0)
    _run(["nft", "-f", "-"], TABLES)


def _sysctl(name: str, value: int) -> None:
    (Path("/proc/sys/net") / name).write_text(f"{value}\n")


async def add(namespace: str, interface: str, address: str, node_address: str) -> None:
    """Make a namespace, which has this address and reaches everything through the node."""
    await run(["ip", "-batch", "-"], add_commands(namespace, interface, address, node_address))
    await run(["ip", "-n", namespace, "-batch", "-"], inner_commands(address))
    # As container runtimes have it (containerd, enable_unprivileged_ports): any user may listen on any port.
    inside(NAMESPACES / namespace, lambda: _sysctl("ipv4/ip_unprivileged_port_start", 0))


def add_commands(namespace: str, interface: str, address: str, node_address: str) -> str:
    """The node's side."""
    return f"""\
netns add {namespace}
link add {interface} type veth peer name eth0 netns {namespace}
addr add {GATEWAY}/32 dev {interface}
link set {interface} up
route add {address}/32 dev {interface} src {node_address}
"""


def inner_commands(address: str) -> str:
    """The pod's side."""
    return f"""\
link set lo up
addr add {address}/32 dev eth0
link set eth0 up
route add {GATEWAY} dev eth0
route add default via {GATEWAY} dev eth0
"""


async def remove(namespace: str, interface: str) -> None:
    """Take it away again, with what is left of its connections."""
    await run(["ip", "-force", "-batch", "-"], f"link del {interface}\nnetns del {namespace}\n", check=False)


TABLES = """\
table ip pods {
    set denied {
        type ipv4_addr . ipv4_addr . inet_proto . inet_service
        size 65535
        flags dynamic
    }
    chain refuse { }
    chain incoming { }
    chain outgoing { }
    chain services { }
    chain from-pods {
        type nat hook prerouting priority -100
    }
    chain from-node {
        type nat hook output priority -100
    }
    chain leaving { type nat hook postrouting priority srcnat; }
    chain no-endpoints { type filter hook prerouting priority -50; }
    chain no-endpoints-node { type filter hook output priority -50; }
    chain forwarding { type filter hook forward priority filter; policy drop; }
}
"""


def rules(services: Sequence[Forward], pods: Mapping[str, Filter], addresses: Sequence[str], silent: Sequence[str] = ()) -> str:
    """Everything that the packet filter decides, to replace what it decided before.

    `services`: where connections to Services go; `pods`: what policies let pass, by address; `addresses`: those of all pods, each of which
    always reaches itself; `silent`: those whose machine has no power, so that nothing comes or goes, and nobody is told. A connection is
    judged once, when it is opened, and by the address of the pod that a Service has sent it to.
    """
    lines = ["flush table ip pods", *(f"add rule ip pods {chain} jump services" for chain in ("from-pods", "from-node"))]
    lines += _translation(services, addresses)
    if silent:
        dead = f"{{ {', '.join(silent)} }}"
        lines += [f"add rule ip pods {chain} ip daddr {dead} drop" for chain in ("forwarding", "no-endpoints-node")]
        lines += [f"add rule ip pods {chain} ip saddr {dead} drop" for chain in ("forwarding", "no-endpoints")]
    lines += [
        "add rule ip pods forwarding ct state established,related accept",
        *(f"add rule ip pods forwarding ip saddr {address} ip daddr {address} accept" for address in addresses),
        "add rule ip pods forwarding jump outgoing",
        "add rule ip pods forwarding jump incoming",
        "add rule ip pods forwarding accept",
        "add rule ip pods refuse add @denied { ip saddr . ip daddr . meta l4proto . th dport counter }",
        "add rule ip pods refuse drop",
    ]
    lines += _direction("outgoing", "saddr", "daddr", {address: pod.outgoing for address, pod in pods.items()})
    lines += _direction("incoming", "daddr", "saddr", {address: pod.incoming for address, pod in pods.items()})
    return "\n".join(lines) + "\n"


def _translation(services: Sequence[Forward], addresses: Sequence[str]) -> Iterator[str]:
    # A pod that reaches itself through a Service would answer itself directly, past the translation: it is made to see the node instead.
    yield from (f"add rule ip pods leaving ip saddr {address} ip daddr {address} masquerade" for address in addresses)
    entries = []
    for forward in services:
        if forward.targets:
            chain = f"to-{forward.address}-{forward.port}-{forward.protocol.lower()}"
            turns = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(forward.targets))
            yield f"add chain ip pods {chain}"
            protocol = forward.protocol.lower()
            yield f"add rule ip pods {chain} ip protocol {protocol} dnat ip addr . port to numgen random mod {len(forward.targets)} map {{ {turns} }}"
            entries.append(f"{forward.address} . {protocol} . {forward.port} : goto {chain}")
    if entries:
        yield f"add rule ip pods services ip daddr . meta l4proto . th dport vmap {{ {', '.join(entries)} }}"
    # As kube-proxy does; for the node itself with a reset, since an ICMP error to itself does not reach the program.
    yield f"add rule ip pods no-endpoints ip daddr {SERVICE_NETWORK} reject with icmp port-unreachable"
    yield f"add rule ip pods no-endpoints-node ip daddr {SERVICE_NETWORK} meta l4proto tcp reject with tcp reset"


def _direction(chain: str, own: str, other: str, pods: Mapping[str, tuple[Accept, ...] | None]) -> Iterator[str]:
    isolated = {address: accepts for address, accepts in pods.items() if accepts is not None}
    for address, accepts in isolated.items():
        yield f"add chain ip pods {chain}-{address}"
        yield f"flush chain ip pods {chain}-{address}"
        for accept in accepts:
            for match in _matches(accept, other, sorted(pods)):
                yield f"add rule ip pods {chain}-{address} {match}return".replace("  ", " ")
        yield f"add rule ip pods {chain}-{address} goto refuse"
    if isolated:
        jumps = ", ".join(f"{address} : jump {chain}-{address}" for address in isolated)
        yield f"add rule ip pods {chain} ip {own} vmap {{ {jumps} }}"


def _matches(accept: Accept, other: str, pods: Sequence[str]) -> Iterator[str]:
    """The matches of one rule, each before its verdict: for the pods that it means, and for each block of other addresses."""
    sources = [""] if accept.addresses is None else [f"ip {other} {{ {', '.join(accept.addresses)} }} "] if accept.addresses else []
    for block in accept.blocks:
        if block.cidr.version == 4:
            holes = [str(hole) for hole in block.excluded if hole.version == 4]
            without = f"ip {other} != {{ {', '.join(holes)} }} " if holes else ""
            sources.append(f"ip {other} {block.cidr} {without}ip {other} != {{ {', '.join(pods)} }} ")
    for source in sources:
        if not accept.ports:
            yield source
        for protocol in dict.fromkeys(protocol for protocol, _, _ in accept.ports):
            numbers = {f"{first}" if first == last else f"{first}-{last}" for known, first, last in accept.ports if known == protocol}
            yield f"{source}{protocol.lower()} dport {{ {', '.join(sorted(numbers))} }} "


@frozen
class Refused:
    """Packets that the policies refused."""

    source: str
    target: str
    protocol: str
    port: int
    packets: int


async def refused() -> list[Refused]:
    """What was refused so far."""
    printed = json.loads(await run(["nft", "-j", "list", "set", "ip", "pods", "denied"], ""))
    found: list[Refused] = []
    for entry in printed["nftables"]:
        for wrapped in (entry.get("set") or {}).get("elem") or ():
            element: Mapping[str, Any] = wrapped["elem"]
            source, target, protocol, port = element["val"]["concat"]
            found.append(Refused(source, target, str(protocol), int(port), element.get("counter", {}).get("packets", 0)))
    return found


async def forget_refused() -> None:
    """Count anew."""
    await run(["nft", "flush", "set", "ip", "pods", "denied"], "")


async def arrivals(namespace: str, targets: Sequence[tuple[str, int]], seconds: float) -> list[bool]:
    """For each address and port, whether a TCP connection from a namespace gets an answer, be it a refusal, in this time."""
    sockets = inside(NAMESPACES / namespace, lambda: [socket.socket() for _ in targets])

    async def attempt(one: socket.socket, target: tuple[str, int]) -> bool:
        one.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(one, target), seconds)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            pass
        finally:
            one.close()
        return True

    return await asyncio.gather(*map(attempt, sockets, targets))


async def run(command: Sequence[str], text: str, check: bool = True) -> str:
    """Run a program of the machine with this input. Raises RuntimeError with its output if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate(text.encode())
    if process.returncode and check:
        raise RuntimeError(f"{' '.join(command)}: {output.decode(errors='replace')[:2000]}\n{text[:4000]}")
    return output.decode(errors="replace")


def _run(command: Sequence[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}\n{text}")
