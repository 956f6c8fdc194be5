"""Redis Sentinel: what the rendered files say, and what the start-up scripts do with the answers of Sentinels that a stub gives."""

import shutil
import subprocess
from pathlib import Path

import pytest
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.redis.configuration import Member, RedisSpec, members, proxy_files, server_files
from kit.quantities import Bytes, mib

MEMORY = mib(128)
PASSWORD = "a-good.password_of~48"


def spec(replicas: int = 3, memory: Bytes = MEMORY) -> RedisSpec:
    return RedisSpec(members("redis", replicas, lambda pod: f"{pod}.matrix.svc.cluster.local."), memory)


odd_sizes = st.integers(1, 6).map(lambda half: 2 * half + 1)


# The specification.


@given(st.integers(1, 10).map(lambda half: 2 * half))
def test_an_even_number_of_sentinels_is_refused_with_the_reason(replicas: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^{replicas} Sentinels: the number must be odd. A majority of {replicas} is {replicas // 2 + 1}"
    ):
        spec(replicas)


def test_a_lone_sentinel_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="nobody is left to notice its loss"):
        spec(1)


def test_two_members_with_one_address_are_refused() -> None:
    one = Member("redis-0", "redis-0.")
    with pytest.raises(ValueError, match="two members are one"):
        RedisSpec((one, evolve(one, name="redis-1"), Member("redis-2", "redis-2.")), mib(64))


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64Mi"):
        spec(memory=mib(32))


@given(odd_sizes)
def test_two_majorities_always_share_a_sentinel(replicas: int) -> None:
    assert 2 * spec(replicas).majority == replicas + 1


# The files.


def directives(text: str) -> list[list[str]]:
    """The lines of a configuration file that say something, as words."""
    return [line.split() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


@given(odd_sizes)
def test_sentinel_may_resolve_names_before_it_reads_the_first(replicas: int) -> None:
    lines = directives(server_files(spec(replicas))["sentinel.conf"])
    monitor = lines.index(["sentinel", "monitor", "primary", "redis-0.matrix.svc.cluster.local.", "6379", str(replicas // 2 + 1)])
    assert lines.index(["sentinel", "resolve-hostnames", "yes"]) < monitor
    assert lines.index(["sentinel", "announce-hostnames", "yes"]) < monitor


@given(st.integers(64, 65536).map(mib))
def test_what_a_server_may_fill_is_less_than_its_container_has(memory: Bytes) -> None:
    settings = {line[0]: line[1] for line in directives(server_files(spec(memory=memory))["server.conf"])}
    assert sum(int(settings[name]) for name in ("maxmemory", "maxmemory-clients", "repl-backlog-size")) < memory.count


@given(odd_sizes)
def test_a_server_is_offered_only_by_a_majority_for_it_and_none_for_another(replicas: int) -> None:
    lines = directives(proxy_files(spec(replicas))["haproxy.cfg"])
    pods = [f"redis-{ordinal}" for ordinal in range(replicas)]
    for pod in pods:
        assert ["acl", pod, f"nbsrv(naming-{pod})", "ge", str(replicas // 2 + 1)] in lines
        others = [f"!{other}" for other in pods if other != pod]
        assert ["http-request", "return", "status", "200", "if", "{", "path", f"/{pod}", "}", pod, *others] in lines


def test_the_proxy_looks_for_the_exact_answer_of_a_sentinel() -> None:
    """`redis-1` must not be taken for the `redis-11` that a Sentinel names."""
    text = proxy_files(spec(13))["haproxy.cfg"]
    answers = [line.split('"')[1].replace("\\$", "$").encode().decode("unicode_escape") for line in text.splitlines() if '"*2' in line]
    assert answers[1] == "*2\r\n$33\r\nredis-1.matrix.svc.cluster.local.\r\n$4\r\n6379\r\n"
    assert not [(one, other) for one in answers for other in answers if one is not other and one in other]


def test_every_script_is_posix_shell() -> None:
    for name, text in (server_files(spec()) | proxy_files(spec())).items():
        if name.endswith(".sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)
            if shellcheck := shutil.which("shellcheck"):
                subprocess.run(
                    [shellcheck, "--shell", "sh", "--exclude", "SC1091,SC2034,SC2154", "-"], input=text, text=True, check=True, timeout=30
                )


# The scripts.

CLIENT = """#!/bin/sh
# valkey-cli -h HOST -p PORT [COMMAND ...]: what the file HOST.opinion or HOST.failover says; nobody answers where there is none.
test "$REDISCLI_AUTH" = "$(cat "$(dirname "$0")/password")" || exit 9
case "$*" in
    *FAILOVER*) cat "$(dirname "$0")/$2failover" ;;
    *) cat "$(dirname "$0")/$2opinion" ;;
esac
"""
SERVER = """#!/bin/sh
# valkey-server FILE [--sentinel]: prints the file and its mode.
cat "$1"
echo "mode $(stat -c %a "$1") $2"
env | grep -c PASSWORD= | sed "s/^/passwords in the environment: /"
"""


@frozen
class Sandbox:
    """A pod's file system: the rendered files in `config`, its volume in `data`, and stubs for the programs."""

    folder: Path
    spec: RedisSpec = field(factory=spec)

    def __attrs_post_init__(self) -> None:
        for part in ("config", "data", "run"):
            (self.folder / part).mkdir()
        rendered = {f"config/{name}": text for name, text in server_files(self.spec).items()}
        for name, text in (rendered | {"cli": CLIENT, "server": SERVER, "password": PASSWORD + "\n"}).items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def opinion(self, pod: str, primary: str, epoch: int) -> None:
        """Let the Sentinel of a pod answer. A leader of a failover still has the old address in SENTINEL MASTER, so that one is nonsense here."""
        host = f"{primary}.matrix.svc.cluster.local."
        answer = f"name\nprimary\nip\nnonsense\nport\n1\nflags\nmaster\nconfig-epoch\n{epoch}\nquorum\n2\n{host}\n6379\n"
        (self.folder / f"{pod}.matrix.svc.cluster.local.opinion").write_text(answer)

    def failover(self, **answers: str) -> None:
        for pod, answer in answers.items():
            (self.folder / f"{pod.replace('_', '-')}.matrix.svc.cluster.local.failover").write_text(answer + "\n")

    def run(self, script: str, *words: str, pod: str = "redis-0", seconds: float = 20) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "POD_NAME": pod,
            "REDIS_DATA": str(self.folder / "data"),
            "REDIS_RUN": str(self.folder / "run"),
            "REDIS_PASSWORD_FILE": str(self.folder / "password"),
            "REDIS_SERVER": str(self.folder / "server"),
            "REDIS_CLI": str(self.folder / "cli"),
        }
        command = ["sh", str(self.folder / "config" / script), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def host(ordinal: int) -> str:
    return f"redis-{ordinal}.matrix.svc.cluster.local."


def test_a_server_follows_the_primary_of_the_highest_epoch(sandbox: Sandbox) -> None:
    sandbox.opinion("redis-0", "redis-1", epoch=9)
    sandbox.opinion("redis-1", "redis-1", epoch=9)
    sandbox.opinion("redis-2", "redis-2", epoch=10)
    printed = sandbox.run("start-server.sh").stdout
    assert f"replicaof {host(2)} 6379" in printed.splitlines()


def test_a_server_does_not_start_while_a_minority_answers(sandbox: Sandbox) -> None:
    sandbox.opinion("redis-1", "redis-1", epoch=3)
    with pytest.raises(subprocess.TimeoutExpired) as waiting:
        sandbox.run("start-server.sh", seconds=3)
    assert not waiting.value.stdout
    assert b"waiting: fewer than 2 Sentinels answer" in (waiting.value.stderr or b"")


def test_the_named_primary_starts_as_primary_only_when_a_majority_knows_no_other(sandbox: Sandbox) -> None:
    for pod in ("redis-0", "redis-1", "redis-2"):
        sandbox.opinion(pod, "redis-0", epoch=3)
    sandbox.failover(redis_0="NOGOODSLAVE No suitable replica to promote", redis_2="NOGOODSLAVE No suitable replica to promote")
    printed = sandbox.run("start-server.sh")
    assert printed.returncode == 0
    assert not [line for line in printed.stdout.splitlines() if line.startswith("replicaof")]


@pytest.mark.parametrize(
    "answers",
    [
        {"redis_0": "NOGOODSLAVE No suitable replica to promote"},
        {"redis_0": "NOGOODSLAVE No suitable replica to promote", "redis_1": "NOGOODSLAVE No", "redis_2": "OK"},
        {"redis_0": "NOGOODSLAVE No suitable replica to promote", "redis_2": "INPROG Failover already in progress"},
        {},
    ],
    ids=["a minority refuses", "one agrees", "one is at it", "none answers"],
)
def test_the_named_primary_waits_while_another_may_take_over(sandbox: Sandbox, answers: dict[str, str]) -> None:
    for pod in ("redis-0", "redis-1", "redis-2"):
        sandbox.opinion(pod, "redis-0", epoch=3)
    sandbox.failover(**answers)
    with pytest.raises(subprocess.TimeoutExpired) as waiting:
        sandbox.run("start-server.sh", seconds=3)
    assert not waiting.value.stdout


def test_a_server_announces_its_name_and_keeps_the_password_to_itself(sandbox: Sandbox) -> None:
    sandbox.opinion("redis-1", "redis-1", epoch=1)
    sandbox.opinion("redis-2", "redis-1", epoch=1)
    result = sandbox.run("start-server.sh", pod="redis-2")
    lines = result.stdout.splitlines()
    assert f"replica-announce-ip {host(2)}" in lines
    assert f"requirepass {PASSWORD}" in lines
    assert f"masterauth {PASSWORD}" in lines
    assert "mode 600 " in lines
    assert "passwords in the environment: 0" in lines
    assert PASSWORD not in result.stderr


REMEMBERED = f"""# Generated by CONFIG REWRITE
sentinel monitor primary {host(2)} 6379 9
sentinel myid 0123456789012345678901234567890123456789
requirepass "an-old-password"
sentinel auth-pass primary an-old-password
sentinel down-after-milliseconds primary 60000
user default on #d380dc09fbc3dcbc4988473792e56dcbe24be9e57696b72bb9d2ddc4200fcade ~* &* +@all
sentinel config-epoch primary 7
sentinel leader-epoch primary 8
sentinel known-replica primary {host(0)} 6379
sentinel known-replica primary {host(4)} 6379
sentinel known-sentinel primary {host(1)} 26379 "2440d5c71279bcb0ecfd2d0e03bb7449895daf5b"
sentinel known-sentinel primary {host(4)} 26379 "8f5c1a06949dbfe4f1853bfb75414741248891f2"
sentinel current-epoch 8
"""


def started_sentinel(sandbox: Sandbox, pod: str = "redis-0") -> list[str]:
    """The lines of the configuration that the Sentinel of a pod is started with."""
    result = sandbox.run("start-sentinel.sh", pod=pod)
    assert result.returncode == 0, result.stderr
    assert PASSWORD not in result.stderr
    return [line for line in result.stdout.splitlines() if not line.startswith("#")]


def test_a_sentinel_resumes_with_its_memory_and_with_the_settings_and_password_of_today(sandbox: Sandbox) -> None:
    (sandbox.folder / "data" / "sentinel.conf").write_text(REMEMBERED)
    sandbox.opinion("redis-1", "redis-1", epoch=9)
    lines = started_sentinel(sandbox)
    assert f"sentinel monitor primary {host(2)} 6379 2" in lines
    assert [line for line in lines if "epoch" in line] == [
        "sentinel config-epoch primary 7",
        "sentinel leader-epoch primary 8",
        "sentinel current-epoch 8",
    ]
    assert f"sentinel known-replica primary {host(0)} 6379" in lines
    assert f'sentinel known-sentinel primary {host(1)} 26379 "2440d5c71279bcb0ecfd2d0e03bb7449895daf5b"' in lines
    assert "sentinel down-after-milliseconds primary 3000" in lines
    assert f"requirepass {PASSWORD}" in lines
    assert not [line for line in lines if "an-old-password" in line or line.startswith("user ")]
    assert "mode 600 --sentinel" in lines
    assert "passwords in the environment: 0" in lines


def test_a_sentinel_forgets_pods_that_the_set_has_no_more(sandbox: Sandbox) -> None:
    (sandbox.folder / "data" / "sentinel.conf").write_text(REMEMBERED)
    assert not [line for line in started_sentinel(sandbox) if host(4) in line]


def test_a_sentinel_whose_primary_is_gone_from_the_set_asks_the_others(sandbox: Sandbox) -> None:
    (sandbox.folder / "data" / "sentinel.conf").write_text(REMEMBERED.replace(f"monitor primary {host(2)}", f"monitor primary {host(4)}"))
    sandbox.opinion("redis-1", "redis-1", epoch=9)
    lines = started_sentinel(sandbox)
    assert f"sentinel monitor primary {host(1)} 6379 2" in lines
    assert "sentinel current-epoch 8" in lines


def test_a_sentinel_without_memory_asks_the_others(sandbox: Sandbox) -> None:
    sandbox.opinion("redis-2", "redis-1", epoch=4)
    assert f"sentinel monitor primary {host(1)} 6379 2" in started_sentinel(sandbox)


def test_all_sentinels_of_a_new_set_take_the_first_member(sandbox: Sandbox) -> None:
    assert f"sentinel monitor primary {host(0)} 6379 2" in started_sentinel(sandbox, pod="redis-2")


def test_a_sentinel_keeps_its_identity_when_its_volume_is_lost(sandbox: Sandbox) -> None:
    sandbox.opinion("redis-1", "redis-1", epoch=1)
    identities = []
    for pod in ("redis-0", "redis-2", "redis-0"):
        identities += [line for line in started_sentinel(sandbox, pod) if line.startswith("sentinel myid ")]
        (sandbox.folder / "data" / "sentinel.conf").unlink()
    first, other, again = identities
    assert first == again != other
    assert len(first.split()[2]) == 40


@pytest.mark.parametrize("password", ["", "a b", 'quo"te', "new\nline", "percent%", "dollar$"])
def test_a_password_that_would_need_quoting_is_refused_and_not_shown(sandbox: Sandbox, password: str) -> None:
    (sandbox.folder / "password").write_text(password)
    for name, text in proxy_files(sandbox.spec).items():
        (sandbox.folder / "config" / name).write_text(text)
    for script in ("start-server.sh", "start-sentinel.sh", "start-proxy.sh"):
        result = sandbox.run(script)
        assert result.returncode == 1
        assert "the password must be letters, digits and . _ ~ - only, and not empty" in result.stderr
        assert not password or password not in result.stdout + result.stderr


def test_a_pod_that_is_not_of_the_set_is_told_so(sandbox: Sandbox) -> None:
    result = sandbox.run("start-server.sh", pod="redis-3")
    assert result.returncode == 1
    assert "redis-3 is none of the pods" in result.stderr
