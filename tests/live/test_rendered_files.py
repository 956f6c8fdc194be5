"""What `kubectl kustomize` prints for every profile is laid out as the pods would see it and read by the programs themselves."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.synapse_site import synapse_python
from tests.live.test_routing import haproxy  # noqa: F401 - a fixture

pytestmark = pytest.mark.live

PROFILES = [profile.name for profile in profiles()]
Pod = dict[str, Any]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(read_site(ROOT / "tests" / "site.yaml"), profiles()))
    return folder


@pytest.fixture(scope="module", params=PROFILES)
def objects(request: pytest.FixtureRequest, dist: Path) -> list[dict[str, Any]]:
    return build(dist / "overlays" / request.param)


def pods(objects: list[dict[str, Any]], name: str) -> dict[str, Pod]:
    """Workload to pod template, of one component."""
    return {
        o["metadata"]["name"]: o["spec"]["template"]["spec"]
        for o in objects
        if o["kind"] in {"StatefulSet", "Deployment"} and o["metadata"]["labels"]["app.kubernetes.io/name"] == name
    }


def lay_out(objects: list[dict[str, Any]], pod: Pod, root: Path) -> dict[str, str]:
    """Write what the first container of a pod finds at its mounts, below `root`. Returns mount path to folder."""
    config = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    for path, name in mounts.items():
        folder = root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        volume = volumes.get(name, {})
        if "configMap" in volume:
            for key, text in config[volume["configMap"]["name"]].items():
                (folder / key).write_text(text)
        for item in volume.get("secret", {}).get("items", []):
            (folder / item["path"]).write_text(_secret(item["key"]))
    # The paths in the files are the pod's.
    for file in (file for file in root.rglob("*") if file.is_file()):
        file.write_text(moved(file.read_text(), mounts, root))
    return dict.fromkeys(mounts, "")


def moved(text: str, mounts: dict[str, str], root: Path) -> str:
    """The same text, with every path below a mount as it is below `root`."""
    paths = "|".join(map(re.escape, sorted(mounts, key=len, reverse=True)))
    return re.sub(rf"(?<![\w./])({paths})(?=/|\b)", lambda found: f"{root}{found[1]}", text)


def _secret(key: str) -> str:
    if key == "signing_key":
        return f"ed25519 a_1 {base64.b64encode(os.urandom(32)).decode().rstrip('=')}\n"
    return f"not-so-secret-{key}"


def test_synapse_reads_the_files_of_every_process(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    commands: dict[str, list[str]] = {}
    for name, pod in pods(objects, "synapse").items():
        root = tmp_path / name
        mounts = lay_out(objects, pod, root)
        (script,) = pod["containers"][0]["args"]
        (root / "run/synapse").mkdir(parents=True, exist_ok=True)
        (root / "run/synapse/name.yaml").write_text(f"worker_name: {name}-0\n")
        words = moved(script, mounts, root).splitlines()[-1].split()
        commands[name] = words[words.index("--no-secrets-in-config") :]
    assert len(commands) == 23
    reader = [synapse_python(), str(Path(__file__).with_name("synapse_config_reader.py"))]
    run = subprocess.run(reader, input=json.dumps(commands) + "\n", capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    answers: dict[str, dict[str, Any]] = json.loads(run.stdout)
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert answers["synapse"]["name"] == "master"
    assert all(answers[name]["name"] == f"{name}-0" for name in commands if name != "synapse")


def test_haproxy_accepts_its_configuration_without_a_warning(objects: list[dict[str, Any]], haproxy: str, tmp_path: Path) -> None:  # noqa: F811
    for component, workload, folder in (("haproxy", "haproxy", "/etc/haproxy"), ("redis", "redis-proxy", "/etc/haproxy")):
        root = tmp_path / workload
        lay_out(objects, pods(objects, component)[workload], root)
        command = [haproxy, "-c", "-dW", "-f", str(root / folder.lstrip("/") / "haproxy.cfg")]
        environment = {**os.environ, "REDIS_PASSWORD": "not-so-secret"}
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert run.returncode == 0, run.stderr
