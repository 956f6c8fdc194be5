"""What `kubectl kustomize` prints for every profile is laid out as the pods would see it and read by the programs themselves."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from services.li_sync.settings import read_settings
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
    shards = next(o["data"]["shards.yaml"] for o in objects if "shards.yaml" in (o.get("data") or {}))
    for name, pod in pods(objects, "synapse").items():
        root = tmp_path / name
        mounts = lay_out(objects, pod, root)
        # What the start writes: the process's name, and the list of writers that is in force.
        (root / "run/synapse").mkdir(parents=True, exist_ok=True)
        (root / "run/synapse/name.yaml").write_text(f"worker_name: {name}-0\n")
        (root / "run/synapse/shards.yaml").write_text(shards)
        words = [moved(word, mounts, root) for word in pod["containers"][0]["args"]]
        commands[name] = words[words.index("--no-secrets-in-config") :]
    assert len(commands) == 1 + 17
    reader = [synapse_python(), str(Path(__file__).with_name("synapse_config_reader.py"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        reader, input=json.dumps(commands) + "\n", env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    answers: dict[str, dict[str, Any]] = json.loads(run.stdout)
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert answers["synapse"]["name"] == "master"
    assert all(answers[name]["name"] == f"{name}-0" for name in commands if name != "synapse")


def test_the_other_instances_synapse_follows_mains_writers_and_does_nothing_by_itself(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    pod = pods(objects, "synapse-li")["synapse-li"]
    mounts = lay_out(objects, pod, tmp_path)
    words = moved(pod["containers"][0]["args"][0], mounts, tmp_path).splitlines()[-1].split()
    assert words[3] == "main-master"
    reader = [synapse_python(), str(Path(__file__).with_name("synapse_config_reader.py"))]
    asked = json.dumps({"li": words[words.index("--no-secrets-in-config") :]})
    run = subprocess.run(reader, input=asked + "\n", capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    answer = json.loads(run.stdout)["li"]
    assert "error" not in answer, answer
    assert (answer["name"], answer["duties"], answer["federates"], answer["media"]) == ("master", [], False, True)
    assert set(answer["writes"]) & {"events", "receipts", "account_data", "push_rules"} == set()
    assert all(port == 1 for _, port in answer["instance_map"].values())
    shards = next(yaml.safe_load(o["data"]["shards.yaml"]) for o in objects if "shards.yaml" in (o.get("data") or {}))
    own = yaml.safe_load((tmp_path / "etc/synapse/homeserver/homeserver.yaml").read_text())["stream_writers"]
    assert {stream: ["master" if name == "main-master" else name for name in names] for stream, names in own.items()} == {
        stream: shards["stream_writers"][stream] for stream in own
    }


def test_li_sync_and_the_key_vault_read_their_settings(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    sync, vault = pods(objects, "li-sync")["li-sync"], pods(objects, "key-vault")["key-vault"]
    lay_out(objects, sync, tmp_path / "sync")
    settings = read_settings(tmp_path / "sync/etc/li-sync/settings.yaml")
    assert (settings.subscription.name, settings.li.reserved_prefix, settings.main.owner.channel_binding) == ("li", "li-", "require")
    lay_out(objects, vault, tmp_path / "vault")
    environment = {**os.environ, "KEY_VAULT_SETTINGS": str(tmp_path / "vault/etc/key-vault/settings.yaml")}
    command = [sys.executable, "-m", "services.key_vault", "check"]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    # What it says is wrong are the contents of the tests' Secrets, which are no keys; nothing else is.
    problems = run.stderr.splitlines()[1:]
    assert {problem.partition(":")[0] for problem in problems} <= {
        "authority_public_keys_file",
        "signing_key_file",
        "secret_key_file",
        *TOKENS,
    }


TOKENS = {f"{name}_token_file" for name in ("intake", "proxy", "access")}


def test_the_proxy_of_the_other_instance_has_no_mistake(objects: list[dict[str, Any]], haproxy: str, tmp_path: Path) -> None:  # noqa: F811
    lay_out(objects, pods(objects, "li-proxy")["li-proxy"], tmp_path)
    script = tmp_path / "etc/haproxy/access.lua"
    script.write_text(script.read_text().replace('"/secrets', f'"{tmp_path}/secrets'))
    command = [haproxy, "-c", "-dW", "-f", str(tmp_path / "etc/haproxy/haproxy.cfg")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def test_haproxy_accepts_its_configuration_without_a_warning(objects: list[dict[str, Any]], haproxy: str, tmp_path: Path) -> None:  # noqa: F811
    for component, workload, folder in (("haproxy", "haproxy", "/etc/haproxy"), ("redis", "redis-proxy", "/etc/haproxy")):
        root = tmp_path / workload
        lay_out(objects, pods(objects, component)[workload], root)
        command = [haproxy, "-c", "-dW", "-f", str(root / folder.lstrip("/") / "haproxy.cfg")]
        environment = {**os.environ, "REDIS_PASSWORD": "not-so-secret"}
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert run.returncode == 0, run.stderr
