"""What a cluster does around its pods: addresses, controllers, Services, DNS, policies, and an API server for Secrets."""

import asyncio
import base64
import contextlib
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import Any

from attrs import define, field, frozen

from app.inspection.reach.policies import Policy, read_policy
from tests.live.cluster import network
from tests.live.cluster.dns import Server
from tests.live.cluster.files import STATE
from tests.live.cluster.gate import STARTING_AT_ONCE, Gate
from tests.live.cluster.kubelet import Host, Pod
from tests.live.cluster.pods import Objects
from tests.live.cluster.policies import Peer, filters
from tests.live.cluster.services import Backend, Forward, forwards, headless, names
from tests.live.cluster.substitutes import adapted, not_run, substitutes
from tests.live.cluster.workloads import PodState, Workload, plan, read_workloads
from tests.live.kubernetes_stub import TOKEN, make_certificates, serving
from tests.live.kubernetes_stub import Cluster as ApiServer
from tests.namespaces import inside

Manifest = Mapping[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace and name of a workload."""

_CONTROL_PLANE = "control-plane"


@frozen
class Rights:
    """What a Role lets its subjects do with Secrets, with the fields that the stand-in for the API server reads."""

    namespace: str
    verbs: tuple[str, ...]
    names: tuple[str, ...]


@frozen
class Stopped(PodState):
    """A pod that is kept from coming back."""

    workload: str = ""
    kind: str = ""


@define(eq=False)
class Node:
    """The state of everything."""

    pod_network: IPv4Network
    node_network: IPv4Network
    domain: str
    objects: list[Manifest] = field(factory=list)
    workloads: dict[Key, Workload] = field(factory=dict)
    services: list[Manifest] = field(factory=list)
    policies: list[Policy] = field(factory=list)
    scaled: dict[tuple[str, str], int] = field(factory=dict)
    pods: dict[tuple[str, str], Pod] = field(factory=dict)
    stopped: dict[tuple[str, str], "Stopped"] = field(factory=dict)
    taken: dict[Key, int] = field(factory=dict)
    config_maps: dict[tuple[str, str], Manifest] = field(factory=dict)
    service_addresses: dict[tuple[str, str], str] = field(factory=dict)
    owners: dict[str, str] = field(factory=dict)
    """Whom each address belongs or belonged to; none is given twice."""
    guests: dict[str, Backend] = field(factory=dict)
    """Programs of tests that are pods to policies, by key."""
    guest_names: dict[str, list[str]] = field(factory=dict)
    """Further names that DNS knows, and their addresses: of programs of tests."""
    happened: list[dict[str, Any]] = field(factory=list)
    dns: Server = field(factory=Server)
    dns_pod: Backend | None = None
    api_server: ApiServer = field(factory=lambda: ApiServer(set()))
    gate: Gate = field(factory=lambda: Gate(STARTING_AT_ONCE))
    mains: dict[str, "asyncio.Task[None]"] = field(factory=dict)
    endings: set["asyncio.Task[None]"] = field(factory=set)
    priorities: dict[str, int] = field(factory=dict)
    node_address: str = ""
    account: dict[str, bytes] = field(factory=dict)
    api: Forward | None = None
    _addresses: Iterator[str] = field(init=False)
    _node_addresses: Iterator[str] = field(init=False)
    _service_addresses: Iterator[str] = field(init=False)
    _interfaces: Iterator[int] = field(init=False)
    _wake: asyncio.Event = field(factory=asyncio.Event)
    _asked: int = 0
    _done: int = 0
    _rules_wanted: asyncio.Event = field(factory=asyncio.Event)
    _rules_made: asyncio.Condition = field(factory=asyncio.Condition)
    _open: ExitStack = field(factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        self._addresses = map(str, self.pod_network.hosts())
        self._node_addresses = map(str, self.node_network.hosts())
        # The first addresses are those of the API server and of DNS.
        self._service_addresses = (str(address) for index, address in enumerate(network.SERVICE_NETWORK.hosts()) if index >= 100)
        self._interfaces = iter(range(1, 100_000))

    def next_address(self) -> str:
        """An address in the pods' network that nobody has had."""
        return next(self._addresses)

    def next_interface(self) -> str:
        """A name for an interface, and for the network namespace behind it."""
        return f"v{next(self._interfaces)}"

    # --- beginning ---

    async def begin(self) -> None:
        """Make the network, DNS and the API server."""
        STATE.mkdir(parents=True)
        self.node_address = next(self._node_addresses)
        network.prepare(self.node_address)
        address = await self._add_network("coredns", self.next_address())
        self.dns_pod = Backend(
            "kube-system", "coredns-0", {"k8s-app": "kube-dns"}, address, True, (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"))
        )
        await self._serve_dns("coredns", address)
        api = await self._add_network(_CONTROL_PLANE, next(self._node_addresses))
        certificates = STATE / "api-server"
        certificates.mkdir()
        make_certificates(certificates, network.API_ADDRESS)
        self.account = {"token": TOKEN.encode(), "ca.crt": (certificates / "ca.crt").read_bytes()}
        inside(
            network.NAMESPACES / _CONTROL_PLANE,
            lambda: self._open.enter_context(serving(self.api_server, certificates / "server.pem", 6443, api)),
        )
        self.api = Forward(network.API_ADDRESS, 443, "TCP", ((api, 6443),))
        self._keep(self._make_rules())
        self._keep(self._reconcile())

    def _keep(self, work: Any) -> None:
        def ended(task: "asyncio.Task[Any]") -> None:
            if not task.cancelled() and task.exception():
                print(f"{work}: {task.exception()!r}", file=sys.stderr, flush=True)

        asyncio.ensure_future(work).add_done_callback(ended)

    async def _add_network(self, name: str, address: str) -> str:
        await network.add(name, self.next_interface(), address, self.node_address)
        return address

    async def _serve_dns(self, namespace: str, address: str) -> None:
        def sockets() -> tuple[socket.socket, socket.socket]:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for one in (udp, tcp):
                one.bind((address, 53))
            return udp, tcp

        udp, tcp = inside(network.NAMESPACES / namespace, sockets)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.dns, sock=udp)
        await asyncio.start_server(self.dns.stream, sock=tcp)

    # --- the state that is wanted ---

    def apply(self, objects: list[Manifest]) -> None:
        """Take in what is wanted; the controllers do the rest."""
        added = substitutes(objects, self.secret)
        every = [*adapted(objects), *added]
        for o in every:
            namespace, name = o["metadata"].get("namespace", "default"), o["metadata"]["name"]
            if o["kind"] == "Secret":
                data = {key: base64.b64decode(value) for key, value in (o.get("data") or {}).items()}
                self.api_server.put(namespace, name, data | {key: value.encode() for key, value in (o.get("stringData") or {}).items()})
        self.objects = every
        self.config_maps.clear()
        self.config_maps |= {
            (o["metadata"].get("namespace", "default"), o["metadata"]["name"]): o for o in every if o["kind"] == "ConfigMap"
        }
        self.priorities = {o["metadata"]["name"]: o["value"] for o in every if o["kind"] == "PriorityClass"}
        self.services = [o for o in every if o["kind"] == "Service"]
        self.policies = [read_policy(o) for o in every if o["kind"] == "NetworkPolicy"]
        self.scaled.clear()
        self.workloads = {key: w for key, w in read_workloads(every, self.scaled).items() if self._runs(w)}
        self.api_server.namespaces = {o["metadata"].get("namespace", "default") for o in every}
        self.api_server.rules = [rights for o in objects if o["kind"] == "Role" for rights in _rights(o)]
        for service in self.services:
            key = (service["metadata"].get("namespace", "default"), service["metadata"]["name"])
            if not headless(service) and key not in self.service_addresses:
                known = {("kube-system", "kube-dns"): network.DNS_ADDRESS}
                self.service_addresses[key] = known.get(key) or next(self._service_addresses)
        self._wake.set()

    def _runs(self, workload: Workload) -> bool:
        if reason := not_run(workload):
            self.event(workload.namespace, workload.name, "", "NotRun", reason)
        return not reason

    def scale(self, workload: str, replicas: int) -> None:
        """Another number of pods."""
        found = [key for key in self.workloads if key[2] == workload]
        if not found:
            raise LookupError(f"there is no workload {workload}")
        self.scaled |= {key[1:]: replicas for key in found}
        self.workloads |= {key: w for key, w in read_workloads(self.objects, self.scaled).items() if key in found}
        self._wake.set()

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The values of a Secret, if there is one."""
        with self.api_server.lock:
            return self.api_server.values(namespace, name) if (namespace, name) in self.api_server.objects else None

    # --- controllers ---

    async def _reconcile(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 1)
            self._wake.clear()
            for key, workload in list(self.workloads.items()):
                try:
                    self._control(key, workload)
                except (ValueError, LookupError) as error:
                    self.event(workload.namespace, workload.name, "", "Failed", str(error))
            for pod in list(self.pods.values()):
                if (pod.kind, pod.namespace, pod.workload) not in self.workloads and not pod.leaving:
                    self.terminate(pod)
            for identity in [i for i, s in self.stopped.items() if (s.kind, i[0], s.workload) not in self.workloads]:
                del self.stopped[identity]

    def _control(self, key: Key, workload: Workload) -> None:
        own = [pod for pod in self.pods.values() if (pod.kind, pod.namespace, pod.workload) == key]
        states = [PodState(pod.name, pod.revision, pod.ready, pod.leaving, pod.phase) for pod in own]
        present = {pod.name for pod in own}
        states += [
            PodState(name, s.revision, False)
            for (ns, name), s in self.stopped.items()
            if ns == key[1] and s.workload == key[2] and name not in present
        ]
        decided = plan(workload, states, self.taken.get(key, 0))
        for name in decided.delete:
            if (pod := self.pods.get((workload.namespace, name))) and not pod.leaving:
                self.terminate(pod)
            self.stopped.pop((workload.namespace, name), None)
        if workload.kind == "Job" and own and time.monotonic() - own[-1].ended < min(10, len(own)):
            return
        for name in decided.create:
            if workload.kind != "StatefulSet":
                self.taken[key] = self.taken.get(key, 0) + 1
            self.create(workload, name)

    def create(self, workload: Workload, name: str) -> None:
        """Make a pod of a workload."""
        spec = workload.template["spec"]
        host_network = bool(spec.get("hostNetwork"))
        priority = self.priorities.get(spec.get("priorityClassName") or "", 0)
        pod = Pod(
            host=Host(
                objects=Objects(self.config_maps, self.secret),
                account=lambda namespace: {**self.account, "namespace": namespace.encode()},
                changed=self.changed,
                event=self.event,
                gate=self.gate,
                node_address=self.node_address,
                domain=self.domain,
            ),
            namespace=workload.namespace,
            name=name,
            workload=workload.name,
            kind=workload.kind,
            revision=workload.revision,
            labels=workload.labels_of(name),
            spec=spec,
            address=next(self._node_addresses) if host_network else self.next_address(),
            interface=self.next_interface(),
            claims=workload.claims_of(name),
            subdomain=workload.manifest["spec"].get("serviceName") or spec.get("subdomain") or "",
            rank=-priority,
        )
        self.pods[workload.namespace, name] = pod
        self.mains[pod.uid] = asyncio.ensure_future(pod.run())

    def terminate(self, pod: Pod, vanish: bool = False) -> "asyncio.Task[None]":
        """End a pod, gracefully or at once; its controller then does what follows."""
        pod.leaving = True
        main = self.mains.pop(pod.uid, None)

        async def end() -> None:
            await (pod.vanish(main) if vanish else pod.terminate(main))
            self.pods.pop((pod.namespace, pod.name), None)
            self._wake.set()
            await self.changed()

        task = asyncio.ensure_future(end())
        self.endings.add(task)
        task.add_done_callback(self.endings.discard)
        return task

    # --- Services, DNS and policies ---

    async def changed(self) -> None:
        """Wait until the rules follow from the state of this moment."""
        self._asked += 1
        mine = self._asked
        self._wake.set()
        self._rules_wanted.set()
        async with self._rules_made:
            await self._rules_made.wait_for(lambda: self._done >= mine)

    async def _make_rules(self) -> None:
        while True:
            await self._rules_wanted.wait()
            self._rules_wanted.clear()
            asked = self._asked
            backends = self._backends()
            try:
                await network.run(["nft", "-f", "-"], self._rules(backends))
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
            # After the rules, so that nobody learns an address that he cannot reach yet.
            self.dns.names = names(self.services, self.service_addresses, backends, self.domain) | self.guest_names
            async with self._rules_made:
                self._done = asked
                self._rules_made.notify_all()
            # Changes that come close together are made together.
            await asyncio.sleep(0.05)

    def _backends(self) -> list[Backend]:
        found = [*([self.dns_pod] if self.dns_pod else []), *(pod.backend() for pod in self.pods.values()), *self.guests.values()]
        self.owners |= {backend.address: backend.name for backend in found}
        return found

    def _rules(self, backends: Sequence[Backend]) -> str:
        reached = [self.api] if self.api else []
        for service in self.services:
            key = (service["metadata"].get("namespace", "default"), service["metadata"]["name"])
            if key in self.service_addresses:
                reached += forwards(service, self.service_addresses[key], backends)
        labels: dict[str, dict[str, str]] = {backend.namespace: {} for backend in backends}
        labels |= {o["metadata"]["name"]: dict(o["metadata"].get("labels") or {}) for o in self.objects if o["kind"] == "Namespace"}
        namespaces = {name: {**known, "kubernetes.io/metadata.name": name} for name, known in labels.items()}
        hosts = {pod.address for pod in self.pods.values() if pod.host_network}
        peers = [Peer(b.namespace, b.labels, b.address, b.ports, b.address in hosts) for b in backends]
        silent = [pod.address for pod in self.pods.values() if pod.unreachable]
        return network.rules(reached, filters(self.policies, namespaces, peers), [backend.address for backend in backends], silent)

    # --- what others ask for ---

    def event(self, namespace: str, pod: str, container: str, reason: str, message: str) -> None:
        """Remember something that happened."""
        entry = {"at": time.monotonic(), "namespace": namespace, "pod": pod, "container": container, "reason": reason, "message": message}
        self.happened.append(entry)
        print(f"{entry['at']:.2f} {namespace}/{pod} {container} {reason} {message}", file=sys.stderr, flush=True)

    def find(self, name: str) -> Pod:
        """A pod by its name, or `namespace/name`. Raises LookupError."""
        found = [pod for pod in self.pods.values() if name in (pod.name, f"{pod.namespace}/{pod.name}")]
        if len(found) != 1:
            raise LookupError(f"{'several pods are' if found else 'no pod is'} called {name}")
        return found[0]


def _rights(role: Manifest) -> Iterator[Any]:
    for rule in role.get("rules") or ():
        if "secrets" in rule.get("resources", ()):
            yield Rights(role["metadata"]["namespace"], tuple(rule["verbs"]), tuple(rule.get("resourceNames") or ()))
