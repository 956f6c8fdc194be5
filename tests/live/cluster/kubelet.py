"""One pod on the node, from its volumes to its end: init containers, sidecars, containers, probes, restarts, and a graceful stop."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.live.cluster import network
from tests.live.cluster.pods import (
    Identity,
    Mount,
    NotThereError,
    Objects,
    User,
    Volume,
    command,
    environment,
    mounts,
    read_only_root,
    user,
    volumes,
)
from tests.live.cluster.probes import Counter, ProbeSpec, probe
from tests.live.cluster.sandbox import Image, container_command, etc_files, exec_command
from tests.live.cluster.services import Backend
from tests.live.cluster.substitutes import image

Manifest = Mapping[str, Any]

STATE = Path("/run/node")
STARTING_AT_ONCE = 4
"""Heavy containers that start at the same time: more would only share the processors, and run out of their startup probes."""
STARTING_SECONDS = 40
"""After this long a container that is not ready no longer keeps others from starting."""
_LONGEST_BACK_OFF = 10


class Gate:
    """Lets so many start at once, those of the lowest rank first; and until it is opened, only those that are `first`."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting: list[tuple[int, int]] = []
        self._moved = asyncio.Condition()
        self._count = 0
        self.opened = asyncio.Event()

    async def enter(self, rank: int, first: bool) -> None:
        """Wait for a place."""
        if not first:
            await self.opened.wait()
        self._count += 1
        turn = (rank, self._count)
        self._waiting.append(turn)
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: min(self._waiting) == turn and not self._places.locked())
                await self._places.acquire()
        finally:
            self._waiting.remove(turn)
        async with self._moved:
            self._moved.notify_all()

    async def leave(self) -> None:
        """Give the place to the next."""
        self._places.release()
        async with self._moved:
            self._moved.notify_all()


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
class Container:
    """One container of a pod, over all its restarts."""

    manifest: Manifest
    sidecar: bool = False
    image: Image | None = None
    process: asyncio.subprocess.Process | None = None
    first_process: int = 0
    variables: dict[str, str] = field(factory=dict)
    started: asyncio.Event = field(factory=asyncio.Event)
    ready: bool = False
    restarts: int = 0
    code: int | None = None
    """How it ended, once it has ended for good."""
    in_gate: bool = False

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


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
    first: bool = False
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
        self.inits = [Container(c, sidecar=c.get("restartPolicy") == "Always") for c in self.spec.get("initContainers") or ()]
        self.containers = [Container(c) for c in self.spec["containers"]]

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

    def log(self, container: str) -> Path:
        """What a container has printed; a pod of the same name that comes later goes on in the same file."""
        return STATE / "logs" / self.namespace / self.name / f"{container}.log"

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
            await self.host.gate.enter(self.rank, self.first)
            container.in_gate = True
        beside = [asyncio.create_task(self._lose_patience(container))] if heavy else []
        try:
            await self._start(container)
            self._event(container.name, "Started")
            beside.append(asyncio.create_task(self._probe(container)))
            assert container.process is not None
            code = await container.process.wait()
            code = code if code >= 0 else 128 - code
            self._event(container.name, "Exited", f"code {code}")
            return code
        finally:
            for task in beside:
                task.cancel()
            await self._leave_gate(container)
            container.first_process = 0
            if not (container.sidecar or self.spec.get("restartPolicy") in ("OnFailure", "Never")):
                container.started.clear()
            await self._set_ready(container, False)

    async def _lose_patience(self, container: Container) -> None:
        await asyncio.sleep(STARTING_SECONDS)
        await self._leave_gate(container)

    async def _leave_gate(self, container: Container) -> None:
        if container.in_gate:
            container.in_gate = False
            await self.host.gate.leave()

    async def _start(self, container: Container) -> None:
        manifest, stand_in = container.manifest, container.image
        assert stand_in is not None
        who = user(self.spec, manifest)
        services = {"KUBERNETES_SERVICE_HOST": network.API_ADDRESS, "KUBERNETES_SERVICE_PORT": "443", "HOSTNAME": self.name}
        aliases = _aliases(container.manifest["image"], stand_in)
        container.variables = environment(manifest, self.identity, self.host.objects, {**stand_in.variables(aliases), **services})
        words = command(manifest, container.variables, stand_in.entrypoint)
        listed = self._mounts(container)
        etc = self.folder / "etc" / container.name
        etc.mkdir(parents=True, exist_ok=True)
        search = [f"{self.namespace}.svc.{self.host.domain}", f"svc.{self.host.domain}", self.host.domain]
        files = etc_files(self.name, self.address, who, nameserver=network.DNS_ADDRESS, search=search, dns=self.spec)
        for name, text in files.items():
            (etc / name).write_text(text)
        log = self.log(container.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        information, theirs = os.pipe()
        try:
            with log.open("ab") as output:
                # A program may open /dev/stdout anew, as its user.
                os.fchown(output.fileno(), who.uid, who.gid)
                container.process = await asyncio.create_subprocess_exec(
                    *container_command(
                        stand_in,
                        words,
                        who,
                        network=self.network,
                        hostname=self.name,
                        etc=etc,
                        mounts=listed,
                        read_only=read_only_root(manifest),
                        information=theirs,
                        aliases=aliases,
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=container.variables,
                    pass_fds=[theirs],
                    start_new_session=True,
                    cwd="/",
                )
        finally:
            os.close(theirs)
        container.first_process = await read_first_process(information)

    def _mounts(self, container: Container) -> list[tuple[Mount, Path]]:
        found = []
        for mount in mounts(container.manifest, container.variables):
            source = self._source(mount.volume)
            if mount.sub_path:
                source = source / mount.sub_path
                if not source.exists():
                    source.mkdir(parents=True)
            found.append((mount, source))
        if self._has_account and not any(mount.path.startswith(ACCOUNT) for mount, _ in found):
            found.append((Mount("", ACCOUNT, read_only=True), self.folder / "volumes" / "account"))
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
            code, output, errors = await self.exec(container, words, seconds)
            return code, output + errors

        return await probe(spec, container.manifest, self.address, run)

    async def _set_ready(self, container: Container, ready: bool) -> None:
        container.ready = ready
        if ready:
            await self._leave_gate(container)
        if self.ready != self.was_ready:
            self.was_ready = self.ready
            if self.first:
                self.host.gate.opened.set()
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
            self.kill(container)
        if main is not None:
            main.cancel()
        await self._remove()

    async def _remove(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await network.remove(self.network, self.interface)
        for volume in (self.folder / "volumes").glob("*"):
            if os.path.ismount(volume):
                await network.run(["umount", "--lazy", str(volume)], "", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._event("", "Deleted")
        self.gone.set()

    async def _end_containers(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        await asyncio.gather(*(self._end(container, grace) for container in self.containers))
        # Sidecars stop after the containers they serve, last one first.
        for container in reversed(self.inits):
            await self._end(container, max(0.5, deadline - time.monotonic()))

    async def _end(self, container: Container, grace: float) -> None:
        process, deadline = container.process, time.monotonic() + grace
        if process is None or process.returncode is not None:
            return
        hook = ((container.manifest.get("lifecycle") or {}).get("preStop") or {}) if grace else {}
        if "exec" in hook:
            await self.exec(container, hook["exec"]["command"], grace)
        elif "sleep" in hook:
            await asyncio.sleep(min(grace, hook["sleep"]["seconds"]))
        with contextlib.suppress(ProcessLookupError):
            if container.first_process:
                os.kill(container.first_process, signal.Signals[container.image.stop_signal if container.image else "SIGTERM"])
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), max(0.1, deadline - time.monotonic()))
        if process.returncode is None:
            self._event(container.name, "Killing", f"still there after {grace:.0f} s")
        self.kill(container)
        await process.wait()

    def kill(self, container: Container) -> None:
        """SIGKILL to all its processes: they end with the first of them."""
        if container.running:
            with contextlib.suppress(ProcessLookupError):
                assert container.process is not None
                os.kill(container.first_process or container.process.pid, signal.SIGKILL)

    async def exec(self, container: Container, words: Sequence[str], seconds: float, who: User | None = None) -> tuple[int, str, str]:
        """Run a command in a container. Returns its code (124 when its time was over), output and errors."""
        if not container.first_process or container.image is None:
            return 126, "", "the container does not run"
        process = await asyncio.create_subprocess_exec(
            *exec_command(container.first_process, words, who or user(self.spec, container.manifest)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=container.variables,
            start_new_session=True,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            return 124, "", f"not done in {seconds} s"
        code = process.returncode or 0
        return code if code >= 0 else 128 - code, output.decode(errors="replace"), errors.decode(errors="replace")


ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


async def read_first_process(descriptor: int) -> int:
    """What bubblewrap says of the container it makes: the number of its first process, once it has begun. 0 if it made none."""

    def read() -> bytes:
        with os.fdopen(descriptor, "rb") as pipe:
            text = b""
            while not text.rstrip().endswith(b"}"):
                more = pipe.read1(4096)
                if not more:
                    break
                text += more
            return text

    text = await asyncio.get_running_loop().run_in_executor(None, read)
    number = int(json.loads(text)["child-pid"]) if text.strip() else 0
    # Until it is another program than bubblewrap, its files are still being put in place.
    for _ in range(1000):
        try:
            if Path(f"/proc/{number}/exe").readlink().name != "bwrap":
                break
        except OSError:
            break
        await asyncio.sleep(0.005)
    return number


def write_volume(volume: Volume, folder: Path, group: int | None) -> None:
    """Make a volume's folder as the kubelet does, with links from the files to a folder that it could swap.

    Its owner is root; `group` (fsGroup) owns it too, and may write to what is not made of files that are given.
    """
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if volume.memory_limit is not None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={volume.memory_limit},mode=0777", "tmpfs", str(folder)]
        subprocess.run(command, check=True, timeout=10)
    if volume.files is None:
        # An emptyDir is open to all; a claim's file system is root's, and fsGroup's.
        if fresh:
            folder.chmod(0o2777 if group is not None else 0o777)
            os.chown(folder, 0, group or 0)
        return
    data = folder / "..data-1"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)
    for path, content in volume.files.items():
        file = data / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(volume.mode | (0o440 if group is not None else 0))
        os.chown(file, 0, group or 0)
        if not (top := folder / Path(path).parts[0]).is_symlink():
            top.symlink_to(f"..data/{top.name}")


def _aliases(name: str, stand_in: Image) -> str:
    """The folder with an image's aliases, made when it is first asked for."""
    if not stand_in.aliases:
        return ""
    folder = STATE / "aliases" / name.replace("/", "_").replace(":", "_")
    if not folder.exists():
        folder.mkdir(parents=True)
        for alias, program in stand_in.aliases.items():
            (folder / alias).symlink_to(shutil.which(program) or program)
    return str(folder)
