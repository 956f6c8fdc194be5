"""The node: first process of its own namespaces, and all that a cluster does around its pods. Started by `client.py`, which it listens to.

Usage: python -m tests.live.cluster.node SOCKET
"""

import asyncio
import base64
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from app.reach.policies import Policy, read_policy
from tests.live.cluster import network
from tests.live.cluster.dns import Server
from tests.live.cluster.kubelet import STARTING_AT_ONCE, STATE, Gate, Host, Pod, read_first_process
from tests.live.cluster.pods import Objects, User
from tests.live.cluster.policies import Peer, filters
from tests.live.cluster.sandbox import container_command, etc_files
from tests.live.cluster.services import Backend, Forward, forwards, headless, names
from tests.live.cluster.substitutes import FIRST, adapted, image, not_run, substitutes
from tests.live.cluster.workloads import PodState, Workload, plan, read_workloads
from tests.live.kubernetes_stub import TOKEN, make_certificates, serving
from tests.live.kubernetes_stub import Cluster as ApiServer

Manifest = Mapping[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace and name of a workload."""

_CONTROL_PLANE = "control-plane"
_WORLD = IPv4Network("1.1.1.0/24")
"""Public addresses, such as no policy calls private or reserved."""
_CLIENT = User(65534, 65534, (), (), True)


@frozen
class Rights:
    """What a Role lets its subjects do with Secrets, with the fields that the stand-in for the API server reads."""

    namespace: str
    verbs: tuple[str, ...]
    names: tuple[str, ...]


@define(eq=False)
class Visitor:
    """A program that tests run: in a network namespace of its own, or on the node."""

    key: str
    process: asyncio.subprocess.Process
    output: Path
    errors: Path
    container: int
    interface: str
    backend: Backend | None


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
    visitors: dict[str, Visitor] = field(factory=dict)
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
    _world_addresses: Iterator[str] = field(init=False)
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
        self._world_addresses = map(str, _WORLD.hosts())
        # The first addresses are those of the API server and of DNS.
        self._service_addresses = (str(address) for index, address in enumerate(network.SERVICE_NETWORK.hosts()) if index >= 100)
        self._interfaces = iter(range(1, 100_000))

    # --- beginning ---

    async def begin(self) -> None:
        """Make the network, DNS and the API server."""
        STATE.mkdir(parents=True)
        self.node_address = next(self._node_addresses)
        network.prepare(self.node_address)
        address = await self._add_network("coredns", next(self._addresses))
        self.dns_pod = Backend(
            "kube-system", "coredns-0", {"k8s-app": "kube-dns"}, address, True, (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"))
        )
        await self._serve_dns("coredns", address)
        api = await self._add_network(_CONTROL_PLANE, next(self._node_addresses))
        certificates = STATE / "api-server"
        certificates.mkdir()
        make_certificates(certificates, network.API_ADDRESS)
        self.account = {"token": TOKEN.encode(), "ca.crt": (certificates / "ca.crt").read_bytes()}
        network.inside(_CONTROL_PLANE, lambda: self._open.enter_context(serving(self.api_server, certificates / "server.pem", 6443, api)))
        self.api = Forward(network.API_ADDRESS, 443, "TCP", ((api, 6443),))
        self._keep(self._make_rules())
        self._keep(self._reconcile())

    def _keep(self, work: Any) -> None:
        def ended(task: "asyncio.Task[Any]") -> None:
            if not task.cancelled() and task.exception():
                print(f"{work}: {task.exception()!r}", file=sys.stderr, flush=True)

        asyncio.ensure_future(work).add_done_callback(ended)

    async def _add_network(self, name: str, address: str) -> str:
        await network.add(name, f"v{next(self._interfaces)}", address, self.node_address)
        return address

    async def _serve_dns(self, namespace: str, address: str) -> None:
        def sockets() -> tuple[socket.socket, socket.socket]:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for one in (udp, tcp):
                one.bind((address, 53))
            return udp, tcp

        udp, tcp = network.inside(namespace, sockets)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.dns, sock=udp)
        await asyncio.start_server(self.dns.stream, sock=tcp)

    # --- the state that is wanted ---

    def apply(self, objects: list[Manifest]) -> None:
        """Take in what is wanted; the controllers do the rest."""
        added = substitutes(objects, self._secret)
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
        if not any(workload.name in FIRST for workload in self.workloads.values()):
            self.gate.opened.set()
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

    def _secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        with self.api_server.lock:
            return self.api_server.values(namespace, name) if (namespace, name) in self.api_server.objects else None

    # --- controllers ---

    async def _reconcile(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 1)
            self._wake.clear()
            for key, workload in list(self.workloads.items()):
                self._control(key, workload)
            for pod in list(self.pods.values()):
                if (pod.kind, pod.namespace, pod.workload) not in self.workloads and not pod.leaving:
                    self._terminate(pod)
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
                self._terminate(pod)
            self.stopped.pop((workload.namespace, name), None)
        if workload.kind == "Job" and own and time.monotonic() - own[-1].ended < min(10, len(own)):
            return
        for name in decided.create:
            if workload.kind != "StatefulSet":
                self.taken[key] = self.taken.get(key, 0) + 1
            self._create(workload, name)

    def _create(self, workload: Workload, name: str) -> None:
        spec = workload.template["spec"]
        host_network = bool(spec.get("hostNetwork"))
        priority = self.priorities.get(spec.get("priorityClassName") or "", 0)
        pod = Pod(
            host=Host(
                objects=Objects(self.config_maps, self._secret),
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
            address=next(self._node_addresses if host_network else self._addresses),
            interface=f"v{next(self._interfaces)}",
            claims=workload.claims_of(name),
            subdomain=workload.manifest["spec"].get("serviceName") or spec.get("subdomain") or "",
            rank=-priority,
            first=workload.name in FIRST,
        )
        self.pods[workload.namespace, name] = pod
        self.mains[pod.uid] = asyncio.ensure_future(pod.run())

    def _terminate(self, pod: Pod, vanish: bool = False) -> "asyncio.Task[None]":
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
            self.dns.names = names(self.services, self.service_addresses, backends, self.domain)
            async with self._rules_made:
                self._done = asked
                self._rules_made.notify_all()
            # Changes that come close together are made together.
            await asyncio.sleep(0.05)

    def _backends(self) -> list[Backend]:
        visiting = [visitor.backend for visitor in self.visitors.values() if visitor.backend]
        found = [*([self.dns_pod] if self.dns_pod else []), *(pod.backend() for pod in self.pods.values()), *visiting]
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

    # --- what tests ask for ---

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

    async def call_apply(self, objects: list[Manifest]) -> None:
        self.apply(objects)
        await self.changed()

    async def call_scale(self, workload: str, replicas: int) -> None:
        self.scale(workload, replicas)

    async def call_pods(self, name: str | None = None) -> list[dict[str, Any]]:
        listed = [_status(pod) for pod in self.pods.values() if name is None or pod is self.find(name)]
        for (namespace, pod_name), state in self.stopped.items():
            if (namespace, pod_name) not in self.pods:
                listed.append(
                    {
                        "namespace": namespace,
                        "name": pod_name,
                        "workload": state.workload,
                        "address": "",
                        "phase": "Stopped",
                        "ready": False,
                        "restarts": 0,
                        "containers": [],
                        "labels": {},
                    }
                )
        return sorted(listed, key=lambda pod: (pod["namespace"], pod["workload"], len(pod["name"]), pod["name"]))

    async def call_wait_ready(self, seconds: float, names: Sequence[str]) -> dict[str, str]:
        deadline = time.monotonic() + seconds
        while missing := self._missing(set(names)):
            if time.monotonic() > deadline:
                return {name: self._why(name) for name in missing}
            await asyncio.sleep(0.05)
        return {}

    def _missing(self, wanted: set[str]) -> list[str]:
        missing = []
        for (kind, namespace, name), workload in self.workloads.items():
            own = [pod for pod in self.pods.values() if (pod.kind, pod.namespace, pod.workload) == (kind, namespace, name)]
            chosen = [pod for pod in own if not wanted or wanted & {name, pod.name, f"{namespace}/{pod.name}"}]
            if wanted and name not in wanted and not chosen:
                continue
            if kind == "Job":
                missing += [] if any(pod.phase == "Succeeded" for pod in own) else [f"{namespace}/{own[-1].name if own else name}"]
                continue
            if (not wanted or name in wanted) and len(
                [p for p in own if not p.leaving and p.revision == workload.revision]
            ) != workload.replicas:
                missing.append(f"{namespace}/{name}")
            missing += [f"{namespace}/{pod.name}" for pod in chosen if not pod.ready]
        known = {part for kind, namespace, name in self.workloads for part in (name,)} | {p.name for p in self.pods.values()}
        return [*missing, *(name for name in wanted if name.rpartition("/")[2] not in known)]

    def _why(self, name: str) -> str:
        namespace, _, pod_name = name.rpartition("/")
        lines = [
            f"{e['reason']} {e['container']} {e['message']}" for e in self.happened if (e["namespace"], e["pod"]) == (namespace, pod_name)
        ]
        text = "\n".join(lines[-8:])
        for log in sorted((STATE / "logs" / namespace / pod_name).glob("*.log")):
            text += f"\n[{log.stem}] " + log.read_text(errors="replace")[-1500:]
        return text

    async def call_kill(self, pod: str, container: str | None) -> None:
        found = self.find(pod)
        for one in [found.container(container)] if container else [*found.containers, *found.inits]:
            if one.running:
                self.event(found.namespace, found.name, one.name, "Killing", "SIGKILL by the test")
            found.kill(one)

    async def call_power_off(self, pod: str) -> None:
        found = self.find(pod)
        self.event(found.namespace, found.name, "", "PowerOff", "by the test")
        found.unreachable = True
        await self.changed()
        for container in [*found.containers, *found.inits]:
            found.kill(container)
        for task in [*found.tasks, self.mains[found.uid]]:
            task.cancel()
        self.stopped[found.namespace, found.name] = Stopped(found.name, found.revision, False, workload=found.workload, kind=found.kind)

    async def call_delete(self, pod: str, wait: float | None) -> None:
        await self._wait_for(self._terminate(self.find(pod)), wait, f"{pod} to end")

    async def call_stop(self, pod: str, wait: float | None) -> None:
        found = self.find(pod)
        self.stopped[found.namespace, found.name] = Stopped(found.name, found.revision, False, workload=found.workload, kind=found.kind)
        await self._wait_for(self._terminate(found), wait, f"{pod} to end")

    async def call_start(self, pod: str) -> None:
        keys = [key for key in self.stopped if pod in (key[1], "/".join(key))]
        if len(keys) != 1:
            raise LookupError(f"no pod {pod} was stopped")
        state = self.stopped[keys[0]]
        if dead := self.pods.get(keys[0]):
            await self._terminate(dead, vanish=True)
        del self.stopped[keys[0]]
        self._create(self.workloads[state.kind, keys[0][0], state.workload], keys[0][1])

    async def _wait_for(self, task: "asyncio.Task[None]", seconds: float | None, what: str) -> None:
        if seconds is not None:
            done, _ = await asyncio.wait([task], timeout=seconds)
            if not done:
                raise TimeoutError(f"{what}: not within {seconds} s")

    async def call_logs(self, pod: str, container: str | None) -> str:
        namespace, _, name = pod.rpartition("/")
        folders = [f for f in (STATE / "logs").glob(f"{namespace or '*'}/{name}") if f.is_dir()]
        if len(folders) != 1:
            raise LookupError(f"no pod, or several, called {pod} have printed anything")
        files = [folders[0] / f"{container}.log"] if container else sorted(folders[0].glob("*.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    async def call_all_logs(self) -> dict[str, str]:
        logs = {".".join(file.relative_to(STATE / "logs").with_suffix("").parts): file for file in (STATE / "logs").rglob("*.log")}
        texts = {name: file.read_text(errors="replace") for name, file in logs.items()}
        texts["denied"] = "".join(f"{entry}\n" for entry in await self.call_denied())
        return texts | {"events": "".join(f"{json.dumps(entry)}\n" for entry in self.happened)}

    async def call_events(self) -> list[dict[str, Any]]:
        return self.happened

    async def call_denied(self) -> list[dict[str, Any]]:
        return [
            {**asdict(entry), "source": self.owners.get(entry.source, entry.source), "target": self.owners.get(entry.target, entry.target)}
            for entry in await network.refused()
        ]

    async def call_forget_denied(self) -> None:
        await network.forget_refused()

    async def call_arrivals(self, connections: list[tuple[str, str, int]], seconds: float) -> list[tuple[str, str, int]]:
        async def ask(source: str) -> list[tuple[str, str, int]]:
            own = [(target, port) for name, target, port in connections if name == source]
            reached = await network.arrivals(
                self.find(source).network, [(self.find(target).address, port) for target, port in own], seconds
            )
            return [(source, *asked) for asked, arrived in zip(own, reached, strict=True) if arrived]

        sources, found = list(dict.fromkeys(name for name, _, _ in connections)), []
        for start in range(0, len(sources), 8):
            for answers in await asyncio.gather(*map(ask, sources[start : start + 8])):
                found += answers
        return found

    async def call_secret(self, namespace: str, name: str) -> dict[str, str]:
        values = self._secret(namespace, name)
        if values is None:
            raise LookupError(f"there is no Secret {namespace}/{name}")
        return {key: base64.b64encode(value).decode() for key, value in values.items()}

    async def call_resolve(self, service: str, namespace: str) -> list[str]:
        return list(self.dns.names.get(f"{service}.{namespace}.svc.{self.domain}", []))

    async def call_exec(self, pod: str, container: str | None, command: list[str], seconds: float) -> dict[str, Any]:
        found = self.find(pod)
        code, output, errors = await found.exec(found.container(container), command, seconds)
        return {"code": code, "output": output, "errors": errors}

    # --- programs of tests ---

    async def call_launch(self, command: list[str], place: dict[str, Any], environment: dict[str, str], given: str) -> str:
        number = next(self._interfaces)
        key, interface, backend = f"client-{number}", f"v{number}", None
        namespace, labels, kind = place["namespace"], place["labels"], place["kind"]
        address = self.node_address
        if kind != "node":
            address = next(self._world_addresses if kind == "world" else self._addresses)
            await network.add(interface, interface, address, self.node_address)
            backend = Backend(namespace, key, labels, address, ready=kind == "pod") if kind == "pod" else None
        folder = STATE / "clients" / key
        (folder / "etc").mkdir(parents=True)
        (folder / "given").write_text(given)
        search = [f"matrix.svc.{self.domain}", f"svc.{self.domain}", self.domain]
        for name, text in etc_files(key, address, _CLIENT, nameserver=network.DNS_ADDRESS, search=search, dns={}).items():
            (folder / "etc" / name).write_text(text)
        stand_in = image("substitute/client")
        information, theirs = os.pipe()
        words = container_command(
            stand_in,
            command,
            _CLIENT,
            network=interface if kind != "node" else None,
            hostname=key,
            etc=folder / "etc",
            mounts=[],
            read_only=False,
            information=theirs,
        )
        with (folder / "given").open("rb") as stdin, (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
            placed = Visitor(key, None, folder / "output", folder / "errors", 0, interface if kind != "node" else "", backend)  # type: ignore[arg-type]
            self.visitors[key] = placed
            await self.changed()
            placed.process = await asyncio.create_subprocess_exec(
                *words,
                stdin=stdin,
                stdout=output,
                stderr=errors,
                env={**stand_in.variables(""), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **environment},
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        placed.container = await read_first_process(information)
        return key

    async def call_client_running(self, key: str) -> bool:
        return self.visitors[key].process.returncode is None

    async def call_client_output(self, key: str) -> str:
        return self.visitors[key].output.read_text(errors="replace")

    async def call_client_signal(self, key: str, number: int) -> None:
        if self.visitors[key].process.returncode is None:
            os.kill(self.visitors[key].container, number)

    async def call_client_wait(self, key: str, seconds: float) -> dict[str, Any]:
        visitor = self.visitors[key]
        try:
            code = await asyncio.wait_for(visitor.process.wait(), seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(visitor.container or visitor.process.pid, signal.SIGKILL)
            await visitor.process.wait()
            code = 124
        texts = {"output": visitor.output.read_text(errors="replace"), "errors": visitor.errors.read_text(errors="replace")}
        if visitor.interface:
            await network.remove(visitor.interface, visitor.interface)
            visitor.interface, visitor.backend = "", None
            await self.changed()
        return {"code": code if code >= 0 else 128 - code, **texts}


@frozen
class Stopped(PodState):
    """A pod that is kept from coming back."""

    workload: str = ""
    kind: str = ""


def _status(pod: Pod) -> dict[str, Any]:
    return {
        "namespace": pod.namespace,
        "name": pod.name,
        "workload": pod.workload,
        "address": pod.address,
        "phase": "Terminating" if pod.leaving else pod.phase,
        "ready": pod.ready,
        "restarts": pod.restarts,
        "containers": [container.name for container in [*pod.containers, *pod.inits]],
        "labels": dict(pod.labels),
    }


def _rights(role: Manifest) -> Iterator[Any]:
    for rule in role.get("rules") or ():
        if "secrets" in rule.get("resources", ()):
            yield Rights(role["metadata"]["namespace"], tuple(rule["verbs"]), tuple(rule.get("resourceNames") or ()))


async def serve(path: str) -> None:
    """Answer one test run, until it hangs up."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**28)
    node: Node | None = None
    tasks: set[asyncio.Task[None]] = set()

    async def answer(request: dict[str, Any]) -> None:
        try:
            value = await getattr(node, f"call_{request['call']}")(**request["arguments"])
            text = {"id": request["id"], "value": value}
        except Exception as error:
            text = {"id": request["id"], "error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(text).encode() + b"\n")
        await writer.drain()

    async for line in reader:
        request = json.loads(line)
        if request["call"] == "begin":
            given = request["arguments"]
            node = Node(IPv4Network(given["pod_cidr"]), IPv4Network(given["node_cidr"]), given["domain"])
            await node.begin()
            writer.write(json.dumps({"id": request["id"], "value": None}).encode() + b"\n")
            continue
        task = asyncio.create_task(answer(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    # Nothing is ended one by one: the kernel does it, all at once.
    os._exit(0)


def main() -> None:
    """Be the first process of the namespaces: when this ends, so does everything in them."""
    os.umask(0o022)
    # As container runtimes have it: the limit of a shell is low.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    # What the node keeps is in memory, and gone with it.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=75%,mode=0755", "tmpfs", "/run"], check=True, timeout=10)
    network.NAMESPACES.mkdir(parents=True)
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        asyncio.run(serve(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
