"""What each task has done: one JSON file a task on a volume, whole at every moment, whenever the program or its machine dies."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cattrs
from attrs import evolve, field, frozen

from services.li_sync.postgres import Problem

State = Literal["running", "succeeded", "failed"]


@frozen
class Checkpoint:
    """The last run of a task, and the last that succeeded. Times are Unix seconds."""

    task: str
    state: State
    started: float
    finished: float | None = None
    step: str = ""
    """What it is doing, or was doing when it ended."""
    error: str = ""
    facts: Mapping[str, Any] = field(factory=dict)
    """What the last run that succeeded found: positions, counts."""
    succeeded: float | None = None
    """When the last run that succeeded ended."""
    seconds: float | None = None
    """How long that took."""
    runs: int = 0
    failures: int = 0
    """Runs that ended in an error."""
    interruptions: int = 0
    """Runs whose program was killed, or whose machine died."""


@frozen
class Checkpoints:
    """The folder of checkpoints."""

    folder: Path

    def read(self, task: str) -> Checkpoint | None:
        """A task's checkpoint; None where it has never run. Raises Problem for a file that is none."""
        path = self._path(task)
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        try:
            return cattrs.structure(json.loads(text), Checkpoint)
        except Exception as error:
            raise Problem(f"{path} is no checkpoint ({type(error).__name__}): move it away") from None

    def begin(self, task: str) -> Checkpoint:
        """Note that a run has begun. The caller holds the task's lock, so a run that is still noted as such was interrupted."""
        before = self.read(task)
        now = time.time()
        if before is None:
            return self._write(Checkpoint(task, "running", now, runs=1))
        interrupted = before.state == "running"
        return self._write(
            evolve(
                before,
                state="running",
                started=now,
                finished=None,
                step="",
                runs=before.runs + 1,
                interruptions=before.interruptions + interrupted,
            )
        )

    def step(self, checkpoint: Checkpoint, step: str) -> Checkpoint:
        """Note what the run is doing."""
        return self._write(evolve(checkpoint, step=step))

    def succeed(self, checkpoint: Checkpoint, facts: Mapping[str, Any]) -> Checkpoint:
        """Note that the run has done all that it was for."""
        now = time.time()
        return self._write(
            evolve(
                checkpoint,
                state="succeeded",
                finished=now,
                succeeded=now,
                seconds=round(now - checkpoint.started, 3),
                facts=facts,
                error="",
                step="",
            )
        )

    def fail(self, checkpoint: Checkpoint, error: str) -> Checkpoint:
        """Note that the run has failed, and of what."""
        return self._write(evolve(checkpoint, state="failed", finished=time.time(), error=error[:2000], failures=checkpoint.failures + 1))

    def _write(self, checkpoint: Checkpoint) -> Checkpoint:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(checkpoint.task)
        part = path.with_suffix(".part")
        with part.open("w") as file:
            json.dump(cattrs.unstructure(checkpoint), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return checkpoint

    def _path(self, task: str) -> Path:
        return self.folder / f"{task}.json"
