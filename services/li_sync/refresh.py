"""refresh: a restart of LI's Synapse, after which it is current whatever has been missed."""

import datetime
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from services.li_sync.postgres import Problem
from services.li_sync.settings import Refresh, Workload, read_secret

_REQUEST_SECONDS = 10


def refresh(settings: Refresh, step: Callable[[str], None]) -> Mapping[str, Any]:
    """Restart LI's Synapse and wait until it serves. Raises Problem."""
    begin = time.monotonic()
    step("restarting LI's Synapse")
    if settings.workload:
        _roll_out(settings.workload, settings.seconds)
    else:
        _run(settings.command or [], settings.seconds)
    step("waiting for LI's Synapse")
    while not _healthy(settings.health):
        if time.monotonic() > begin + settings.seconds:
            raise Problem(f"LI's Synapse does not answer at {settings.health} within {settings.seconds:.0f} s: see its log")
        time.sleep(0.2)
    return {"restart_seconds": round(time.monotonic() - begin, 3)}


def _run(command: list[str], seconds: float) -> None:
    try:
        run = subprocess.run(command, timeout=seconds, check=False, capture_output=True, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"refresh.command failed: {type(error).__name__}") from None
    if run.returncode:
        raise Problem(f"refresh.command ended with code {run.returncode}: {(run.stderr or run.stdout).strip()[-300:]}")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _roll_out(workload: Workload, seconds: float) -> None:
    """What `kubectl rollout restart` and `kubectl rollout status` do."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    annotation = {"kubectl.kubernetes.io/restartedAt": now}
    document = _api(workload, "PATCH", {"spec": {"template": {"metadata": {"annotations": annotation}}}})
    generation, deadline = document["metadata"]["generation"], time.monotonic() + seconds
    while not _rolled_out(_api(workload, "GET"), generation):
        if time.monotonic() > deadline:
            raise Problem(f"{workload.kind}/{workload.name} is not rolled out within {seconds:.0f} s: see its pods")
        time.sleep(0.5)


def _rolled_out(document: Mapping[str, Any], generation: int) -> bool:
    status, wanted = document.get("status", {}), document["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= generation
        and status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def _api(workload: Workload, method: str, patch: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    url = f"{workload.api}/apis/apps/v1/namespaces/{workload.namespace}/{workload.kind}/{workload.name}"
    headers = {
        "Authorization": f"Bearer {read_secret(workload.account / 'token')}",
        "Content-Type": "application/strategic-merge-patch+json",
    }
    request = urllib.request.Request(url, method=method, headers=headers, data=json.dumps(patch).encode() if patch else None)
    certificate = workload.account / "ca.crt"
    context = ssl.create_default_context(cafile=str(certificate)) if certificate.exists() else None
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS, context=context) as answer:
            document: Mapping[str, Any] = json.load(answer)
            return document
    except urllib.error.HTTPError as error:
        raise Problem(
            f"the Kubernetes API answers {error.code} to {method} {workload.kind}/{workload.name}: li_sync needs the right to get and patch it"
        ) from None
    except (OSError, ValueError) as error:
        raise Problem(f"the Kubernetes API does not answer: {type(error).__name__}") from None
