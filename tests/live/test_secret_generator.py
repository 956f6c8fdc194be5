"""The secrets generator, run as its Job runs it, against a stand-in for the Kubernetes API that allows what the declared rights allow.

The program is laid out as the pod has it, and runs on the Python that has Synapse, as in Synapse's image.
Every run is checked for values in its output: those in the cluster, and those that were ever sent.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signedjson.key import read_signing_keys

from infrastructure.programs import program_files
from infrastructure.secret_provider.options import SecretProvider, SecretStore
from infrastructure.secret_provider.providers import external_secret, made_by_job, request, rules
from kit.secrets import (
    Composed,
    Copied,
    Fixed,
    Form,
    Given,
    KeyRef,
    RandomText,
    Recipe,
    RsaPrivateKey,
    SecretSpec,
    Shared,
    SynapseSigningKey,
    Text,
    Value,
)
from services.kubernetes_api.api import Api
from services.secrets import generate as generator
from services.secrets.kubernetes import Secrets
from tests.live.kubernetes_stub import TOKEN, Cluster, Fault, make_certificates, serving
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import installed
from tests.live.synapse_site import SYNAPSE_PYTHON, synapse_python

pytestmark = pytest.mark.live

DONE, FAILED, GIVE = generator.DONE, generator.FAILED, generator.GIVEN_KEYS_MISSING

REDIS = SecretSpec("redis", "matrix", {"password": RandomText(), "redis.conf": Composed("requirepass {password}\n")})
SYNAPSE = SecretSpec(
    "synapse",
    "matrix",
    {
        "signing.key": SynapseSigningKey(),
        "macaroon_secret_key": RandomText(64),
        "form_secret": RandomText(64),
        "registration_shared_secret": RandomText(64),
        "worker_replication_secret": RandomText(64),
        "user": Fixed("synapse"),
    },
)
LIVEKIT = SecretSpec("livekit", "matrix-rtc", {"redis": Shared(REDIS.key("password")), "key": RandomText(40)})
READER = SecretSpec(
    "reader",
    "matrix-li",
    {"password": Copied(KeyRef("matrix", "main-app", "password")), "pgpass": Composed("main-rw:5432:synapse:reader:{password}\n")},
)
SYGNAL = SecretSpec("sygnal", "matrix", {"apns.p8": Given("the APNs key of your app"), "token": RandomText()})
VAULT = SecretSpec("vault", "matrix", {"public.pem": Given("the public key", Form.RSA_PUBLIC_KEY)})
OWN = (REDIS, SYNAPSE, LIVEKIT)
NAMESPACES = {"matrix", "matrix-rtc", "matrix-li"}


@frozen
class Result:
    """How a run ended."""

    code: int
    output: str
    seconds: float


@define
class Pod:
    """A pod of the Job: the program, the request and the service account as files, and the API server that it can reach."""

    folder: Path
    cluster: Cluster
    port: int = 0
    printed: list[str] = field(factory=list)

    def command(self, limit: float) -> list[str | Path]:
        python = SYNAPSE_PYTHON if SYNAPSE_PYTHON.exists() else Path(sys.executable)
        return [
            python,
            "-m",
            "services.secrets.generate",
            self.folder / "request.json",
            "--account",
            self.folder,
            "--time-limit",
            str(limit),
        ]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": LOOPBACK,
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "PYTHONPATH": str(self.folder / "program"),
            "PATH": os.environ["PATH"],
        }

    def ask(self, specs: Sequence[SecretSpec], provider: SecretProvider = SecretProvider.GENERATE) -> None:
        """Set the request, and the rights that are declared for it."""
        made = made_by_job(specs, provider)
        (self.folder / "request.json").write_text(request(made))
        self.cluster.rules = rules(made)

    def run(self, specs: Sequence[SecretSpec] | None = None, limit: float = 20) -> Result:
        """Run the program to its end, and make sure that it told no value."""
        if specs is not None:
            self.ask(specs)
        started = time.monotonic()
        done = subprocess.run(
            self.command(limit),
            env=self.environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit + 30,
            check=False,
        )
        self.tells_no_value(done.stdout)
        return Result(done.returncode, done.stdout, time.monotonic() - started)

    @contextmanager
    def start(self, limit: float = 20) -> Iterator[Program]:
        """Run the program beside a `with` block, which it has to end in."""
        with running(self.command(limit), name="generate", environment=self.environment, folder=Path("/")) as program:
            yield program
            wait_for(lambda: program.process.poll() is not None, limit + 10, "the generator to end")
            self.tells_no_value(program.output())

    def run_here(self, specs: Sequence[SecretSpec] | None = None, limit: float = 20) -> Result:
        """Run the core of the program in this process: faster, where it is not about the process."""
        if specs is not None:
            self.ask(specs)
        lines: list[str] = []
        started = time.monotonic()
        api = Api.of_pod(self.environment, self.folder, started + limit)
        report = generator.Report(lines.append)
        generator.generate(Secrets(api), generator.read_request(self.folder / "request.json"), report)
        code = report.close()
        output = "\n".join(lines)
        self.tells_no_value(output)
        return Result(code, output, time.monotonic() - started)

    def tells_no_value(self, output: str) -> None:
        """Fail if the output has a value that is in the cluster or was ever sent to it, plain or encoded."""
        kept = [self.cluster.values(*name) for name in self.cluster.objects]
        sent = [r.body["data"] for r in self.cluster.log if isinstance(r.body, dict) and isinstance(r.body.get("data"), dict)]
        public = {recipe.value.encode() for spec in OWN for _, recipe in spec.keys if isinstance(recipe, Fixed)}
        for value in [*(v for data in kept for v in data.values()), *(base64.b64decode(v) for data in sent for v in data.values())]:
            if value and value not in public:
                lines = [line for line in value.decode(errors="replace").splitlines() if len(line) > 3]
                assert not any(line in output for line in [*lines, base64.b64encode(value).decode()])
        assert TOKEN not in output
        assert "Traceback" not in output
        self.printed.append(output)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def new_pod(folder: Path, certificates: Path, cluster: Cluster) -> Pod:
    """The files of a pod, as its volumes have them: read only."""
    for package in ("secrets", "kubernetes_api"):
        program = folder / "program" / "services" / package
        program.mkdir(parents=True)
        # The kubelet mounts a ConfigMap as links to files in a folder that it can swap.
        (program / "..2026_01_01").mkdir()
        (program / "..data").symlink_to("..2026_01_01")
        for name, text in program_files(package).items():
            (program / "..data" / name).write_text(text)
            (program / name).symlink_to(f"..data/{name}")
        program.chmod(0o555)
    (folder / "token").write_text(f"{TOKEN}\n")
    shutil.copy(certificates / "ca.crt", folder / "ca.crt")
    return Pod(folder, cluster)


@pytest.fixture
def pod(tmp_path: Path, certificates: Path) -> Iterator[Pod]:
    cluster = Cluster(set(NAMESPACES))
    made = new_pod(tmp_path, certificates, cluster)
    with serving(cluster, certificates / "server.pem") as made.port:
        yield made
    (tmp_path / "program" / "services" / "secrets").chmod(0o755)


# -- what it does


def test_the_first_run_makes_everything_and_the_second_changes_nothing(pod: Pod) -> None:
    first = pod.run(OWN)
    assert first.code == DONE, first.output
    assert {name: set(pod.cluster.values(*name)) for name in pod.cluster.objects} == {
        (spec.namespace, spec.name): {key for key, _ in spec.keys} for spec in OWN
    }
    assert len(pod.cluster.writes()) == len(OWN)
    before = json.dumps(sorted(map(str, pod.cluster.objects.items())))
    requests = len(pod.cluster.log)
    second = pod.run()
    assert second.code == DONE, second.output
    assert json.dumps(sorted(map(str, pod.cluster.objects.items()))) == before
    assert {request.method for request in pod.cluster.log[requests:]} == {"GET"}
    assert {request.status for request in pod.cluster.log} == {200, 201, 404}, "nothing that the rights do not allow was tried"


def test_each_of_the_declared_rights_is_needed(pod: Pod) -> None:
    pod.ask((REDIS, LIVEKIT, READER))
    declared = pod.cluster.rules
    for rule in declared:
        for verb in rule.verbs:
            pod.cluster.objects.clear()
            pod.cluster.put("matrix", "main-app", {"password": b"of the operator"})
            for name in rule.names if verb == "patch" else ():
                pod.cluster.put(rule.namespace, name, {})
            pod.cluster.rules = [r if r is not rule else evolve(r, verbs=tuple(v for v in r.verbs if v != verb)) for r in declared]
            result = pod.run_here(limit=1)
            assert result.code == FAILED, (rule, verb)
            assert "403 Forbidden" in result.output
    pod.cluster.rules = declared
    assert pod.run_here().code == DONE


def test_the_values_agree_wherever_they_are(pod: Pod) -> None:
    pod.cluster.put("matrix", "main-app", {"password": b"of the operator"})
    assert pod.run_here((*OWN, READER)).code == DONE
    redis = pod.cluster.values("matrix", "redis")
    assert redis["redis.conf"] == b"requirepass " + redis["password"] + b"\n"
    assert pod.cluster.values("matrix-rtc", "livekit")["redis"] == redis["password"]
    assert pod.cluster.values("matrix-li", "reader")["pgpass"] == b"main-rw:5432:synapse:reader:of the operator\n"


def test_secrets_have_their_type_and_tell_who_made_them_but_no_label_by_which_argo_cd_would_prune_them(pod: Pod) -> None:
    login = SecretSpec("login", "matrix", {"username": Fixed("synapse"), "password": RandomText()}, type="kubernetes.io/basic-auth")
    assert pod.run_here([login]).code == DONE
    made = pod.cluster.objects["matrix", "login"]
    assert made["type"] == "kubernetes.io/basic-auth"
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "matrix-platform-secrets",
        "app.kubernetes.io/part-of": "matrix-platform",
    }
    assert "annotations" not in made["metadata"]


def test_an_upgrade_adds_only_what_is_new(pod: Pod) -> None:
    assert pod.run_here([REDIS]).code == DONE
    before = pod.cluster.values("matrix", "redis")
    newer = SecretSpec("redis", "matrix", dict(REDIS.keys) | {"sentinel": RandomText(), "sentinel.conf": Composed("{password} {sentinel}")})
    assert pod.run_here([newer]).code == DONE
    after = pod.cluster.values("matrix", "redis")
    assert {key: after[key] for key in before} == before
    assert after["sentinel.conf"] == after["password"] + b" " + after["sentinel"]
    patch = pod.cluster.writes()[-1]
    assert set(patch.body["data"]) == {"sentinel", "sentinel.conf"}
    assert patch.body["metadata"]["resourceVersion"], "so that the API server refuses it when somebody was faster"


# -- keys that others have to bring


def test_what_the_operator_has_to_give_is_said_at_the_end_and_holds_up_nothing(pod: Pod) -> None:
    result = pod.run((*OWN, SYGNAL, VAULT))
    assert result.code == GIVE
    assert len(pod.cluster.objects) == len(OWN) + 1, "a Secret of given keys alone is not made"
    assert set(pod.cluster.values("matrix", "sygnal")) == {"token"}
    for key in ("matrix/sygnal: apns.p8: the APNs key of your app", "matrix/vault: public.pem: the public key"):
        assert f"MISSING: {key}" in result.output
    assert result.output.rstrip().endswith("supply these 2 key(s).")


def commands(output: str) -> list[str]:
    """The commands that the program tells people to run."""
    return [line.strip() for line in output.splitlines() if line.startswith("  kubectl ")]


def run_as_told(command: str, folder: Path) -> list[str]:
    """Run a printed command in a shell, with a kubectl that writes down its arguments."""
    (folder / "bin").mkdir(exist_ok=True)
    kubectl = folder / "bin" / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    kubectl.chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-euc", command], env=environment, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.split("\0")[:-1]


def test_the_printed_commands_give_the_key_that_is_missing(pod: Pod) -> None:
    (pod.folder / "FILE").write_bytes(b"line one\nline two \x00\xff" * 50)
    made, absent = commands(pod.run_here((SYGNAL, VAULT)).output)
    arguments = run_as_told(made, pod.folder)
    assert arguments[:6] == ["-n", "matrix", "patch", "secret", "sygnal", "-p"]
    patch = json.loads(arguments[6])
    assert {key: base64.b64decode(value) for key, value in patch["data"].items()} == {"apns.p8": (pod.folder / "FILE").read_bytes()}
    assert run_as_told(absent, pod.folder) == ["-n", "matrix", "create", "secret", "generic", "vault", "--from-file=public.pem=FILE"]


def test_a_key_that_the_operator_gave_beforehand_is_kept_and_the_rest_is_added(pod: Pod) -> None:
    pod.cluster.put("matrix", "sygnal", {"apns.p8": b"of the operator"})
    assert pod.run_here([SYGNAL]).code == DONE
    values = pod.cluster.values("matrix", "sygnal")
    assert values["apns.p8"] == b"of the operator"
    assert len(values["token"]) == 32


def test_a_copied_key_waits_for_its_source_and_holds_up_nothing_else(pod: Pod) -> None:
    pod.ask((*OWN, READER))
    with pod.start() as program:
        wait_for(lambda: len(pod.cluster.objects) == len(OWN), 10, "all other Secrets")
        wait_for(lambda: "waiting: password is copied from matrix/main-app:password" in program.output(), 10, "it to say what it waits for")
        pod.cluster.put("matrix", "main-app", {"username": b"without the password yet"})
        time.sleep(0.5)
        pod.cluster.put("matrix", "main-app", {"password": b"of the operator"})
    assert program.process.returncode == DONE
    assert pod.cluster.values("matrix-li", "reader")["password"] == b"of the operator"


def test_a_source_that_never_comes_ends_the_run_in_time(pod: Pod) -> None:
    result = pod.run((*OWN, READER), limit=3)
    assert result.code == FAILED
    assert "matrix-li/reader: waited in vain: password is copied from matrix/main-app:password, which is not there" in result.output
    assert result.seconds < 6
    assert len(pod.cluster.objects) == len(OWN)


# -- what it must not touch


@pytest.mark.parametrize("bad", [b"", b"ed25519 a_abcd nonsense"], ids=["empty", "malformed"])
def test_a_value_that_cannot_be_right_is_reported_with_what_to_do_and_stays(pod: Pod, bad: bytes) -> None:
    pod.cluster.put("matrix", "synapse", {"signing.key": bad})
    result = pod.run_here(OWN)
    assert result.code == FAILED
    assert pod.cluster.values("matrix", "synapse")["signing.key"] == bad
    assert len(pod.cluster.values("matrix", "synapse")) == 6, "the other keys are made all the same"
    (command,) = commands(result.output)
    assert run_as_told(command, pod.folder)[-1] == '[{"op": "remove", "path": "/data/signing.key"}]'
    pod.cluster.remove_key("matrix", "synapse", "signing.key")
    assert pod.run_here().code == DONE


def test_a_key_that_was_rotated_but_not_what_is_made_of_it_is_reported(pod: Pod) -> None:
    assert pod.run_here(OWN).code == DONE
    pod.cluster.remove_key("matrix", "redis", "password")
    result = pod.run_here()
    assert result.code == FAILED
    assert "matrix/redis: redis.conf does not agree with the keys that it is composed of" in result.output
    assert "matrix-rtc/livekit: redis differs from its source" in result.output
    for name, key in ((("matrix", "redis"), "redis.conf"), (("matrix-rtc", "livekit"), "redis")):
        pod.cluster.remove_key(*name, key)
    assert pod.run_here().code == DONE
    assert pod.cluster.values("matrix-rtc", "livekit")["redis"] == pod.cluster.values("matrix", "redis")["password"]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm manages it"),
        ({"ownerReferences": [{"kind": "SealedSecret", "name": "redis", "controller": True}]}, "a SealedSecret controls it"),
        ({"immutable": True}, "it is immutable"),
    ],
    ids=["label", "owner", "immutable"],
)
def test_no_key_is_added_to_a_secret_that_somebody_else_manages(pod: Pod, metadata: dict[str, object], said: str) -> None:
    pod.cluster.put("matrix", "redis", {"password": b"theirs"}, **metadata)
    result = pod.run_here(OWN)
    assert result.code == FAILED
    assert f"matrix/redis: lacks redis.conf, but {said}" in result.output
    assert pod.cluster.values("matrix", "redis") == {"password": b"theirs"}
    pod.cluster.put("matrix", "redis", {"password": b"theirs", "redis.conf": b"requirepass theirs\n"}, **metadata)
    assert pod.run_here().code == DONE, "a complete one is good, whoever made it"


def test_under_another_provider_it_touches_only_what_is_copied(pod: Pod) -> None:
    pod.cluster.put("matrix", "main-app", {"password": b"of the operator"})
    pod.ask((*OWN, READER), SecretProvider.EXTERNAL)
    assert pod.run_here().code == DONE
    assert set(pod.cluster.objects) == {("matrix", "main-app"), ("matrix-li", "reader")}


# -- two at once


def test_two_jobs_at_once_never_disagree(pod: Pod) -> None:
    pod.cluster.delay = 0.03
    pod.ask(OWN)
    for _ in range(3):
        pod.cluster.objects.clear()
        pod.cluster.log.clear()
        with pod.start() as first, pod.start() as second:
            pass
        assert (first.process.returncode, second.process.returncode) == (DONE, DONE), pod.printed[-2:]
        assert len(pod.cluster.writes()) > len(OWN), "both tried to make a Secret"
        assert sorted(r.status for r in pod.cluster.writes() if r.status < 400) == [201] * len(OWN), "each Secret was made once"
        redis = pod.cluster.values("matrix", "redis")
        assert redis["redis.conf"] == b"requirepass " + redis["password"] + b"\n"
        assert pod.cluster.values("matrix-rtc", "livekit")["redis"] == redis["password"]
        assert pod.run_here().code == DONE


def test_a_secret_that_appears_or_changes_between_look_and_write_is_never_overwritten(pod: Pod) -> None:
    pod.ask([REDIS])

    def somebody_was_faster(_number: int, method: str, _path: str) -> None:
        if method == "POST":
            pod.cluster.put("matrix", "redis", {"password": b"of another Job"})
        if method == "PATCH" and "other" not in pod.cluster.values("matrix", "redis"):
            pod.cluster.put("matrix", "redis", {"password": b"of a third one", "other": b"key"})

    pod.cluster.faults = somebody_was_faster
    result = pod.run()
    assert result.code == DONE, result.output
    assert [r.status for r in pod.cluster.writes()] == [409, 409, 200]
    expected = {"password": b"of a third one", "other": b"key", "redis.conf": b"requirepass of a third one\n"}
    assert pod.cluster.values("matrix", "redis") == expected


# -- an API server that is slow, broken, or says no


PASSING = st.sampled_from([fault for fault in Fault if fault not in (Fault.SILENCE, Fault.DRIP, Fault.BUSY, Fault.INVALID)])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 12), PASSING, min_size=1, max_size=4))
def test_whatever_goes_wrong_on_the_way_the_end_is_the_same(pod: Pod, plan: dict[int, Fault]) -> None:
    pod.ask(OWN)
    pod.cluster.objects.clear()
    pod.cluster.log.clear()
    pod.cluster.received = 0
    pod.cluster.faults = lambda number, _method, _path: plan.get(number)
    result = pod.run_here()
    assert result.code == DONE, result.output
    assert sorted(r.status for r in pod.cluster.writes() if r.status < 400) == [201] * len(OWN)
    redis = pod.cluster.values("matrix", "redis")
    assert redis["redis.conf"] == b"requirepass " + redis["password"] + b"\n"
    assert pod.cluster.values("matrix-rtc", "livekit")["redis"] == redis["password"]


@pytest.mark.parametrize("fault", [Fault.HANG_UP_AFTER, Fault.HALF_ANSWER_AFTER, Fault.ERROR_AFTER])
def test_an_added_key_whose_answer_is_lost_is_not_made_twice(pod: Pod, fault: Fault) -> None:
    pod.cluster.put("matrix", "redis", {"password": b"old one"})
    pod.ask([REDIS])
    pod.cluster.faults = lambda _number, method, _path: fault if method == "PATCH" and len(pod.cluster.writes()) == 0 else None
    assert pod.run_here().code == DONE
    assert [r.status for r in pod.cluster.writes()] == [200, 409]


def test_an_api_server_that_asks_for_a_pause_gets_it(pod: Pod) -> None:
    pod.ask([REDIS])
    pod.cluster.faults = lambda number, _method, _path: Fault.BUSY if number == 0 else None
    started = time.monotonic()
    assert pod.run_here().code == DONE
    assert pod.cluster.log[0].at - started >= 0.5  # of the second that it asked for, less the spread


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.HANG_UP, Fault.NO_JSON, Fault.SILENCE, Fault.DRIP], ids=lambda fault: fault.name)
def test_an_api_server_that_stays_broken_ends_the_run_in_time_with_the_reason(pod: Pod, fault: Fault) -> None:
    pod.cluster.faults = lambda _number, _method, _path: fault
    pod.cluster.put("matrix", "redis", {"password": b"x" * 500})
    result = pod.run([REDIS], limit=2)
    assert result.code == FAILED
    assert "FAILED: matrix/redis: cannot get Secret matrix/redis: no answer in time" in result.output
    assert result.seconds < 12


@contextmanager
def serving_later(cluster: Cluster, certificates: Path, port: int, seconds: float) -> Iterator[None]:
    """A stand-in that listens only after a while."""
    with ExitStack() as stack:
        timer = threading.Timer(seconds, lambda: stack.enter_context(serving(cluster, certificates / "server.pem", port)))
        timer.start()
        try:
            yield
        finally:
            timer.join()


def test_an_api_server_that_is_not_there_yet_is_waited_for(pod: Pod, certificates: Path) -> None:
    pod.ask([REDIS])
    cluster = pod.cluster
    (port,) = free_ports(1)
    pod.port = port
    with serving_later(cluster, certificates, port, 1.5), pod.start() as program:
        time.sleep(1)
        assert program.process.poll() is None
    assert program.process.returncode == DONE


def test_rights_and_namespaces_that_take_effect_late_are_waited_for(pod: Pod) -> None:
    pod.ask(OWN)
    granted = pod.cluster.rules
    pod.cluster.rules = ()
    pod.cluster.namespaces = set()
    with pod.start() as program:
        wait_for(lambda: pod.cluster.log, 10, "the first request")
        pod.cluster.rules = granted
        wait_for(lambda: any(r.status == 404 and r.method == "POST" for r in pod.cluster.log), 10, "a request without a namespace")
        pod.cluster.namespaces = set(NAMESPACES)
    assert program.process.returncode == DONE


def test_rights_that_never_come_do_not_take_the_whole_time(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_ACCESS_GRACE_SECONDS", 1)
    pod.ask(OWN)
    pod.cluster.rules = [rule for rule in pod.cluster.rules if rule.namespace != "matrix-rtc"]
    result = pod.run_here(limit=60)
    assert result.code == FAILED
    assert "matrix-rtc/livekit" in result.output
    assert "the Role of this service account does not allow it" in result.output
    assert result.seconds < 10
    assert len(pod.cluster.objects) == 2, "what the rights allow is made"


def test_an_answer_that_is_final_is_not_waited_for(pod: Pod) -> None:
    pod.cluster.faults = lambda number, _method, _path: Fault.INVALID if number == 1 else None
    result = pod.run_here(OWN)
    assert result.code == FAILED
    assert "FAILED: matrix/redis: create Secret matrix/redis: 422" in result.output
    assert result.seconds < 5
    assert ("matrix", "synapse") in pod.cluster.objects


def test_a_token_that_the_kubelet_renews_is_used(pod: Pod) -> None:
    pod.ask([REDIS])
    pod.cluster.tokens = {"the-next-token"}
    with pod.start() as program:
        wait_for(lambda: pod.cluster.log, 10, "the first request")
        (pod.folder / "token").write_text("the-next-token")
    assert program.process.returncode == DONE


def test_a_server_that_the_cluster_s_authority_does_not_vouch_for_gets_no_token(pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("impostor")
    make_certificates(other)
    shutil.copy(other / "ca.crt", pod.folder / "ca.crt")
    result = pod.run([REDIS])
    assert result.code == FAILED
    assert "does not verify" in result.output
    assert result.seconds < 10
    assert pod.cluster.log == []


def test_a_refusal_that_quotes_the_object_is_not_repeated(pod: Pod) -> None:
    pod.cluster.deny = True
    result = pod.run([REDIS], limit=1)
    assert result.code == FAILED
    assert "cannot" not in result.output
    assert "403 Forbidden" in result.output
    assert any(r.body and "data" in r.body for r in pod.cluster.log), "the values were sent, so they could have been told"


def test_an_answer_that_nobody_thought_of_tells_its_place_and_no_value(pod: Pod) -> None:
    pod.cluster.objects["matrix", "redis"] = {"metadata": {"resourceVersion": "1"}, "data": {"password": 7, "other": "c2VjcmV0LXZhbHVl"}}
    pod.ask([REDIS])
    done = subprocess.run(pod.command(5), env=pod.environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == FAILED
    assert "FAILED: TypeError at " in done.stdout
    assert "kubernetes.py:" in done.stdout
    assert "c2VjcmV0" not in done.stdout
    assert done.stderr == ""


def test_a_run_that_was_killed_is_completed_by_the_next(pod: Pod) -> None:
    pod.ask(OWN)
    pod.cluster.faults = lambda number, _method, _path: Fault.SILENCE if number == 4 else None
    with running(pod.command(20), environment=pod.environment, folder=Path("/")) as program:
        wait_for(lambda: pod.cluster.received == 5, 10, "it to hang in the middle")
        program.send(signal.SIGKILL)
    first = {name: pod.cluster.values(*name) for name in pod.cluster.objects}
    assert 0 < len(first) < len(OWN)
    assert pod.run().code == DONE
    assert {name: pod.cluster.values(*name) for name in first} == first
    assert len(pod.cluster.objects) == len(OWN)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"secrets": [{"name": "x"}]}', '{"secrets": 3}', "\x00"])
def test_a_request_of_another_form_is_refused(pod: Pod, text: str) -> None:
    (pod.folder / "request.json").write_text(text)
    result = pod.run()
    assert result.code == FAILED
    assert "request.json" in result.output or "Expecting value" in result.output
    assert pod.cluster.log == []


def test_outside_a_pod_it_says_so(pod: Pod) -> None:
    pod.ask([REDIS])
    (pod.folder / "ca.crt").unlink()
    result = pod.run()
    assert result.code == FAILED
    assert "not in a pod with a service account token" in result.output


# -- what the values are good for


def test_synapse_starts_from_the_secrets_and_serves_the_old_key_after_a_rotation(pod: Pod) -> None:
    """Synapse's own parser reads the keys, and the documented rotation leaves the old public key published."""
    python = synapse_python()
    assert pod.run(OWN).code == DONE

    def parsed(old: Mapping[str, object]) -> dict[str, Any]:
        for key, value in pod.cluster.values("matrix", "synapse").items():
            (pod.folder / key).write_bytes(value)
        config: dict[str, object] = {
            "server_name": "example.org",
            "report_stats": False,
            "trusted_key_servers": [],
            "database": {"name": "sqlite3", "args": {"database": ":memory:"}},
            "old_signing_keys": old,
            "signing_key_path": str(pod.folder / "signing.key"),
        }
        for option in ("macaroon_secret_key", "form_secret", "registration_shared_secret", "worker_replication_secret"):
            config[f"{option}_path"] = str(pod.folder / option)
        (pod.folder / "homeserver.yaml").write_text(json.dumps(config))
        done = subprocess.run(
            [python, "-c", _READ_WITH_SYNAPSE, "--no-secrets-in-config", "-c", str(pod.folder / "homeserver.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    first = parsed({})
    values = pod.cluster.values("matrix", "synapse")
    (key,) = read_signing_keys(values["signing.key"].decode().splitlines())
    assert first["signing"] == [key.version]
    assert first["macaroon"] == values["macaroon_secret_key"].decode()
    assert first["replication"] == values["worker_replication_secret"].decode()

    pod.cluster.remove_key("matrix", "synapse", "signing.key")
    assert pod.run().code == DONE
    old = {f"ed25519:{key.version}": {"key": first["verify"], "expired_ts": 1_700_000_000_000}}
    second = parsed(old)
    assert second["signing"] != first["signing"]
    assert second["old"] == {f"ed25519:{key.version}": first["verify"]}

    # While it changes, both lines are in the file: the first one signs, both are published.
    new = pod.cluster.values("matrix", "synapse")["signing.key"]
    pod.cluster.put("matrix", "synapse", pod.cluster.values("matrix", "synapse") | {"signing.key": values["signing.key"] + new})
    assert pod.run().code == DONE
    assert parsed({})["signing"] == [key.version, *second["signing"]]


_READ_WITH_SYNAPSE = """
import json, sys
from signedjson.key import encode_verify_key_base64, get_verify_key
from synapse.config.homeserver import HomeServerConfig
config = HomeServerConfig.load_config("", sys.argv[1:])
print(json.dumps({
    "signing": [key.version for key in config.key.signing_key],
    "verify": encode_verify_key_base64(get_verify_key(config.key.signing_key[0])),
    "old": {name: encode_verify_key_base64(key) for name, key in config.key.old_signing_keys.items()},
    "macaroon": config.key.macaroon_secret_key.decode(),
    "replication": config.worker.worker_replication_secret,
}))
"""


def test_an_rsa_key_that_it_makes_is_one_for_openssl(pod: Pod) -> None:
    openssl = installed("openssl")
    assert pod.run([SecretSpec("mas", "matrix", {"rsa.pem": RsaPrivateKey(2048)})]).code == DONE
    pem = pod.cluster.values("matrix", "mas")["rsa.pem"]
    done = subprocess.run([openssl, "rsa", "-check", "-noout"], input=pem, capture_output=True, check=False, timeout=20)
    assert b"RSA key ok" in done.stdout + done.stderr


GO_TEMPLATE = """
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

func main() {
	var in struct {
		Templates []string
		Values    map[string]string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	out := []string{}
	for _, text := range in.Templates {
		var b = new(bytesBuffer)
		template.Must(template.New("t").Option("missingkey=error").Parse(text)).Execute(b, in.Values)
		out = append(out, string(*b))
	}
	json.NewEncoder(os.Stdout).Encode(out)
}

type bytesBuffer []byte

func (b *bytesBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
"""


@pytest.fixture(scope="module")
def go_template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str], dict[str, str]], list[str]]:
    """Go's text/template, which is what External Secrets composes keys with (its engine v2)."""
    go = shutil.which("go")
    if not go:
        pytest.skip("needs Go: its package, or a toolchain of your own")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO_TEMPLATE)
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "GO111MODULE": "off"}
    subprocess.run([go, "build", "-o", "render", "main.go"], cwd=folder, env=environment, check=True, timeout=200)

    def render(templates: list[str], values: dict[str, str]) -> list[str]:
        asked = json.dumps({"Templates": templates, "Values": values})
        done = subprocess.run([folder / "render"], input=asked, capture_output=True, text=True, check=True, timeout=20)
        answer: list[str] = json.loads(done.stdout)
        return answer

    return render


TEXT = st.text("{}$`\"'\\-. \nab\u00e9", max_size=8)


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.one_of(TEXT.map(Text), st.sampled_from(["pass.word", "a-b"]).map(Value)), max_size=6), min_size=1, max_size=20),
    TEXT,
)
def test_external_secrets_composes_what_the_generator_composes(
    go_template: Callable[[list[str], dict[str, str]], list[str]], templates: list[list[Text | Value]], fixed: str
) -> None:
    values = {"pass.word": "{{ .x }}", "a-b": "}}b"}
    specs = []
    for parts in templates:
        written = "".join(p.text.replace("{", "{{").replace("}", "}}") if isinstance(p, Text) else f"{{{p.key}}}" for p in parts)
        out = Composed(written + "{fixed}")
        keys: dict[str, Recipe] = {"pass.word": RandomText(), "a-b": RandomText(), "fixed": Fixed(fixed), "out": out}
        specs.append(SecretSpec("s", "n", keys))
    asked = [external_secret(spec, SecretStore(name="store"))["target"]["template"]["data"]["out"] for spec in specs]
    expected = ["".join(p.text if isinstance(p, Text) else values[p.key] for p in parts) + fixed for parts in templates]
    assert go_template(asked, values) == expected


def test_threads_of_the_stub_end(pod: Pod) -> None:
    """The stand-in itself: a request that is never answered does not outlive its test."""
    pod.cluster.faults = lambda _number, _method, _path: Fault.SILENCE
    assert pod.run([REDIS], limit=1).code == FAILED
    pod.cluster.stopped.set()
    wait_for(lambda: sum("process_request_thread" in t.name for t in threading.enumerate()) == 0, 10, "the threads to end")
