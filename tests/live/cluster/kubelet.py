"""One pod on the node, from its volumes to its end: init containers, sidecars, containers, probes, restarts, and a graceful stop."""

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.live.cluster import network
from tests.live.cluster.container import Container
from tests.live.cluster.files import STATE, aliases_of, remove_volumes, write_volume
from tests.live.cluster.gate import STARTING_SECONDS, WAITING, Gate
from tests.live.cluster.pods import (
    Identity,
    Mount,
    NotThereError,
    Objects,
    Volume,
    command,
    environment,
    mounts,
    read_only_root,
    user,
    volumes,
)
from tests.live.cluster.probes import Counter, ProbeSpec, probe
from tests.live.cluster.sandbox import container_command, etc_files
from tests.live.cluster.services import Backend
from tests.live.cluster.substitutes import image

Manifest = Mapping[str, Any]

_LONGEST_BACK_OFF = 10
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@define(eq=False)
class Host:
    """What a pod needs of its node."""

    objects: Objects
    account: Callable[[str], Mapping[str, bytes]]
    """The files of a service account's volume in a namespace."""
    changed: Callable[[], Awaitable[None]]
    """Tell Services, DNS and policies that a pod has come, gone, or become ready; returns when they know it."""
    event: Callable[[str, str, str, str, str], None]
    """Namespace, pod, container, reason, message."""
    gate: Gate
    node_address: str
    domain: str


@define(eq=False)
class Pod:
    """A pod that runs, or is about to. Its address is new for every pod, its name and claims may be those of one before it."""

    host: Host
    namespace: str
    name: str
    workload: str
    kind: str
    revision: str
    labels: Mapping[str, str]
    spec: Manifest
    address: str
    interface: str
    claims: Mapping[str, str] = field(factory=dict)
    subdomain: str = ""
    rank: int = 0
    uid: str = field(factory=lambda: str(uuid.uuid4()))
    phase: str = "Pending"
    leaving: bool = False
    unreachable: bool = False
    gone: asyncio.Event = field(factory=asyncio.Event)
    inits: list[Container] = field(factory=list)
    containers: list[Container] = field(factory=list)
    tasks: set["asyncio.Task[Any]"] = field(factory=set)
    was_ready: bool = False
    ended: float = 0

    def __attrs_post_init__(self) -> None:
        listed = self.spec.get("initContainers") or ()
        self.inits = [Container(c, user(self.spec, c), sidecar=c.get("restartPolicy") == "Always") for c in listed]
        self.containers = [Container(c, user(self.spec, c)) for c in self.spec["containers"]]

    # --- what others see ---

    @property
    def host_network(self) -> bool:
        return bool(self.spec.get("hostNetwork"))

    @property
    def ready(self) -> bool:
        """Whether Services send it traffic."""
        serving = [*self.containers, *(c for c in self.inits if c.sidecar)]
        return self.phase == "Running" and not self.leaving and all(c.ready for c in serving)

    @property
    def restarts(self) -> int:
        return sum(container.restarts for container in [*self.inits, *self.containers])

    def container(self, name: str | None) -> Container:
        """One by name, or the first. Raises LookupError."""
        for container in [*self.containers, *self.inits]:
            if name in (None, container.name):
                return container
        raise LookupError(f"{self.name} has no container {name}")

    def backend(self) -> Backend:
        """As Services see it."""
        hostname = self.spec.get("hostname") or (self.name if self.kind == "StatefulSet" else "")
        return Backend(self.namespace, self.name, self.labels, self.address, self.ready, self.ports(), self.subdomain, hostname)

    def ports(self) -> tuple[tuple[str, int, str], ...]:
        """The ports that its containers declare."""
        listed = [port for c in [*self.containers, *(c for c in self.inits if c.sidecar)] for port in c.manifest.get("ports") or ()]
        return tuple((port.get("name") or "", port["containerPort"], port.get("protocol") or "TCP") for port in listed)

    @property
    def identity(self) -> Identity:
        account = self.spec.get("serviceAccountName") or "default"
        # A pod on the network of its node has that node for itself.
        node = self.address if self.host_network else self.host.node_address
        return Identity(self.namespace, self.name, self.labels, self.address, node, self.uid, account)

    @property
    def folder(self) -> Path:
        return STATE / "pods" / self.uid

    @property
    def network(self) -> str:
        """The name of its network namespace, which is that of its interface on the node."""
        return self.interface

    def _event(self, container: str, reason: str, message: str = "") -> None:
        self.host.event(self.namespace, self.name, container, reason, message)

    # --- its life ---

    async def run(self) -> None:
        """Until it has ended, or is ended."""
        try:
            self._event("", "Scheduled", self.address)
            await network.add(self.network, self.interface, self.address, self.host.node_address)
            await self.host.changed()
            await self._prepare_volumes()
            for container in self.inits:
                if container.sidecar:
                    self._supervise(container)
                    await container.started.wait()
                else:
                    await self._run_to_end(container)
            self.phase = "Running"
            supervised = [self._supervise(container) for container in self.containers]
            await asyncio.gather(*supervised)
            await self._end_containers(0)
            self.ended = time.monotonic()
            self.phase = "Succeeded" if all(c.code == 0 for c in self.containers) else "Failed"
            await self.host.changed()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.phase = "Failed"
            self._event("", "Failed", f"{type(error).__name__}: {error}")

    def _supervise(self, container: Container) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._keep_running(container))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _run_to_end(self, container: Container) -> None:
        """An init container: again until it succeeds."""
        while True:
            code = await self._run_once(container)
            if code == 0:
                container.code = 0
                return
            if self.spec.get("restartPolicy") == "Never":
                raise RuntimeError(f"init container {container.name} ended with code {code}")
            container.restarts += 1
            await asyncio.sleep(min(_LONGEST_BACK_OFF, container.restarts))

    async def _keep_running(self, container: Container) -> None:
        """A container or sidecar: again whenever it ends, unless its pod says otherwise."""
        policy = "Always" if container.sidecar else self.spec.get("restartPolicy", "Always")
        failures = 0
        while True:
            began = time.monotonic()
            code = await self._run_once(container)
            if self.leaving or policy == "Never" or (policy == "OnFailure" and code == 0):
                container.code = code
                return
            container.restarts += 1
            # The kubelet starts at ten seconds and forgets after ten minutes without a failure.
            failures = 0 if time.monotonic() - began > 60 else failures + 1
            await asyncio.sleep(min(_LONGEST_BACK_OFF, 2 ** (failures - 2)) if failures > 1 else 0)

    async def _run_once(self, container: Container) -> int:
        """Start it, probe it, and wait for its end. Returns its exit code, 128 + n after signal n."""
        container.image = image(container.manifest["image"])
        heavy = container.image.heavy and container in self.containers and "startupProbe" in container.manifest
        if heavy:
            await self.host.gate.enter(self.rank)
            container.in_gate = True
        beside = [asyncio.create_task(self._lose_patience(container))] if heavy else []
        try:
            await self._start(container)
            self._event(container.name, "Started")
            beside.append(asyncio.create_task(self._probe(container)))
            code = await container.wait()
            self._event(container.name, "Exited", f"code {code}")
            return code
        finally:
            for task in beside:
                task.cancel()
            await self._leave_gate(container)
            if not (container.sidecar or self.spec.get("restartPolicy") in ("OnFailure", "Never")):
                container.started.clear()
            await self._set_ready(container, False)

    async def _lose_patience(self, container: Container) -> None:
        log = self._log(container)
        printed = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline and not (log.exists() and WAITING in log.read_bytes()[printed:]):
            await asyncio.sleep(0.5)
        await self._leave_gate(container)

    def _log(self, container: Container) -> Path:
        # A pod of the same name that comes later goes on in the same file.
        return STATE / "logs" / self.namespace / self.name / f"{container.name}.log"

    async def _leave_gate(self, container: Container) -> None:
        if container.in_gate:
            container.in_gate = False
            await self.host.gate.leave()

    async def _start(self, container: Container) -> None:
        manifest, stand_in = container.manifest, container.image
        assert stand_in is not None
        services = {"KUBERNETES_SERVICE_HOST": network.API_ADDRESS, "KUBERNETES_SERVICE_PORT": "443", "HOSTNAME": self.name}
        aliases = aliases_of(manifest["image"], stand_in)
        container.variables = environment(manifest, self.identity, self.host.objects, {**stand_in.variables(aliases), **services})
        # An image has its own modules on Python's path by files in it, which no variable of a pod takes away.
        if (own := stand_in.environment.get("PYTHONPATH")) and own != container.variables["PYTHONPATH"]:
            container.variables["PYTHONPATH"] += f":{own}"
        etc = self.folder / "etc" / container.name
        etc.mkdir(parents=True, exist_ok=True)
        search = [f"{self.namespace}.svc.{self.host.domain}", f"svc.{self.host.domain}", self.host.domain]
        files = etc_files(self.name, self.address, container.who, nameserver=network.DNS_ADDRESS, search=search, dns=self.spec)
        for name, text in files.items():
            (etc / name).write_text(text)
        information = os.pipe()
        words = container_command(
            stand_in,
            command(manifest, container.variables, stand_in.entrypoint),
            container.who,
            network=self.network,
            hostname=self.name,
            etc=etc,
            mounts=self._mounts(container),
            read_only=read_only_root(manifest),
            information=information[1],
            aliases=aliases,
        )
        await container.start(words, self._log(container), information)

    def _mounts(self, container: Container) -> list[tuple[Mount, Path]]:
        found = []
        for mount in mounts(container.manifest, container.variables):
            source = self._source(mount.volume)
            if mount.sub_path:
                source = source / mount.sub_path
                if not source.exists():
                    source.mkdir(parents=True)
            found.append((mount, source))
        if self._has_account and not any(mount.path.startswith(_ACCOUNT) for mount, _ in found):
            found.append((Mount("", _ACCOUNT, read_only=True), self.folder / "volumes" / "account"))
        return found

    @property
    def _has_account(self) -> bool:
        return bool(self.spec.get("automountServiceAccountToken", True)) and bool(self.spec.get("serviceAccountName"))

    def _source(self, volume: str) -> Path:
        claim = self.claims.get(volume)
        if claim is None:
            listed = next(v for v in self.spec.get("volumes") or () if v["name"] == volume)
            claim = (listed.get("persistentVolumeClaim") or {}).get("claimName")
        return STATE / "claims" / self.namespace / claim if claim else self.folder / "volumes" / volume

    async def _prepare_volumes(self) -> None:
        """As soon as all that they are made of exists."""
        told = ""
        while True:
            try:
                prepared = volumes(self.spec, self.identity, self.host.objects, self.claims, self.host.account(self.namespace))
                for container in [*self.inits, *self.containers]:
                    environment(container.manifest, self.identity, self.host.objects, {})
                break
            except NotThereError as error:
                if str(error) != told:
                    told = str(error)
                    self._event("", "FailedMount", told)
                await asyncio.sleep(0.2)
        if self._has_account:
            prepared.append(Volume("account", self.host.account(self.namespace)))
        group = (self.spec.get("securityContext") or {}).get("fsGroup")
        for volume in prepared:
            write_volume(volume, self._source(volume.name) if volume.name != "account" else self.folder / "volumes" / "account", group)

    # --- probes ---

    async def _probe(self, container: Container) -> None:
        """First the startup probe alone, then readiness and liveness beside one another."""
        manifest = container.manifest
        if "startupProbe" in manifest and not await self._probe_startup(container, ProbeSpec.read(manifest["startupProbe"])):
            return
        container.started.set()
        if "readinessProbe" not in manifest:
            await self._set_ready(container, True)
        async with asyncio.TaskGroup() as group:
            for kind in ("readinessProbe", "livenessProbe"):
                if kind in manifest:
                    group.create_task(self._probe_for_ever(container, kind, ProbeSpec.read(manifest[kind])))

    async def _probe_startup(self, container: Container, spec: ProbeSpec) -> bool:
        counter = Counter(spec)
        await asyncio.sleep(spec.initial_delay)
        while True:
            success, why = await self._attempt(container, spec)
            verdict = counter.record(success)
            if verdict is not None:
                if not verdict:
                    self._event(container.name, "Unhealthy", f"startup: {why}")
                    await self._restart(container)
                return verdict
            await asyncio.sleep(spec.period)

    async def _probe_for_ever(self, container: Container, kind: str, spec: ProbeSpec) -> None:
        counter = Counter(spec)
        await asyncio.sleep(spec.initial_delay)
        while True:
            success, why = await self._attempt(container, spec)
            if not success:
                self._event(container.name, "Unhealthy", f"{kind}: {why}")
            verdict = counter.record(success)
            if verdict is not None and kind == "readinessProbe":
                await self._set_ready(container, verdict)
            if verdict is False and kind == "livenessProbe":
                await self._restart(container)
                return
            await asyncio.sleep(spec.period)

    async def _attempt(self, container: Container, spec: ProbeSpec) -> tuple[bool, str]:
        async def run(words: Sequence[str], seconds: float) -> tuple[int, str]:
            code, output, errors = await container.exec(words, seconds)
            return code, output + errors

        return await probe(spec, container.manifest, self.address, run)

    async def _set_ready(self, container: Container, ready: bool) -> None:
        container.ready = ready
        if ready:
            await self._leave_gate(container)
        if self.ready != self.was_ready:
            self.was_ready = self.ready
            self._event("", "Ready" if self.ready else "NotReady")
            await self.host.changed()

    async def _restart(self, container: Container) -> None:
        """What a failed liveness probe brings about: its end, as gracefully as the pod's. Its supervisor starts it again."""
        self._event(container.name, "Killing", "a probe failed")
        task = asyncio.create_task(self._end(container, self._grace))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # --- its end ---

    @property
    def _grace(self) -> float:
        return float(self.spec.get("terminationGracePeriodSeconds", 30))

    async def terminate(self, main: "asyncio.Task[None] | None") -> None:
        """Gracefully: out of its Services at once, then preStop and the image's signal, at last SIGKILL. Nothing remains but its claims."""
        self.leaving = True
        if self.was_ready:
            self.was_ready = False
            self._event("", "NotReady", "terminating")
        await self.host.changed()
        await self._end_containers(self._grace)
        if main is not None:
            main.cancel()
        await self._remove()

    async def vanish(self, main: "asyncio.Task[None] | None") -> None:
        """At once, with everything."""
        self.leaving = True
        for container in [*self.containers, *self.inits]:
            container.kill()
        if main is not None:
            main.cancel()
        await self._remove()

    async def _remove(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await network.remove(self.network, self.interface)
        await remove_volumes(self.folder)
        self._event("", "Deleted")
        self.gone.set()

    async def _end_containers(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        await asyncio.gather(*(self._end(container, grace) for container in self.containers))
        # Sidecars stop after the containers they serve, last one first.
        for container in reversed(self.inits):
            await self._end(container, max(0.5, deadline - time.monotonic()))

    async def _end(self, container: Container, grace: float) -> None:
        if not await container.end(grace):
            self._event(container.name, "Killing", f"still there after {grace:.0f} s")
