"""The node of the live tests itself: what a cluster promises to pods, shown with small programs, so that what runs on it later can be believed."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.cluster import NODE, WORLD, Cluster, Place, running_cluster
from tests.live.processes import wait_for

pytestmark = pytest.mark.live

IMAGE = "substitute/client"
# Says who it is on port 8080; /health answers 500 while /tmp/sick is there.
SERVE = textwrap.dedent("""\
    import http.server, os, signal
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(500 if self.path == "/health" and os.path.exists("/tmp/sick") else 200)
            self.end_headers()
            self.wfile.write(os.environ.get("VERSION", "1").encode() + b" " + os.environ["HOSTNAME"].encode())
        def log_message(self, *args):
            pass
    print("serving", flush=True)
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
    """)
HARDENED = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {"runAsUser": 991, "runAsGroup": 991, "fsGroup": 991, "runAsNonRoot": True}


def server(**more: Any) -> dict[str, Any]:
    """A container that serves."""
    return {
        "name": "server",
        "image": IMAGE,
        "command": ["python", "-c", SERVE],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
        "securityContext": HARDENED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **more,
    }


def pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "containers": list(containers),
        "securityContext": POD,
        "terminationGracePeriodSeconds": 2,
        "volumes": [{"name": "tmp", "emptyDir": {}}, *more.pop("volumes", [])],
        **more,
    }


def workload(kind: str, name: str, spec: dict[str, Any], replicas: int = 1, **more: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"namespace": "matrix", "name": name},
        "spec": {"replicas": replicas, "template": template, **more},
    }


def service(name: str, app: str, **more: Any) -> dict[str, Any]:
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": "http"}], **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "matrix", "name": name}, "spec": spec}


def policy(name: str, selector: dict[str, str], **more: Any) -> dict[str, Any]:
    meta = {"namespace": "matrix", "name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {"podSelector": {"matchLabels": selector}, **more},
    }


WEB = workload("Deployment", "web", pod(server()), replicas=2)
SET = workload(
    "StatefulSet",
    "set",
    pod(server(volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/data"}])),
    replicas=2,
    serviceName="set",
    podManagementPolicy="Parallel",
    volumeClaimTemplates=[{"metadata": {"name": "data"}}],
)
OBJECTS = [WEB, SET, service("web", "web"), service("set", "set", clusterIP="None"), service("nobody", "nobody")]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(OBJECTS, folder=tmp_path_factory.mktemp("node")) as cluster:
        cluster.wait_ready(60)
        yield cluster


@pytest.fixture(autouse=True)
def as_before(node: Cluster) -> None:
    """Each test finds the same objects, and all of them ready."""
    node.apply(OBJECTS)
    node.wait_ready(60)


def get(node: Cluster, url: str, at: Place | None = None) -> str:
    """What a client outside every policy is told."""
    return node.run(["curl", "-sS", "--max-time", "5", url], at=at or NODE, seconds=20).check().output


def with_objects(node: Cluster, *more: dict[str, Any], wait: float = 60) -> None:
    node.apply([*OBJECTS, *more])
    if wait:
        node.wait_ready(wait)


# --- pods ---


def test_a_container_is_its_user_and_may_write_to_its_volumes_alone(node: Cluster) -> None:
    status = dict(line.split(":\t", 1) for line in node.exec("set-0", ["cat", "/proc/1/status"]).check().output.splitlines())
    assert (status["Uid"].split()[0], status["Gid"].split()[0], status["Groups"].strip()) == ("991", "991", "991")
    assert (status["CapBnd"], status["CapPrm"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert "Read-only" in node.exec("set-0", ["touch", "/etc/x"]).errors
    node.exec("set-0", ["touch", "/data/x", "/tmp/x"]).check()


def test_files_are_where_the_pod_says_with_the_modes_that_it_says(node: Cluster) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "matrix", "name": "files"}, "data": {"a.conf": "a\n"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "matrix", "name": "hidden"}, "stringData": {"key": "value"}}
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "files", "mountPath": "/etc/program/files", "readOnly": True},
        {"name": "hidden", "mountPath": "/secrets/hidden", "readOnly": True},
        {"name": "memory", "mountPath": "/memory"},
    ]
    volumes = [
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o440}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "key"}}}]
    with_objects(node, config, secret, workload("StatefulSet", "files", pod(server(volumeMounts=mounts, env=env), volumes=volumes)))
    told = node.exec(
        "files-0", ["sh", "-c", "cat /etc/program/files/a.conf /secrets/hidden/key; echo; stat -Lc '%a %g' /secrets/hidden/key; echo $KEY"]
    )
    assert told.check().output.split() == ["a", "value", "440", "991", "value"]
    assert node.exec("files-0", ["touch", "/etc/program/files/x"]).code != 0
    assert "No space" in node.exec("files-0", ["dd", "if=/dev/zero", "of=/memory/x", "bs=1M", "count=2"]).errors


def test_init_containers_run_to_their_end_one_by_one_and_sidecars_go_on(node: Cluster) -> None:
    share = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}], "securityContext": HARDENED, "image": IMAGE}
    inits = [
        {**share, "name": "first", "command": ["sh", "-c", "echo first >> /tmp/order"]},
        {**share, "name": "beside", "command": ["sh", "-c", "echo beside >> /tmp/order; exec sleep 1000"], "restartPolicy": "Always"},
        {**share, "name": "last", "command": ["sh", "-c", "[ $(wc -l < /tmp/order) = 2 ] && echo last >> /tmp/order"]},
    ]
    inits[1]["startupProbe"] = {"exec": {"command": ["grep", "-q", "beside", "/tmp/order"]}, "periodSeconds": 1}
    with_objects(node, workload("StatefulSet", "ordered", pod(server(), initContainers=inits)))
    assert node.exec("ordered-0", ["cat", "/tmp/order"]).check().output.split() == ["first", "beside", "last"]
    assert node.exec("ordered-0", ["cat", "/proc/1/comm"], container="beside").check().output == "sleep\n"


def test_a_job_runs_until_it_succeeds(node: Cluster) -> None:
    claim = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
    once = {
        "name": "try",
        "image": IMAGE,
        "command": ["sh", "-c", "echo try >> /kept/tries; [ $(wc -l < /kept/tries) = 3 ]"],
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
    }
    job = workload("Job", "job", pod(once, restartPolicy="Never", volumes=claim), backoffLimit=5)
    del job["spec"]["replicas"]
    with_objects(node, job)
    assert [(p.name, p.phase) for p in node.pods("job")] == [("job-0", "Failed"), ("job-1", "Failed"), ("job-2", "Succeeded")]


# --- restarts ---


def test_a_container_that_is_killed_comes_back_in_the_same_pod(node: Cluster) -> None:
    before = node.pod("set-0")
    node.kill("set-0")
    wait_for(lambda: node.pod("set-0").restarts > before.restarts, 10, "a restart")
    node.wait_ready(20, "set-0")
    assert node.pod("set-0").address == before.address
    assert node.logs("set-0").count("serving") >= 2
    assert "code 137" in [event.message for event in node.events("set-0") if event.reason == "Exited"]


def test_a_pod_that_is_deleted_comes_back_with_its_claim_and_another_address(node: Cluster) -> None:
    node.exec("set-1", ["sh", "-c", "echo kept > /data/kept; echo lost > /tmp/lost"]).check()
    before = node.pod("set-1")
    node.delete("set-1", wait=20)
    node.wait_ready(20, "set")
    assert node.exec("set-1", ["cat", "/data/kept"]).check().output == "kept\n"
    assert node.exec("set-1", ["cat", "/tmp/lost"]).code != 0
    assert node.resolve("set-1.set") == [node.pod("set-1").address] != [before.address]


def test_a_stopped_pod_stays_away_until_it_is_started(node: Cluster) -> None:
    node.stop("set-1", wait=20)
    time.sleep(1.5)
    assert (node.pods("set")[-1].phase, node.resolve("set-1.set")) == ("Stopped", [])
    node.start("set-1")
    node.wait_ready(20, "set")


def test_a_pod_without_power_answers_nobody_and_returns_as_a_new_one(node: Cluster) -> None:
    address = node.pod("set-1").address
    node.power_off("set-1")
    assert node.run(["curl", "-sS", "--max-time", "2", f"http://{address}:8080/"], at=NODE, seconds=20).code == 28  # no answer at all
    node.start("set-1")
    node.wait_ready(20, "set")
    assert node.pod("set-1").address != address


def test_a_liveness_probe_that_fails_restarts_the_container(node: Cluster) -> None:
    alive = {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, "periodSeconds": 1, "failureThreshold": 2}
    with_objects(node, workload("StatefulSet", "mortal", pod(server(livenessProbe=alive))))
    node.exec("mortal-0", ["touch", "/tmp/dead"]).check()
    wait_for(lambda: node.pod("mortal-0").restarts >= 1, 15, "a restart")


def test_before_its_end_a_pod_is_warned_and_out_of_its_services(node: Cluster) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1; sleep 1"]}}}
    with_objects(node, workload("StatefulSet", "warned", pod(server(lifecycle=hook))), service("warned", "warned", clusterIP="None"))
    assert node.resolve("warned")
    node.stop("warned-0")
    wait_for(lambda: "stopping" in node.logs("warned-0"), 10, "the hook")
    assert node.resolve("warned") == []
    wait_for(lambda: node.pods("warned")[0].phase == "Stopped", 10, "the end")


# --- controllers ---


def test_a_changed_deployment_rolls_without_being_away(node: Cluster) -> None:
    changed = workload("Deployment", "web", pod(server(env=[{"name": "VERSION", "value": "2"}])), replicas=2)
    changed["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    ask = """
    while [ "${new:-0}" -lt 5 ]; do
        answer=$(curl -sS --fail --max-time 5 http://web/) || exit 1
        echo "$answer"
        case $answer in 2*) new=$((${new:-0} + 1)) ;; esac
        sleep 0.02
    done
    """
    asking = node.launch(["bash", "-c", ask], at=NODE)
    wait_for(asking.output, 20, "the first answer")
    node.apply([changed, *OBJECTS[1:]])
    node.wait_ready(60)
    answers = asking.wait(60).check().output.split()
    assert {"1", "2"} <= set(answers)
    assert len(node.pods("web")) == 2


def test_a_changed_set_rolls_one_pod_at_a_time(node: Cluster) -> None:
    changed = {
        **SET,
        "spec": {**SET["spec"], "template": {**SET["spec"]["template"], "metadata": {"labels": {"app": "set", "new": "yes"}}}},
    }
    before = len(node.events())
    node.apply([WEB, changed, *OBJECTS[2:]])
    node.wait_ready(60)
    told = [
        (event.pod, event.reason)
        for event in node.events()[before:]
        if event.reason in ("Ready", "NotReady") and event.pod.startswith("set-")
    ]
    assert told == [("set-1", "NotReady"), ("set-1", "Ready"), ("set-0", "NotReady"), ("set-0", "Ready")]


def test_a_scaled_set_has_so_many_pods(node: Cluster) -> None:
    node.scale("set", 3)
    node.wait_ready(30)
    assert [pod.name for pod in node.pods("set")] == ["set-0", "set-1", "set-2"]
    node.scale("set", 1)
    wait_for(lambda: [pod.name for pod in node.pods("set")] == ["set-0"], 20, "one pod")


# --- the network ---


def test_a_service_spreads_over_its_ready_pods(node: Cluster) -> None:
    names = sorted(pod.name for pod in node.pods("web"))
    assert sorted({get(node, "http://web/").split()[1] for _ in range(14)}) == names
    node.exec(names[0], ["touch", "/tmp/sick"]).check()
    wait_for(lambda: not node.pod(names[0]).ready, 10, "a pod that is not ready")
    assert {get(node, "http://web/").split()[1] for _ in range(4)} == {names[1]}
    node.exec(names[0], ["rm", "/tmp/sick"]).check()


def test_a_service_without_pods_refuses_at_once(node: Cluster) -> None:
    ask = ["curl", "-sS", "--max-time", "5", "http://nobody/"]
    assert (node.run(ask, at=NODE, seconds=20).code, node.exec("set-0", ask).code) == (7, 7), "not the 28 of one who waited in vain"


def test_a_pod_reaches_itself_through_its_service(node: Cluster) -> None:
    with_objects(node, workload("StatefulSet", "alone", pod(server())), service("alone", "alone"))
    assert node.exec("alone-0", ["curl", "-sS", "--max-time", "5", "http://alone/"]).check().output == "1 alone-0"


def test_names_are_those_of_the_cluster(node: Cluster) -> None:
    for name in ("web", "web.matrix", "web.matrix.svc.cluster.local", "set-0.set", "set-0.set.matrix.svc.cluster.local."):
        assert node.exec("set-1", ["getent", "hosts", name]).check().output.split()[0].startswith("198.1"), name
    for name in ("web.other", "nobody-at-all", "example.org"):
        assert node.exec("set-1", ["getent", "hosts", name]).code == 2, name
    addresses = node.exec("set-1", ["getent", "ahostsv4", "set"]).check().output
    assert {line.split()[0] for line in addresses.splitlines()} == {pod.address for pod in node.pods("set")}


DENY = policy("deny", {}, policyTypes=["Ingress", "Egress"])
TO_SET = [
    policy("set", {"app": "set"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}]}]),
    policy(
        "web",
        {"app": "web"},
        policyTypes=["Egress"],
        egress=[{"to": [{"podSelector": {"matchLabels": {"app": "set"}}}], "ports": [{"port": 8080}]}],
    ),
]


def test_policies_are_enforced_and_refusals_are_told(node: Cluster) -> None:
    with_objects(node, DENY, *TO_SET)
    node.forget_denied()
    web, other = sorted(pod.name for pod in node.pods("web"))
    asked = [(web, "set-0", 8080), (web, "set-0", 8081), (web, other, 8080), ("set-0", web, 8080), ("set-0", "set-1", 8080)]
    assert node.arrivals(asked, 0.5) == {(web, "set-0", 8080)}
    told = {(denied.source, denied.target, denied.protocol, denied.port) for denied in node.denied()}
    assert told == {(source, target, "tcp", port) for source, target, port in asked[1:]}
    assert get(node, f"http://{node.pod('set-0').address}:8080/") == "1 set-0", "the node reaches its own pods"
    node.apply(OBJECTS)
    wait_for(lambda: node.arrivals(asked, 0.5) == set(asked), 10, "everything to be open again")


@pytest.mark.parametrize(
    ("place", "admitted"),
    [
        (Place("traefik", {"app": "x"}), {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}),
        (WORLD, {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}),
    ],
)
def test_clients_are_where_they_say(node: Cluster, place: Place, admitted: dict[str, Any]) -> None:
    command = ["curl", "-sS", "--max-time", "1", "http://web/"]
    with_objects(node, policy("nobody", {"app": "web"}))
    assert node.run(command, at=place, seconds=20).code == 28
    with_objects(node, policy("somebody", {"app": "web"}, ingress=[{"from": [admitted]}]))
    assert node.run(command, at=place, seconds=20).check().output.startswith("1 web-")
    outsider = Place("elsewhere", {"app": "x"})
    assert node.run(command, at=outsider, seconds=20).code == 28, "a block of addresses means no pod"


def test_nothing_of_this_machine_can_be_reached(node: Cluster) -> None:
    run = node.exec("set-0", ["python", "-c", "import socket; socket.create_connection(('1.1.1.1', 53), 3)"])
    assert "unreachable" in run.errors or "timed out" in run.errors
    assert node.run(["ip", "-brief", "link"], at=NODE).check().output.splitlines()[0].startswith("lo")


# --- the node's own end ---


def processes_in(namespace: str) -> list[str]:
    """The processes of this machine that are in a namespace of processes, by its identity."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/ns/pid"):
        with contextlib.suppress(OSError):
            if str(entry.readlink()) == namespace:
                found.append(entry.parts[2])
    return found


def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""\
        import sys, time
        from pathlib import Path
        from tests.live.cluster import running_cluster
        from tests.live.test_node import SET
        with running_cluster([SET], folder=Path({str(tmp_path)!r})) as cluster:
            cluster.wait_ready(60)
            print("ready", flush=True)
            time.sleep(600)
        """)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'constructs'}"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root, env=environment, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        own = str(Path("/proc/self/ns/pid").readlink())
        mine = [entry.parts[2] for entry in Path("/proc").glob("[0-9]*/cmdline") if b"tests.live.cluster\0" in entry.read_bytes()]
        namespaces = {str(Path(f"/proc/{number}/ns/pid").readlink()) for number in mine if descends(int(number), process.pid)} - {own}
        assert namespaces
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    wait_for(lambda: not any(map(processes_in, namespaces)), 10, "the end of all processes")


def descends(number: int, ancestor: int) -> bool:
    """Whether a process comes from another."""
    while number > 1:
        if number == ancestor:
            return True
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return False
