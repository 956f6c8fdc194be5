"""What tests ask of the node: one method for each of `client.Cluster`'s, with the same arguments, as JSON has them."""

import asyncio
import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict

from tests.live.cluster import network
from tests.live.cluster.files import STATE
from tests.live.cluster.kubelet import Pod
from tests.live.cluster.node import Node, Stopped
from tests.live.cluster.visitors import Visitors

Manifest = Mapping[str, Any]


class Requests:
    """The node as tests see it. Every method may raise; the reason is told to the test."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._visitors = Visitors(node)

    async def apply(self, objects: list[Manifest]) -> None:
        self._node.apply(objects)
        await self._node.changed()

    async def scale(self, workload: str, replicas: int) -> None:
        self._node.scale(workload, replicas)

    async def pods(self, name: str | None = None) -> list[dict[str, Any]]:
        listed = [_status(pod) for pod in self._node.pods.values() if name is None or pod is self._node.find(name)]
        for (namespace, pod_name), state in self._node.stopped.items():
            if (namespace, pod_name) not in self._node.pods:
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

    async def wait_ready(self, seconds: float, names: Sequence[str]) -> dict[str, str]:
        deadline = time.monotonic() + seconds
        while missing := self._missing(set(names)):
            if time.monotonic() > deadline:
                return {name: self._why(name) for name in missing}
            await asyncio.sleep(0.05)
        await self._node.changed()
        return {}

    def _missing(self, wanted: set[str]) -> list[str]:
        missing = []
        for (kind, namespace, name), workload in self._node.workloads.items():
            own = [pod for pod in self._node.pods.values() if (pod.kind, pod.namespace, pod.workload) == (kind, namespace, name)]
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
        known = {part for kind, namespace, name in self._node.workloads for part in (name,)} | {p.name for p in self._node.pods.values()}
        return [*missing, *(name for name in wanted if name.rpartition("/")[2] not in known)]

    def _why(self, name: str) -> str:
        namespace, _, pod_name = name.rpartition("/")
        lines = [
            f"{e['reason']} {e['container']} {e['message']}"
            for e in self._node.happened
            if (e["namespace"], e["pod"]) == (namespace, pod_name)
        ]
        text = "\n".join(lines[-8:])
        for log in sorted((STATE / "logs" / namespace / pod_name).glob("*.log")):
            text += f"\n[{log.stem}] " + log.read_text(errors="replace")[-1500:]
        return text

    async def kill(self, pod: str, container: str | None) -> None:
        found = self._node.find(pod)
        for one in [found.container(container)] if container else [*found.containers, *found.inits]:
            if one.running:
                self._node.event(found.namespace, found.name, one.name, "Killing", "SIGKILL by the test")
            one.kill()

    async def power_off(self, pod: str) -> None:
        found = self._node.find(pod)
        self._node.event(found.namespace, found.name, "", "PowerOff", "by the test")
        found.unreachable = True
        await self._node.changed()
        for container in [*found.containers, *found.inits]:
            container.kill()
        for task in [*found.tasks, self._node.mains[found.uid]]:
            task.cancel()
        self._node.stopped[found.namespace, found.name] = Stopped(
            found.name, found.revision, False, workload=found.workload, kind=found.kind
        )

    async def delete(self, pod: str, wait: float | None) -> None:
        await self._wait_for(self._node.terminate(self._node.find(pod)), wait, f"{pod} to end")

    async def stop(self, pod: str, wait: float | None) -> None:
        found = self._node.find(pod)
        self._node.stopped[found.namespace, found.name] = Stopped(
            found.name, found.revision, False, workload=found.workload, kind=found.kind
        )
        await self._wait_for(self._node.terminate(found), wait, f"{pod} to end")

    async def start(self, pod: str) -> None:
        keys = [key for key in self._node.stopped if pod in (key[1], "/".join(key))]
        if len(keys) != 1:
            raise LookupError(f"no pod {pod} was stopped")
        state = self._node.stopped[keys[0]]
        if dead := self._node.pods.get(keys[0]):
            await self._node.terminate(dead, vanish=True)
        del self._node.stopped[keys[0]]
        self._node.create(self._node.workloads[state.kind, keys[0][0], state.workload], keys[0][1])

    async def _wait_for(self, task: "asyncio.Task[None]", seconds: float | None, what: str) -> None:
        if seconds is not None:
            done, _ = await asyncio.wait([task], timeout=seconds)
            if not done:
                raise TimeoutError(f"{what}: not within {seconds} s")

    async def logs(self, pod: str, container: str | None) -> str:
        namespace, _, name = pod.rpartition("/")
        folders = [f for f in (STATE / "logs").glob(f"{namespace or '*'}/{name}") if f.is_dir()]
        if len(folders) != 1:
            raise LookupError(f"no pod, or several, called {pod} have printed anything")
        files = [folders[0] / f"{container}.log"] if container else sorted(folders[0].glob("*.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    async def all_logs(self) -> dict[str, str]:
        logs = {".".join(file.relative_to(STATE / "logs").with_suffix("").parts): file for file in (STATE / "logs").rglob("*.log")}
        texts = {name: file.read_text(errors="replace") for name, file in logs.items()}
        texts["denied"] = "".join(f"{entry}\n" for entry in await self.denied())
        return texts | {"events": "".join(f"{json.dumps(entry)}\n" for entry in self._node.happened)}

    async def events(self) -> list[dict[str, Any]]:
        return self._node.happened

    async def denied(self) -> list[dict[str, Any]]:
        return [
            {
                **asdict(entry),
                "source": self._node.owners.get(entry.source, entry.source),
                "target": self._node.owners.get(entry.target, entry.target),
            }
            for entry in await network.refused()
        ]

    async def forget_denied(self) -> None:
        await network.forget_refused()

    async def arrivals(self, connections: list[tuple[str, str, int]], seconds: float) -> list[tuple[str, str, int]]:
        async def ask(source: str) -> list[tuple[str, str, int]]:
            own = [(target, port) for name, target, port in connections if name == source]
            reached = await network.arrivals(
                self._node.find(source).network, [(self._node.find(target).address, port) for target, port in own], seconds
            )
            return [(source, *asked) for asked, arrived in zip(own, reached, strict=True) if arrived]

        sources, found = list(dict.fromkeys(name for name, _, _ in connections)), []
        for start in range(0, len(sources), 8):
            for answers in await asyncio.gather(*map(ask, sources[start : start + 8])):
                found += answers
        return found

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        values = self._node.secret(namespace, name)
        if values is None:
            raise LookupError(f"there is no Secret {namespace}/{name}")
        return {key: base64.b64encode(value).decode() for key, value in values.items()}

    async def resolve(self, service: str, namespace: str) -> list[str]:
        return list(self._node.dns.names.get(f"{service}.{namespace}.svc.{self._node.domain}", []))

    async def exec(self, pod: str, container: str | None, command: list[str], seconds: float) -> dict[str, Any]:
        found = self._node.find(pod)
        code, output, errors = await found.container(container).exec(command, seconds)
        return {"code": code, "output": output, "errors": errors}

    # --- programs of tests ---

    async def launch(self, command: list[str], place: dict[str, Any], environment: dict[str, str], given: str) -> str:
        return await self._visitors.launch(command, place, environment, given)

    async def client_running(self, key: str) -> bool:
        return self._visitors.running(key)

    async def client_output(self, key: str) -> str:
        return self._visitors.output(key)

    async def client_signal(self, key: str, number: int) -> None:
        self._visitors.signal(key, number)

    async def client_wait(self, key: str, seconds: float) -> dict[str, Any]:
        return await self._visitors.wait(key, seconds)


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
