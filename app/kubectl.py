"""What is asked of a cluster: by the kubectl of the person who runs a command, with their rights."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from attrs import frozen

from app.errors import UserError

_OURS = Path(__file__).resolve().parents[1] / ".tools" / "bin"


class KubectlError(UserError):
    """The cluster has refused something, or cannot be asked; in kubectl's own words, which hold no value of a Secret."""


@frozen
class Kubectl:
    """A cluster. `context`: that of the kubeconfig; None for the current one."""

    context: str | None = None

    def read(self, *arguments: str) -> Any:
        """What kubectl prints, read."""
        return json.loads(self.run(*arguments, "--output", "json", "--request-timeout", "20s"))

    def readable(self, *words: str) -> list[Any]:
        """Objects, or none where the cluster has no such kind, or where one may not read it."""
        try:
            items: list[Any] = self.read("get", *words)["items"]
        except KubectlError:
            return []
        return items

    def run(self, *arguments: str, given: str | None = None, seconds: float = 60) -> str:
        """What kubectl prints. `given`: on its standard input."""
        program = shutil.which("kubectl") or shutil.which("kubectl", path=str(_OURS))
        if program is None:
            raise KubectlError("there is no kubectl: install it, or put .tools/bin of this repository on PATH")
        command = [program, *(["--context", self.context] if self.context else []), *arguments]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise KubectlError(f"the cluster does not answer within {seconds:.0f} seconds") from None
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout
