"""One container: its process, started in a sandbox, asked to end, killed, and joined by further commands."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.live.cluster.pods import User
from tests.live.cluster.sandbox import Image, exec_command

Manifest = Mapping[str, Any]


@define(eq=False)
class Container:
    """One container of a pod, over all its restarts."""

    manifest: Manifest
    who: User
    sidecar: bool = False
    image: Image | None = None
    process: asyncio.subprocess.Process | None = None
    first_process: int = 0
    """The node's number of the container's first process, with which all others of it end."""
    variables: dict[str, str] = field(factory=dict)
    started: asyncio.Event = field(factory=asyncio.Event)
    ready: bool = False
    restarts: int = 0
    code: int | None = None
    """How it ended, once it has ended for good."""
    in_gate: bool = False

    @property
    def name(self) -> str:
        """As in its pod's manifest."""
        return str(self.manifest["name"])

    @property
    def running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.returncode is None

    async def start(self, command: Sequence[str], log: Path, information: tuple[int, int]) -> None:
        """Run what `container_command` has made. `information`: both ends of the pipe that the command was told of."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # A program may open /dev/stdout anew, as its user.
            os.fchown(output.fileno(), self.who.uid, self.who.gid)
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.variables,
                pass_fds=[information[1]],
                start_new_session=True,
                cwd="/",
            )
        os.close(information[1])
        self.first_process = await read_first_process(information[0])

    async def wait(self) -> int:
        """Its exit code; 128 + n after signal n."""
        assert self.process is not None
        code = await self.process.wait()
        self.first_process = 0
        return code if code >= 0 else 128 - code

    async def end(self, grace: float) -> bool:
        """Gracefully: preStop and the image's signal, then SIGKILL. Returns whether it ended within `grace` seconds."""
        if self.process is None or not self.running:
            return True
        deadline = asyncio.get_running_loop().time() + grace
        hook = ((self.manifest.get("lifecycle") or {}).get("preStop") or {}) if grace else {}
        if "exec" in hook:
            await self.exec(hook["exec"]["command"], grace)
        elif "sleep" in hook:
            await asyncio.sleep(min(grace, hook["sleep"]["seconds"]))
        with contextlib.suppress(ProcessLookupError):
            if self.first_process:
                os.kill(self.first_process, signal.Signals[self.image.stop_signal if self.image else "SIGTERM"])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), max(0.1, deadline - asyncio.get_running_loop().time()))
        in_time = not self.running
        self.kill()
        await self.process.wait()
        return in_time

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self.process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first_process or self.process.pid, signal.SIGKILL)

    async def exec(self, words: Sequence[str], seconds: float) -> tuple[int, str, str]:
        """Run a command in it. Returns its code (124 when its time was over), output and errors."""
        if not self.first_process:
            return 126, "", "the container does not run"
        process = await asyncio.create_subprocess_exec(
            *exec_command(self.first_process, words, self.who),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.variables,
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
