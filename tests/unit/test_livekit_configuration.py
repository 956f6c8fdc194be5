"""LiveKit's settings and how it is started."""

import os
import subprocess
from pathlib import Path

import yaml
from attrs import evolve

from kit.network import Endpoint, Pods, Port
from main_instance.calls.options import CallsOptions
from main_instance.coturn.configuration import Relay
from main_instance.livekit.configuration import LiveKitSpec, configuration, settings

SPEC = LiveKitSpec(
    calls=CallsOptions(),
    redis=Endpoint(Pods("redis-proxy", "matrix", ()), "redis.matrix.svc", 6379, Port("redis", 6379)),
    api_key="key",
    webhooks=("http://a:8080/sfu_webhook",),
    relays=(Relay("turn.example.com", 3478, "udp"), Relay("turn.example.com", 5349, "tls")),
)


def test_redis_is_what_follows_the_primary_and_shares_no_database_with_synapse() -> None:
    assert settings(SPEC)["redis"] == {"address": "redis.matrix.svc:6379", "db": 1}


def test_no_room_is_made_for_whoever_asks_and_no_stranger_is_asked_for_addresses() -> None:
    assert settings(SPEC)["room"] == {"auto_create": False}
    assert settings(SPEC)["rtc"]["use_external_ip"] is False


def test_clients_are_sent_to_the_site_s_own_turn_server_whose_secret_is_a_file() -> None:
    shared = {"host": "turn.example.com", "secret_file": "/secrets/turn/shared_secret"}
    assert settings(SPEC)["rtc"]["turn_servers"] == [shared | {"port": 3478, "protocol": "udp"}, shared | {"port": 5349, "protocol": "tls"}]


def test_the_file_says_what_the_settings_are_and_holds_no_secret() -> None:
    text = configuration(SPEC)["config.yaml"]
    assert yaml.safe_load(text) == settings(SPEC)
    assert "password" not in text
    assert "secret:" not in text
    assert "keys:" not in text


def started(tmp_path: Path, spec: LiveKitSpec) -> list[str]:
    """What LiveKit would be started with: its arguments, and the part of its environment that is not this process's."""
    for name, text in configuration(spec).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "password").write_text("p$x'y\n")
    (program := tmp_path / "livekit").write_text('#!/bin/sh\necho "$*"\nenv | grep -E "^(NODE_IP|LIVEKIT_REDIS)" | sort\n')
    program.chmod(0o755)
    environment = {"HOST_IP": "10.0.0.5", "REDIS_PASSWORD_FILE": str(tmp_path / "password"), "LIVEKIT": str(program)}
    command = ["sh", str(tmp_path / "start.sh")]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=20, check=True
    ).stdout.splitlines()


def test_it_listens_on_the_node_s_own_address_with_the_password_in_no_argument(tmp_path: Path) -> None:
    arguments, *environment = started(tmp_path, SPEC)
    assert arguments == f"--config {tmp_path}/config.yaml --bind 10.0.0.5"
    assert environment == ["LIVEKIT_REDIS_PASSWORD=p$x'y", "NODE_IP=10.0.0.5"]


def test_clients_are_told_the_address_by_which_they_reach_the_node(tmp_path: Path) -> None:
    spec = evolve(SPEC, calls=CallsOptions(public_addresses=(("10.0.0.4", "203.0.113.4"), ("10.0.0.5", "203.0.113.5"))))
    assert started(tmp_path, spec)[-1] == "NODE_IP=203.0.113.5"


def waiting(folder: Path, answers: str) -> subprocess.Popen[str]:
    """The script that waits for Redis. `answers`: what the client says, a shell script that may count by `$calls`."""
    for name, text in {**configuration(SPEC), "password": "of redis", "client": f'#!/bin/sh\ncalls="{folder}/calls"\n{answers}\n'}.items():
        (folder / name).write_text(text)
    (folder / "client").chmod(0o755)
    own = {
        "REDIS_CLI": f"{folder}/client",
        "REDIS_PASSWORD_FILE": f"{folder}/password",
        "REDIS_HOST": "redis.matrix.svc",
        "REDIS_PORT": "6379",
    }
    return subprocess.Popen(["sh", str(folder / "wait.sh")], env={**os.environ, **own}, stderr=subprocess.PIPE, text=True)


def test_it_begins_when_redis_answers_and_the_password_is_on_no_command_line(tmp_path: Path) -> None:
    asked = 'echo "$* $REDISCLI_AUTH" >>"$calls"; [ "$(wc -l <"$calls")" = 1 ] && echo "Connection refused" || echo PONG'
    with waiting(tmp_path, asked) as script:
        _, said = script.communicate(timeout=20)
    assert (script.returncode, said) == (0, "wait.sh: Redis at redis.matrix.svc:6379 does not answer yet\n")
    assert (tmp_path / "calls").read_text() == "-h redis.matrix.svc -p 6379 ping of redis\n" * 2


def test_a_pod_that_waits_for_redis_can_be_deleted_at_once(tmp_path: Path) -> None:
    with waiting(tmp_path, "echo LOADING") as script:
        assert script.stderr is not None
        assert "does not answer yet" in script.stderr.readline()
        script.terminate()
        # By itself: as the first process of a container it would not hear of it.
        assert script.wait(20) == 143
