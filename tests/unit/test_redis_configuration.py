"""Redis Sentinel: what the rendered files say, and what the start-up scripts do with the answers of Sentinels that a stub gives."""

import os
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


def test_the_proxy_looks_for_a_whole_address_in_the_answer_of_a_sentinel() -> None:
    """10.0.0.1 must not be taken for the 10.0.0.11 that a Sentinel names, nor port 637 for 6379."""
    answers = [line.split('"')[1] for line in proxy_files(spec())["haproxy.cfg"].splitlines() if "REDIS_" in line and "expect" in line]
    assert answers == [rf"\r\n${{REDIS_{ordinal}}}\r\n\$4\r\n6379\r\n" for ordinal in range(3)]


def test_every_script_is_posix_shell() -> None:
    for name, text in (server_files(spec()) | proxy_files(spec())).items():
        if name.endswith(".sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)
            if shellcheck := shutil.which("shellcheck"):
                subprocess.run(
                    [shellcheck, "--shell", "sh", "--exclude", "SC1091,SC2034,SC2154", "-"], input=text, text=True, check=True, timeout=30
                )


# The scripts.

# 10.0.0.1 is the address of redis-1. Without the file `dns` no name has an address.
GETENT = """#!/bin/sh
test -f "$(dirname "$0")/../dns" || exit 2
echo "$2" | sed -n 's/^redis-\\([0-9]*\\)\\.matrix\\.svc\\.cluster\\.local\\.$/10.0.0.\\1      &/p' | grep .
"""
CLIENT = """#!/bin/sh
# valkey-cli -h ADDRESS -p PORT [COMMAND ...]: what the file ADDRESS.opinion, .failover or .size says; nobody answers where there is none.
test "$REDISCLI_AUTH" = "$(cat "$(dirname "$0")/password")" || exit 9
case "$*" in
    *FAILOVER*) cat "$(dirname "$0")/$2.failover" ;;
    *DBSIZE*) cat "$(dirname "$0")/$2.size" ;;
    *) cat "$(dirname "$0")/$2.opinion" ;;
esac
"""
SERVER = """#!/bin/sh
# valkey-server FILE [--sentinel]: prints the file and its mode.
cat "$1"
echo "mode $(stat -c %a "$1") $2"
env | grep -c PASSWORD= | sed "s/^/passwords in the environment: /"
"""
SLEEP = """#!/bin/sh
# sleep SECONDS: takes no time, and ends who calls it for the eleventh time: that one waits.
echo >>"$(dirname "$0")/../slept"
test "$(wc -l <"$(dirname "$0")/../slept")" -le 10 || exit 75
"""
REFUSAL = "NOGOODSLAVE No suitable replica to promote"


def address(ordinal: int) -> str:
    """Of a pod's Service."""
    return f"10.0.0.{ordinal}"


@frozen
class Sandbox:
    """A pod's file system: the rendered files in `config`, its volume in `data`, and stubs for the programs."""

    folder: Path
    spec: RedisSpec = field(factory=spec)

    def __attrs_post_init__(self) -> None:
        for part in ("config", "data", "run", "bin"):
            (self.folder / part).mkdir()
        rendered = {f"config/{name}": text for name, text in server_files(self.spec).items()}
        for name, text in (
            rendered | {"cli": CLIENT, "server": SERVER, "bin/getent": GETENT, "bin/sleep": SLEEP, "password": PASSWORD + "\n", "dns": ""}
        ).items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def opinion(self, ordinal: int, primary: int, epoch: int) -> None:
        """Let the Sentinel of a pod name a primary. A leader of a failover still has the old address in SENTINEL MASTER: nonsense here."""
        answer = f"name\nprimary\nip\nnonsense\nport\n1\nflags\nmaster\nconfig-epoch\n{epoch}\nquorum\n2\nPONG\n{address(primary)}\n6379\n"
        (self.folder / f"{address(ordinal)}.opinion").write_text(answer)

    def failover(self, answers: dict[int, str]) -> None:
        """What the Sentinels answer to a request for another primary."""
        for ordinal, answer in answers.items():
            (self.folder / f"{address(ordinal)}.failover").write_text(answer + "\n")

    def keys(self, sizes: dict[int, int]) -> None:
        """How many keys the other servers have."""
        for ordinal, size in sizes.items():
            (self.folder / f"{address(ordinal)}.size").write_text(f"{size}\n")

    def run(self, script: str, *words: str, pod: str = "redis-0") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "POD_NAME": pod,
            "REDIS_DATA": str(self.folder / "data"),
            "REDIS_RUN": str(self.folder / "run"),
            "REDIS_PASSWORD_FILE": str(self.folder / "password"),
            "REDIS_SERVER": str(self.folder / "server"),
            "REDIS_CLI": str(self.folder / "cli"),
        }
        command = ["sh", str(self.folder / "config" / script), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)

    def wait(self, script: str) -> str:
        """What a script says that does not get beyond waiting, and so starts nothing."""
        run = self.run(script)
        assert (run.returncode, run.stdout) == (75, "")
        return run.stderr


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_a_server_follows_the_primary_of_the_highest_epoch(sandbox: Sandbox) -> None:
    sandbox.opinion(0, 1, epoch=9)
    sandbox.opinion(1, 1, epoch=9)
    sandbox.opinion(2, 2, epoch=10)
    printed = sandbox.run("start-server.sh").stdout
    assert f"replicaof {address(2)} 6379" in printed.splitlines()


def test_a_pod_waits_for_the_addresses_of_all(sandbox: Sandbox) -> None:
    (sandbox.folder / "dns").unlink()
    for script in ("start-server.sh", "start-sentinel.sh"):
        assert "redis-0.matrix.svc.cluster.local. has no address yet" in sandbox.wait(script)
        (sandbox.folder / "slept").unlink()


def test_probes_and_the_hook_before_a_stop_need_no_dns(sandbox: Sandbox) -> None:
    sandbox.opinion(1, 1, epoch=1)
    sandbox.opinion(2, 1, epoch=1)
    assert sandbox.run("start-server.sh").returncode == 0
    (sandbox.folder / "dns").unlink()
    (sandbox.folder / "6379.opinion").write_text("PONG\n")
    assert sandbox.run("check.sh", "server", "alive").returncode == 0
    (sandbox.folder / "6379.opinion").write_text("master\n")
    sandbox.failover({2: "OK"})
    assert sandbox.run("stop-server.sh").stderr == "stop-server.sh: asked for another primary: OK\n"


def test_a_server_does_not_start_while_a_minority_answers(sandbox: Sandbox) -> None:
    sandbox.opinion(1, 1, epoch=3)
    assert "waiting: fewer than 2 Sentinels answer" in sandbox.wait("start-server.sh")


def test_the_named_primary_starts_as_primary_only_when_a_majority_knows_no_other(sandbox: Sandbox) -> None:
    for ordinal in range(3):
        sandbox.opinion(ordinal, 0, epoch=3)
    sandbox.failover({0: REFUSAL, 2: REFUSAL})
    (sandbox.folder / "data" / "dump.rdb").write_text("what it held when it was stopped")
    printed = sandbox.run("start-server.sh")
    assert printed.returncode == 0
    assert not [line for line in printed.stdout.splitlines() if line.startswith("replicaof")]


def test_the_named_primary_without_a_snapshot_starts_as_primary_where_all_are_empty(sandbox: Sandbox) -> None:
    for ordinal in range(3):
        sandbox.opinion(ordinal, 0, epoch=3)
    sandbox.keys({1: 0, 2: 0})
    printed = sandbox.run("start-server.sh")
    assert printed.returncode == 0
    assert not [line for line in printed.stdout.splitlines() if line.startswith("replicaof")]


@pytest.mark.parametrize(
    "sizes", [{1: 0, 2: 7}, {1: 7}, {1: 0}, {}], ids=["one has data", "one is silent", "none has any yet", "none answers"]
)
def test_the_named_primary_without_a_snapshot_waits_for_one_that_has_data(sandbox: Sandbox, sizes: dict[int, int]) -> None:
    for ordinal in range(3):
        sandbox.opinion(ordinal, 0, epoch=3)
    sandbox.failover({0: REFUSAL, 2: REFUSAL})
    sandbox.keys(sizes)
    assert "named primary" in sandbox.wait("start-server.sh")


@pytest.mark.parametrize(
    "answers",
    [
        {0: REFUSAL},
        {0: REFUSAL, 1: REFUSAL, 2: "OK"},
        {0: REFUSAL, 2: "INPROG Failover already in progress"},
        {},
    ],
    ids=["a minority refuses", "one agrees", "one is at it", "none answers"],
)
def test_the_named_primary_waits_while_another_may_take_over(sandbox: Sandbox, answers: dict[int, str]) -> None:
    for ordinal in range(3):
        sandbox.opinion(ordinal, 0, epoch=3)
    sandbox.failover(answers)
    assert "named primary" in sandbox.wait("start-server.sh")


def test_a_server_announces_its_address_and_keeps_the_password_to_itself(sandbox: Sandbox) -> None:
    sandbox.opinion(1, 1, epoch=1)
    sandbox.opinion(2, 1, epoch=1)
    result = sandbox.run("start-server.sh", pod="redis-2")
    lines = result.stdout.splitlines()
    assert f"replica-announce-ip {address(2)}" in lines
    assert f"requirepass {PASSWORD}" in lines
    assert f"masterauth {PASSWORD}" in lines
    assert "mode 600 " in lines
    assert "passwords in the environment: 0" in lines
    assert PASSWORD not in result.stderr


REMEMBERED = f"""# Generated by CONFIG REWRITE
sentinel monitor primary {address(2)} 6379 9
sentinel myid 0123456789012345678901234567890123456789
requirepass "an-old-password"
sentinel auth-pass primary an-old-password
sentinel down-after-milliseconds primary 60000
user default on #d380dc09fbc3dcbc4988473792e56dcbe24be9e57696b72bb9d2ddc4200fcade ~* &* +@all
sentinel config-epoch primary 7
sentinel leader-epoch primary 8
sentinel known-replica primary {address(0)} 6379
sentinel known-replica primary {address(4)} 6379
sentinel known-sentinel primary {address(1)} 26379 "2440d5c71279bcb0ecfd2d0e03bb7449895daf5b"
sentinel known-sentinel primary {address(4)} 26379 "8f5c1a06949dbfe4f1853bfb75414741248891f2"
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
    sandbox.opinion(1, 1, epoch=9)
    lines = started_sentinel(sandbox)
    assert f"sentinel monitor primary {address(2)} 6379 2" in lines
    assert [line for line in lines if "epoch" in line] == [
        "sentinel config-epoch primary 7",
        "sentinel leader-epoch primary 8",
        "sentinel current-epoch 8",
    ]
    assert f"sentinel known-replica primary {address(0)} 6379" in lines
    assert f'sentinel known-sentinel primary {address(1)} 26379 "2440d5c71279bcb0ecfd2d0e03bb7449895daf5b"' in lines
    assert "sentinel down-after-milliseconds primary 3000" in lines
    assert f"requirepass {PASSWORD}" in lines
    assert not [line for line in lines if "an-old-password" in line or line.startswith("user ")]
    assert "mode 600 --sentinel" in lines
    assert "passwords in the environment: 0" in lines


def test_a_sentinel_forgets_pods_that_the_set_has_no_more(sandbox: Sandbox) -> None:
    (sandbox.folder / "data" / "sentinel.conf").write_text(REMEMBERED)
    assert not [line for line in started_sentinel(sandbox) if address(4) in line]


def test_a_sentinel_whose_primary_is_gone_from_the_set_asks_the_others(sandbox: Sandbox) -> None:
    (sandbox.folder / "data" / "sentinel.conf").write_text(
        REMEMBERED.replace(f"monitor primary {address(2)}", f"monitor primary {address(4)}")
    )
    sandbox.opinion(1, 1, epoch=9)
    lines = started_sentinel(sandbox)
    assert f"sentinel monitor primary {address(1)} 6379 2" in lines
    assert "sentinel current-epoch 8" in lines


def test_a_sentinel_without_memory_asks_the_others(sandbox: Sandbox) -> None:
    sandbox.opinion(2, 1, epoch=4)
    assert f"sentinel monitor primary {address(1)} 6379 2" in started_sentinel(sandbox)


def test_all_sentinels_of_a_new_set_take_the_first_member(sandbox: Sandbox) -> None:
    assert f"sentinel monitor primary {address(0)} 6379 2" in started_sentinel(sandbox, pod="redis-2")


def test_a_sentinel_keeps_its_identity_when_its_volume_is_lost(sandbox: Sandbox) -> None:
    sandbox.opinion(1, 1, epoch=1)
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


WHOLE = ("name", "primary", "config-epoch", "7", "parallel-syncs", "1", "PONG", "10.0.0.3", "6379")


@pytest.mark.parametrize("lines", range(len(WHOLE) + 1))
def test_an_answer_that_is_cut_short_names_no_primary(tmp_path: Path, lines: int) -> None:
    (tmp_path / "answer").write_text("".join(f"{line}\n" for line in WHOLE[:lines]))
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "cli").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "cli").chmod(0o755)
    for name, text in server_files(spec()).items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "REDIS_CLI": str(tmp_path / "cli"), "REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    command = ["sh", "-euc", f'. {tmp_path}/common.sh; named_primary "$MAJORITY"', f"{tmp_path}/sh"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment)
    assert run.stdout == ("10.0.0.3 6379\n" if lines == len(WHOLE) else "")
