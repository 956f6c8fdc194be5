"""The node of the live tests, as far as it only computes: variables and files of pods, probes, controllers, Services and DNS."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.cluster import dns, services
from tests.live.cluster.client import node_command
from tests.live.cluster.pods import (
    Identity,
    Mount,
    NotThereError,
    Objects,
    User,
    Volume,
    command,
    environment,
    expand,
    mounts,
    quantity,
    read_only_root,
    user,
    volumes,
)
from tests.live.cluster.probes import Counter, ProbeSpec, port_of
from tests.live.cluster.sandbox import Image, as_user, container_command, etc_files
from tests.live.cluster.services import Backend, Forward
from tests.live.cluster.workloads import Plan, PodState, Workload, plan, read_workloads

WHO = Identity("matrix", "synapse-0", {"app": "synapse"}, "198.18.0.5", "198.18.240.1", "uid", "synapse")
SECRETS = {("matrix", "redis"): {"password": b"secret"}}
SYNAPSE = User(991, 991, (), None, True)
MAPS = {("matrix", "config"): {"data": {"a.yaml": "a: 1\n", "b.yaml": "b: 2\n"}, "binaryData": {"c": "AAE="}}}
OBJECTS = Objects(MAPS, lambda namespace, name: SECRETS.get((namespace, name)))


def test_who_may_not_make_namespaces_is_told_why_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name, path=None: None if name == "sudo" else f"{path or '/usr/bin'}/{name}")
    with pytest.raises(pytest.skip.Exception, match="run as root, or let sudo work"):
        node_command()
    monkeypatch.setattr("shutil.which", lambda name, path=None: None if name == "bwrap" else f"{path or '/usr/bin'}/{name}")
    with pytest.raises(pytest.skip.Exception, match=r"needs bwrap: see tools/debian-packages\.txt"):
        node_command()


# --- files ---


def test_a_volume_hides_nothing_that_is_mounted_below_it(tmp_path: Path) -> None:
    """As when the repository stands below /tmp, where most pods have a volume."""
    mounted = [(Mount("tmp", "/tmp"), Path("/state/tmp")), (Mount("run", "/tmp/run"), Path("/state/run"))]
    words = container_command(
        Image(("/tmp/repository/.venv-live",)),
        ["true"],
        SYNAPSE,
        network=None,
        hostname="pod",
        etc=tmp_path,
        mounts=mounted,
        read_only=True,
        information=3,
    )
    binds = [words[i + 2] for i, word in enumerate(words) if word in ("--bind", "--ro-bind")]
    below = ["/tmp/repository/.venv-live", "/tmp/run"]
    assert [path for path in binds if path.startswith("/tmp")] == ["/tmp", *below]
    # The folder above it is made in the volume, for everybody to pass.
    assert words.index("/tmp/repository") > words.index("/state/tmp")
    assert words[words.index("/tmp/repository") - 3 : words.index("/tmp/repository")] == ["--perms", "0755", "--dir"]


def test_a_file_that_the_machine_has_not_finds_a_place_among_those_that_it_has(tmp_path: Path) -> None:
    image = Image(files={"/usr/bin/imaginary": "/tmp/scan", "/usr/bin/env": "/tmp/env"})
    words = container_command(
        image, ["true"], SYNAPSE, network=None, hostname="pod", etc=tmp_path, mounts=(), read_only=True, information=3
    )
    assert words[words.index("--tmpfs", words.index("/usr")) + 1] == "/usr/bin"
    last = {path: index for index, path in enumerate(words)}
    assert words.index("/usr") < words.index("/usr/bin") < last["/usr/bin/env"] < last["/usr/bin/imaginary"]
    assert words.count("/usr/bin/env") == 3, "the machine's own, and then the image's in its place"


# --- variables ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $()", "$A ${A} $()"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_replaced_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@given(st.text(alphabet="$()AB ", max_size=20))
def test_text_without_a_reference_that_is_known_only_loses_doubled_dollars(text: str) -> None:
    assert expand(text, {}) == text.replace("$$", "\0").replace("\0", "$")


def test_a_variable_may_refer_to_those_before_it_and_the_command_to_all() -> None:
    container = {
        "name": "c",
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}},
            {"name": "LATE", "value": "$(POD)/$(PASSWORD)/$(GIVEN)"},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "x", "optional": True}}},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
        ],
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "50m"}},
        "command": ["run", "$(LATE)"],
        "args": ["--early=$(EARLY)", "$(NONE)"],
    }
    variables = environment(container, WHO, OBJECTS, {"GIVEN": "image"})
    assert variables == {
        "GIVEN": "image",
        "POD": "synapse-0",
        "LABEL": "synapse",
        "EARLY": "$(LATE)",
        "PASSWORD": "secret",
        "LATE": "synapse-0/secret/image",
        "MEMORY": "1024",
        "CPU": "1",
    }
    assert command(container, variables) == ["run", "synapse-0/secret/image", "--early=$(LATE)", "$(NONE)"]
    assert command({"args": ["x"]}, {}, entrypoint=["/entry"]) == ["/entry", "x"]


def test_whole_secrets_and_config_maps_become_variables() -> None:
    container = {
        "name": "c",
        "envFrom": [{"secretRef": {"name": "redis"}, "prefix": "REDIS_"}, {"configMapRef": {"name": "no", "optional": True}}],
    }
    assert environment(container, WHO, OBJECTS, {}) == {"REDIS_password": "secret"}


def test_a_secret_that_is_not_there_is_waited_for() -> None:
    for source in ({"name": "nobody", "key": "x"}, {"name": "redis", "key": "x"}):
        with pytest.raises(NotThereError):
            environment({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": source}}]}, WHO, OBJECTS, {})


@pytest.mark.parametrize(("text", "number"), [("64Mi", 64 * 2**20), ("1G", 10**9), ("500m", 1), ("1500m", 2), ("3", 3), (4, 4)])
def test_quantities(text: str | int, number: int) -> None:
    assert quantity(text) == number


# --- files ---


def test_every_kind_of_volume_holds_what_its_pod_says() -> None:
    pod = {
        "volumes": [
            {"name": "all", "configMap": {"name": "config"}},
            {"name": "some", "configMap": {"name": "config", "items": [{"key": "a.yaml", "path": "sub/x.yaml"}], "defaultMode": 0o400}},
            {"name": "secret", "secret": {"secretName": "redis", "defaultMode": 0o440}},
            {"name": "absent", "secret": {"secretName": "nobody", "optional": True}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "own", "persistentVolumeClaim": {"claimName": "mine"}},
            {
                "name": "several",
                "projected": {
                    "sources": [
                        {"secret": {"name": "redis", "items": [{"key": "password", "path": "p"}]}},
                        {"serviceAccountToken": {"path": "token"}},
                        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                    ]
                },
            },
        ]
    }
    assert volumes(pod, WHO, OBJECTS, {"data": "data-synapse-0"}, {"token": b"t"}) == [
        Volume("all", {"a.yaml": b"a: 1\n", "b.yaml": b"b: 2\n", "c": b"\0\1"}),
        Volume("some", {"sub/x.yaml": b"a: 1\n"}, 0o400),
        Volume("secret", {"password": b"secret"}, 0o440),
        Volume("absent", {}),
        Volume("scratch"),
        Volume("memory", memory_limit=2**20),
        Volume("own", claim="mine"),
        Volume("several", {"p": b"secret", "token": b"t", "name": b"synapse-0"}),
        Volume("data", claim="data-synapse-0"),
    ]


@pytest.mark.parametrize(
    "volume",
    [
        {"configMap": {"name": "nobody"}},
        {"secret": {"secretName": "redis", "items": [{"key": "other", "path": "x"}]}},
    ],
)
def test_files_that_do_not_exist_are_waited_for(volume: dict[str, Any]) -> None:
    with pytest.raises(NotThereError):
        volumes({"volumes": [{"name": "v", **volume}]}, WHO, OBJECTS, {}, {})


def test_a_volume_of_a_kind_that_the_node_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="hostPath"):
        volumes({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, WHO, OBJECTS, {}, {})


def test_a_folder_is_mounted_before_what_lies_below_it() -> None:
    container = {"volumeMounts": [{"name": "b", "mountPath": "/a/b", "readOnly": True}, {"name": "a", "mountPath": "/a"}]}
    assert mounts(container, {}) == [Mount("a", "/a"), Mount("b", "/a/b", read_only=True)]


# --- users ---


def test_a_container_runs_as_its_pod_says_unless_it_says_otherwise() -> None:
    pod = {"securityContext": {"runAsUser": 991, "runAsGroup": 992, "fsGroup": 993, "runAsNonRoot": True}}
    hardened = {
        "name": "c",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
    }
    assert user(pod, hardened) == User(991, 992, (993,), (), True)
    assert read_only_root(hardened)
    assert user(pod, {"name": "c", "securityContext": {"runAsUser": 5}}) == User(5, 992, (993,), None, False)
    assert not read_only_root({"name": "c"})


def test_a_container_that_must_not_be_root_has_to_name_a_user() -> None:
    with pytest.raises(ValueError, match="must not run as root"):
        user({"securityContext": {"runAsNonRoot": True}}, {"name": "c"})


def test_capabilities_and_privileges_are_taken_away() -> None:
    words = as_user(User(991, 991, (7, 8), ("NET_BIND_SERVICE",), True))
    assert words[1:] == [
        *("--reuid", "991", "--regid", "991", "--groups", "7,8"),
        *("--bounding-set=-all,+net_bind_service", "--inh-caps=-all", "--no-new-privs"),
    ]
    assert as_user(User(0, 0, (), None, False))[1:] == ["--reuid", "0", "--regid", "0", "--clear-groups"]


def test_names_are_searched_as_the_pod_says() -> None:
    pod = {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}], "searches": ["more"]}}
    who = User(991, 991, (), (), True)
    files = etc_files("synapse-0", "198.18.0.5", who, nameserver="198.19.0.10", search=["matrix.svc.x", "svc.x"], dns=pod)
    assert files["resolv.conf"] == "search matrix.svc.x svc.x more\nnameserver 198.19.0.10\noptions ndots:2 edns0\n"
    assert "198.18.0.5 synapse-0" in files["hosts"]
    plain = etc_files("a", "1.2.3.4", who, nameserver="n", search=["s"], dns={})
    assert "options ndots:5\n" in plain["resolv.conf"]


# --- probes ---


def test_a_probe_has_the_defaults_of_the_api() -> None:
    assert ProbeSpec.read({"tcpSocket": {"port": 1}}) == ProbeSpec({"tcpSocket": {"port": 1}}, 0, 10, 1, 1, 3)


def test_a_verdict_needs_a_row_of_equal_results() -> None:
    counter = Counter(ProbeSpec({}, 0, 1, 1, successes=2, failures=3))
    results = [False, False, True, False, False, False, True, True]
    assert [counter.record(result) for result in results] == [None, None, None, None, None, False, None, True]


def test_a_probe_finds_a_port_by_number_or_name() -> None:
    container = {"ports": [{"name": "http", "containerPort": 8008}]}
    assert (port_of(container, 80), port_of(container, "http")) == (80, 8008)


# --- controllers ---


def workload(kind: str, replicas: int, **spec: Any) -> Workload:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}
    return Workload(kind, "matrix", "x", replicas, {"spec": {"template": template, **spec}})


def states(of: Workload, *names: str, ready: bool = True, revision: str = "") -> list[PodState]:
    return [PodState(name, revision or of.revision, ready) for name in names]


PARALLEL = workload("StatefulSet", 3, podManagementPolicy="Parallel")
ORDERED = workload("StatefulSet", 3)
DEPLOYED = workload("Deployment", 2, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})


def test_a_parallel_set_makes_and_ends_all_at_once() -> None:
    assert plan(PARALLEL, []) == Plan(create=("x-0", "x-1", "x-2"))
    assert plan(PARALLEL, states(PARALLEL, "x-0", "x-1", "x-2", "x-3", "x-10")) == Plan(delete=("x-10", "x-3"))


def test_an_ordered_set_waits_for_each() -> None:
    assert plan(ORDERED, []) == Plan(create=("x-0",))
    assert plan(ORDERED, states(ORDERED, "x-0", ready=False)) == Plan()
    assert plan(ORDERED, states(ORDERED, "x-0")) == Plan(create=("x-1",))
    assert plan(ORDERED, states(ORDERED, "x-0", "x-1", "x-2", "x-3", "x-4")) == Plan(delete=("x-4",))


def test_a_set_rolls_from_the_last_pod_one_at_a_time() -> None:
    old = states(PARALLEL, "x-0", "x-1", "x-2", revision="old")
    assert plan(PARALLEL, old) == Plan(delete=("x-2",))
    assert plan(PARALLEL, [*old[:2], *states(PARALLEL, "x-2", ready=False)]) == Plan()
    assert plan(PARALLEL, [*old[:2], *states(PARALLEL, "x-2")]) == Plan(delete=("x-1",))
    assert plan(PARALLEL, [old[0], PodState("x-1", "old", False), old[2]]) == Plan(delete=("x-1",))


def test_a_deployment_keeps_its_number_while_it_rolls() -> None:
    assert plan(DEPLOYED, []) == Plan(create=("x-0", "x-1"))
    old = states(DEPLOYED, "x-0", "x-1", revision="old")
    assert plan(DEPLOYED, old, 2) == Plan(create=("x-2",))
    assert plan(DEPLOYED, [*old, *states(DEPLOYED, "x-2", ready=False)], 3) == Plan()
    assert plan(DEPLOYED, [*old, *states(DEPLOYED, "x-2")], 3) == Plan(delete=("x-0",))
    leaving = PodState("x-0", "old", False, leaving=True)
    assert plan(DEPLOYED, [leaving, old[1], *states(DEPLOYED, "x-2")], 3) == Plan(create=("x-3",))
    assert plan(DEPLOYED, states(DEPLOYED, "x-2", "x-3", "x-4"), 5) == Plan(delete=("x-2",))


def test_a_job_tries_again_until_one_succeeds() -> None:
    job = workload("Job", 1, backoffLimit=1)
    failed = PodState("x-0", job.revision, False, phase="Failed")
    assert plan(job, []) == Plan(create=("x-0",))
    assert plan(job, [PodState("x-0", job.revision, True)], 1) == Plan()
    assert plan(job, [failed], 1) == Plan(create=("x-1",))
    assert plan(job, [failed, PodState("x-1", job.revision, False, phase="Failed")], 2) == Plan()
    assert plan(job, [failed, PodState("x-1", job.revision, False, phase="Succeeded")], 2) == Plan()


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 30))
def test_a_deployment_comes_to_rest_at_its_number_whatever_it_begins_with(replicas: int, old: int, taken: int) -> None:
    wanted = workload("Deployment", replicas)
    pods = [PodState(f"old-{index}", "old", True) for index in range(old)]
    for _ in range(40):
        decided = plan(wanted, pods, taken)
        taken += len(decided.create)
        pods = [pod for pod in pods if pod.name not in decided.delete] + states(wanted, *decided.create)
    assert (len(pods), {pod.revision for pod in pods}) == (replicas, {wanted.revision} if replicas else set())


def test_a_workload_that_is_scaled_elsewhere_has_the_autoscalers_least() -> None:
    manifest = {"kind": "StatefulSet", "metadata": {"namespace": "m", "name": "x"}, "spec": {"template": {}}}
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": "m", "name": "x"},
        "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "x"}, "minReplicas": 3, "maxReplicas": 9},
    }
    key = ("StatefulSet", "m", "x")
    assert read_workloads([manifest, scaler], {})[key].replicas == 3
    assert read_workloads([manifest, scaler], {("m", "x"): 5})[key].replicas == 5
    assert read_workloads([manifest], {})[key].replicas == 1


# --- Services and names ---


def backend(name: str, address: str, ready: bool = True, **labels: str) -> Backend:
    return Backend("matrix", name, labels, address, ready, (("http", 8008, "TCP"),), "synapse", name)


def service(name: str, selector: dict[str, str], *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "matrix", "name": name}, "spec": {"selector": selector, "ports": list(ports), **spec}}


PODS = [backend("a-0", "198.18.0.1", app="a"), backend("a-1", "198.18.0.2", ready=False, app="a"), backend("b-0", "198.18.0.3", app="b")]


def test_a_service_goes_to_its_ready_pods_on_their_port() -> None:
    port = {"port": 80, "targetPort": "http"}
    assert services.forwards(service("a", {"app": "a"}, port), "198.19.0.1", PODS) == [
        Forward("198.19.0.1", 80, "TCP", (("198.18.0.1", 8008),))
    ]
    every = service("a", {"app": "a"}, {"port": 80}, publishNotReadyAddresses=True)
    assert services.forwards(every, "198.19.0.1", PODS)[0].targets == (("198.18.0.1", 80), ("198.18.0.2", 80))
    assert services.forwards(service("a", {}, port), "198.19.0.1", PODS)[0].targets == ()


def test_names_of_services_and_pods() -> None:
    listed = [
        service("plain", {"app": "a"}, {"port": 80}),
        service("synapse", {"app": "a"}, {"port": 80}, clusterIP="None"),
        service("other", {"app": "a"}, {"port": 80}, clusterIP="None"),
        service("all", {"app": "a"}, {"port": 80}, clusterIP="None", publishNotReadyAddresses=True),
        service("empty", {"app": "none"}, {"port": 80}, clusterIP="None"),
    ]
    assert services.names(listed, {("matrix", "plain"): "198.19.0.1"}, PODS, "x") == {
        "plain.matrix.svc.x": ["198.19.0.1"],
        "synapse.matrix.svc.x": ["198.18.0.1"],
        "a-0.synapse.matrix.svc.x": ["198.18.0.1"],
        "other.matrix.svc.x": ["198.18.0.1"],
        "all.matrix.svc.x": ["198.18.0.1", "198.18.0.2"],
    }


def query(name: str, kind: int = 1, payload: int | None = None) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    option = b"\0" + struct.pack("!HHIH", 41, payload, 0, 0) if payload else b""
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, bool(payload)) + labels + struct.pack("!HH", kind, 1) + option


def read(answer: bytes) -> tuple[int, int, bool, list[str]]:
    """Number, code, whether it was cut, and the addresses."""
    number, flags, _, count, _, _ = struct.unpack_from("!HHHHHH", answer)
    addresses = [".".join(map(str, answer[len(answer) - 16 * (count - i) + 12 :][:4])) for i in range(count)]
    return number, flags & 0xF, bool(flags & 0x0200), addresses


NAMES = {"a.matrix.svc.x": ["198.18.0.1", "198.18.0.2"], "many": [f"198.18.1.{n}" for n in range(60)]}


def test_dns_answers_with_all_addresses_of_a_name() -> None:
    assert read(dns.answer(query("a.matrix.svc.x"), NAMES)) == (7, 0, False, ["198.18.0.1", "198.18.0.2"])
    assert read(dns.answer(query("A.Matrix.svc.x"), NAMES))[3] == ["198.18.0.1", "198.18.0.2"]


def test_a_name_that_exists_lacks_a_record_and_another_does_not_exist() -> None:
    assert read(dns.answer(query("a.matrix.svc.x", kind=28), NAMES)) == (7, 0, False, [])
    assert read(dns.answer(query("matrix.svc.x"), NAMES)) == (7, 0, False, [])
    assert read(dns.answer(query("b.matrix.svc.x"), NAMES)) == (7, 3, False, [])


def test_an_answer_that_does_not_fit_is_cut_unless_the_asker_can_take_it() -> None:
    assert read(dns.answer(query("many"), NAMES, 512)) == (7, 0, True, [])
    assert len(read(dns.answer(query("many", payload=4096), NAMES, 512))[3]) == 60
    assert len(read(dns.answer(query("many"), NAMES))[3]) == 60


@given(st.binary(max_size=40))
def test_what_is_no_query_is_refused_and_breaks_nothing(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(dns.answer(text, NAMES)) >= 12
