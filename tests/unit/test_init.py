"""`init` writes a site that `check` accepts: by questions on a terminal, by flags, from a cluster; and never over a file."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import CliRunner, Result

import overlays
from app.cli import main
from app.commands.init import init
from app.inspection.prerequisites import ClusterState
from app.inspection.surroundings import surroundings
from app.new_site import mistake, site_text
from app.questions import QUESTIONS
from app.settings import parse_site, read_site
from overlays import profiles
from tests.kustomize import ROOT

NEEDED = ("--server-name", "example.com", "--registry", "registry.example.com/matrix")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "site.yaml"


# --- unattended


def test_flags_alone_write_a_site_that_check_accepts(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of `check`, which reads every profile, in the smallest."""
    officers = "anna@authority.example: Anna Adler (investigator, auditor); clara@authority.example: Clara Cohn (approver)"
    answers = {
        "--mirror": "registry.example.com/mirror",
        "--with": "calls, li,push",
        "--certificates": "cluster-issuer",
        "--cluster-issuer": "letsencrypt",
        "--storage-class": "standard",
        "--database-storage-class": "local-nvme",
        "--ingress-class": "nginx",
        "--ingress-namespace": "ingress-nginx",
        "--cluster-domain": "k8s.example",
        "--dns-namespace": "dns",
        "--api-server-cidrs": "10.0.0.10/32",
        "--node-cidrs": "10.0.0.0/24, 10.0.1.0/24",
        "--pod-cidrs": "10.42.0.0/16",
        "--service-cidrs": "10.43.0.0/16",
        "--fcm-apps": "com.example.app.android: example-app",
        "--country": "DE",
        "--owner": "example-operator",
        "--officers": officers,
    }
    result = run("init", "--out", str(out), *NEEDED, "--multi-zone", *(word for pair in answers.items() for word in pair))
    assert (result.exit_code, f"{out} is written" in result.output) == (0, True), result.output
    site = read_site(out)
    assert (site.images.mirror, site.features.calls, site.features.li, site.features.push) == (
        "registry.example.com/mirror",
        True,
        True,
        True,
    )
    assert site.cluster.node_cidrs == ("10.0.0.0/24", "10.0.1.0/24")
    assert site.cluster.multi_zone
    assert [str(of) for _, of in site.li.officers] == ["Anna Adler (investigator, auditor)", "Clara Cohn (approver)"]
    assert {question.flag for question in QUESTIONS} == {*answers, *NEEDED[::2], "--multi-zone", "--acme-email"}
    monkeypatch.setattr(overlays, "profiles", lambda: profiles()[:1])
    assert run("check", "--site", str(out)).output.endswith("sound\n")


def test_every_question_has_a_flag_and_is_about_an_option() -> None:
    names = {parameter.name for parameter in init.params}
    for question in QUESTIONS:
        assert question.option.name == question.key.rpartition(".")[2]
        assert question.name in names


def test_nobody_to_ask_is_an_error_that_names_the_flags(out: Path) -> None:
    result = run("init", "--out", str(out))
    assert (result.exit_code, out.exists()) == (2, False)
    assert "give --server-name and --registry, or run this on a terminal" in result.output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--server-name", "https://Example.com/"), '--server-name: "https://Example.com/" is a URL; give the bare Matrix server name'),
        (("--with", "cals"), '--with: unknown key "cals"; did you mean "calls"?'),
        (("--node-cidrs", "10.0.0.1/24"), '--node-cidrs: "10.0.0.1/24" has bits set beyond its prefix; write 10.0.0.0/24'),
        (("--certificates", "acem"), '--certificates: "acem" is not allowed; give one of acme, cluster-issuer'),
        (("--with", "calls"), "needs cluster.node_cidrs, which is missing"),
        (("--with", "calls"), "(--with, --node-cidrs)"),
        (("--certificates", "cluster-issuer"), "(--certificates, --cluster-issuer)"),
        (
            ("--with", "push", "--service-cidrs", "10.43.0.0/16"),
            "no app to push to; name yours in push.fcm_apps or push.apns (--with, --fcm-apps)",
        ),
        (("--acme-email", "a@example.com", "--certificates", "internal-ca"), "has no effect"),
        (("--with", "li", "--country", "DE", "--owner", "o", "--officers", "Anna"), "--officers: "),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else value[0],
)
def test_an_answer_that_cannot_be_is_refused_with_its_flag_and_nothing_is_written(flags: tuple[str, ...], said: str, out: Path) -> None:
    needed = tuple(word for pair in zip(NEEDED[::2], NEEDED[1::2], strict=True) if pair[0] not in flags for word in pair)
    result = run("init", "--out", str(out), *needed, *flags)
    assert (result.exit_code, out.exists()) == (2, False)
    assert said in result.output, result.output
    assert result.output.endswith("nothing was written.\n")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_is_never_replaced(kind: str, out: Path) -> None:
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to(out.with_name("nothing"))
    result = run("init", "--out", str(out), *NEEDED)
    assert (result.exit_code, "is there already, and is never replaced" in result.output) == (2, True)
    assert kind != "file" or out.read_text() == "mine"
    assert not out.with_name("nothing").exists()


def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    result = run("init", "--out", str(tmp_path / "none" / "site.yaml"), *NEEDED)
    assert (result.exit_code, "No such file or directory; choose another with --out" in result.output) == (2, True)


def test_the_command_of_the_deployment_guide_works_when_it_is_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "01-DEPLOYMENT-GUIDE.md").read_text()
    (pasted,) = re.findall(r"```sh\n\S+python -m app (init .*?)```", guide, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    result = run(*shlex.split(pasted.replace("\\\n", "")))
    assert result.exit_code == 0, result.output
    assert read_site(tmp_path / "mine.yaml").tls.source == "internal-ca"


# --- from a cluster


def named(kind: str, name: str, namespace: str = "", **rest: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "metadata": {"name": name, **place, **rest.pop("metadata", {})}, **rest}


def node(number: int, zone: str = "a", **spec: Any) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": f"10.0.0.{number}"}, {"type": "Hostname", "address": f"node-{number}"}]
    labels = {"labels": {"topology.kubernetes.io/zone": zone}}
    return named("Node", f"node-{number}", metadata=labels, spec=spec, status={"addresses": addresses})


def cluster(*more: dict[str, Any], nodes: tuple[dict[str, Any], ...] = (node(11), node(12))) -> ClusterState:
    api_servers = named(
        "EndpointSlice",
        "kubernetes",
        metadata={"labels": {"kubernetes.io/service-name": "kubernetes"}},
        endpoints=[{"addresses": ["10.0.0.1", "10.0.0.3"]}],
        ports=[{"port": 6443}],
    )
    return ClusterState((1, 35), [api_servers, *nodes, *more])


SERVICE_NETWORK = named("ServiceCIDR", "kubernetes", spec={"cidrs": ["10.96.0.0/12"]})
KUBEADM = named(
    "ConfigMap",
    "kubeadm-config",
    "kube-system",
    data={"ClusterConfiguration": 'networking:\n  dnsDomain: k8s.example\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: "10.96.0.0/12"\n'},
)
DNS = named("Service", "kube-dns", "kube-system", metadata={"labels": {"k8s-app": "kube-dns"}})


def traefik(namespace: str) -> list[dict[str, Any]]:
    return [
        named("IngressClass", "traefik", spec={"controller": "traefik.io/ingress-controller"}),
        named("Deployment", "traefik", namespace, metadata={"labels": {"app.kubernetes.io/name": "traefik"}}),
    ]


def test_a_cluster_of_kubeadm_tells_its_networks_its_dns_and_its_way_in() -> None:
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    seen = surroundings(
        cluster(
            KUBEADM, SERVICE_NETWORK, DNS, *traefik("edge"), named("StorageClass", "fast"), named("StorageClass", "slow", metadata=default)
        )
    )
    assert seen.answers == {
        "cluster.domain": "k8s.example",
        "cluster.dns.namespace": "kube-system",
        "cluster.api_server_cidrs": ["10.0.0.1/32", "10.0.0.3/32"],
        "cluster.node_cidrs": ["10.0.0.0/24"],
        "cluster.pod_cidrs": ["10.244.0.0/16"],
        "cluster.service_cidrs": ["10.96.0.0/12"],
        "ingress.class_name": "traefik",
        "ingress.controller_namespace": "edge",
    }
    assert seen.there["storage_classes.database"] == ("fast", "slow")
    assert seen.unknown == ()
    assert all(mistake(key, value) is None for key, value in seen.answers.items())


def test_where_nobody_says_the_network_of_pods_it_is_what_the_nodes_were_given() -> None:
    nodes = (node(11, podCIDRs=["10.42.0.0/24", "fd00:42::/64"]), node(12, zone="b", podCIDRs=["10.42.3.0/24", "fd00:42:0:1::/64"]))
    seen = surroundings(cluster(SERVICE_NETWORK, named("StorageClass", "local-path"), nodes=nodes))
    assert seen.answers["cluster.pod_cidrs"] == ["10.42.0.0/22", "fd00:42::/63"]
    assert seen.answers["cluster.multi_zone"] is True
    assert seen.answers["storage_classes.default"] == "local-path"
    assert [line.partition(":")[0] for line in seen.unknown] == ["there is no IngressClass", "no Service of the cluster's DNS was found"]


def test_calico_says_its_own_pools_and_a_network_of_nodes_never_has_addresses_of_pods() -> None:
    pools = [
        named("IPPool", "default", spec={"cidr": "10.0.0.128/25"}),
        named("IPPool", "old", spec={"cidr": "10.9.0.0/16", "disabled": True}),
    ]
    seen = surroundings(cluster(SERVICE_NETWORK, *pools))
    assert seen.answers["cluster.pod_cidrs"] == ["10.0.0.128/25"]
    assert seen.answers["cluster.node_cidrs"] == ["10.0.0.11/32", "10.0.0.12/32"]


@pytest.mark.parametrize(
    ("controller", "name"),
    [
        ("k8s.io/ingress-nginx", "ingress-nginx"),
        ("haproxy.org/ingress-controller/haproxy", "haproxy"),
        ("traefik.io/ingress-controller", "traefik"),
    ],
)
def test_an_ingress_controller_is_found_by_what_its_class_names(controller: str, name: str) -> None:
    other = named("Deployment", "grafana", "elsewhere", metadata={"labels": {"app.kubernetes.io/name": "grafana"}})
    program = named("DaemonSet", "controller", "edge", metadata={"labels": {"app.kubernetes.io/name": name}})
    seen = surroundings(cluster(other, program, named("IngressClass", "public", spec={"controller": controller})))
    assert (seen.answers["ingress.class_name"], seen.answers["ingress.controller_namespace"]) == ("public", "edge")


FAKE_KUBECTL = """#!{python}
import json, sys
words = sys.argv[1:]
state = json.load(open({state!r}))
if "version" in words:
    print(json.dumps({{"serverVersion": {{"major": "1", "minor": "35"}}}}))
elif "configmaps" in words:
    sys.exit("Error from server (Forbidden): configmaps is forbidden")
elif "secrets" in " ".join(words) or "ippools.crd.projectcalico.org" in words:
    sys.exit("error: this was not to be asked")
else:
    kinds = {kinds!r}
    wanted = [kind for kind, name in kinds.items() if name in words[words.index("get") + 1].split(",")]
    print(json.dumps({{"items": [o for o in state if o["kind"] in wanted]}}))
"""
KINDS = {
    "Node": "nodes",
    "StorageClass": "storageclasses.storage.k8s.io",
    "IngressClass": "ingressclasses.networking.k8s.io",
    "EndpointSlice": "endpointslices.discovery.k8s.io",
    "ServiceCIDR": "servicecidrs.networking.k8s.io",
    "Service": "services",
    "Deployment": "deployments.apps",
}


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps(list(cluster(SERVICE_NETWORK, DNS, *traefik("edge")).objects)))
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(FAKE_KUBECTL.format(python=sys.executable, state=str(state), kinds=KINDS))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("kubectl")
def test_what_the_cluster_says_is_taken_where_no_flag_says_otherwise_and_what_it_does_not_say_is_named(out: Path) -> None:
    result = run("init", "--cluster", "--out", str(out), *NEEDED, "--node-cidrs", "10.0.0.0/16")
    assert result.exit_code == 0, result.output
    site = read_site(out)
    assert site.cluster.node_cidrs == ("10.0.0.0/16",)
    assert site.cluster.service_cidrs == ("10.96.0.0/12",)
    assert site.cluster.api_server_cidrs == ("10.0.0.1/32", "10.0.0.3/32")
    assert site.ingress.controller_namespace == "edge"
    assert "caution: there is no StorageClass: make one before you apply" in result.output
    assert "caution: the networks of the pods are not known: give them with --pod-cidrs" in result.output


def test_a_cluster_that_does_not_answer_is_an_error_and_nothing_is_written(
    out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho 'connection refused' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = run("init", "--cluster", "--out", str(out), *NEEDED)
    assert (result.exit_code, "connection refused" in result.output, out.exists()) == (2, True, False)


# --- on a terminal


def terminal(folder: Path, *arguments: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}", "TERM": "xterm", "COLUMNS": "200"}
    words = ["-m", "app", "init", *arguments]
    return pexpect.spawn(
        sys.executable,
        words,
        cwd=str(folder),
        env=environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 200),
        # What a shell starts in the background ignores Control-C, and so would what the tests start then.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.usefixtures("kubectl")
def test_on_a_terminal_it_asks_says_what_is_wrong_with_an_answer_and_writes_what_was_answered(tmp_path: Path) -> None:
    asked = terminal(tmp_path, "--cluster", "--dns-namespace", "openshift-dns")
    answers = [
        ("Server name", ""),
        ("this one is needed", "Example.com"),
        ("has upper-case letters", "example.com"),
        ("Registry, with path, for the images", "registry.example.com/matrix"),
        ("Registry that has all other images", ""),
        ("Parts beside Synapse and Element Web.*calls, antivirus, monitoring", "monitoring, calls"),
        (r"Where certificates come from \(acme, cluster-issuer, internal-ca, existing\) \[acme\]", ""),
        ("E-mail address for the certification authority", "ops@example.com"),
        ("StorageClass of every volume", ""),
        ("StorageClass of PostgreSQL", "local-nvme"),
        (r"IngressClass \(traefik\) \[traefik\]", ""),
        (r"Namespace of the ingress controller \[edge\]", ""),
        (r"DNS domain of the cluster \[cluster.local\]", ""),
        (r"Do the nodes stand in several zones \[y/N\]", "y"),
        (r"Addresses of the API server.* \[10.0.0.1/32, 10.0.0.3/32\]", ""),
        (r"Networks of the nodes \[10.0.0.0/24\]", "10.0.0.0/20"),
        ("Networks of the pods", ""),
        (r"Networks of the Services \[10.96.0.0/12\]", ""),
    ]
    for question, answer in answers:
        asked.expect(question)
        asked.sendline(answer)
    asked.expect("site.yaml is written")
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus == 0
    site = read_site(tmp_path / "site.yaml")
    assert (site.server_name, site.tls.acme.email, site.cluster.dns.namespace) == ("example.com", "ops@example.com", "openshift-dns")
    assert (site.features.calls, site.features.monitoring, site.features.li, site.cluster.multi_zone) == (True, True, False, True)
    assert (site.ingress.controller_namespace, site.cluster.node_cidrs) == ("edge", ("10.0.0.0/20",))
    assert (site.cluster.service_cidrs, site.cluster.api_server_cidrs) == (("10.96.0.0/12",), ("10.0.0.1/32", "10.0.0.3/32"))
    assert (site.storage_classes.default, site.storage_classes.database) == (None, "local-nvme")
    text = (tmp_path / "site.yaml").read_text()
    # What has been left to its default is not in the file.
    assert "class_name" not in text
    assert "mirror" not in text


def test_who_ends_it_with_control_c_has_no_file(tmp_path: Path) -> None:
    asked = terminal(tmp_path)
    asked.expect("Server name")
    asked.sendintr()
    asked.expect(pexpect.EOF)
    asked.close()
    assert (asked.exitstatus, list(tmp_path.iterdir())) == (1, [])


# --- the text


@pytest.mark.parametrize(
    "brand",
    [
        "yes",
        "1e3",
        "0o17",
        "null",
        "a: b",
        "# x",
        "*a",
        "é",
        "2026-11-26",
        "'",
        '"',
        "~",
        "-",
        "!x",
        "%",
        "@a",
        "{}",
        "[x",
        "x " * 45 + "x",
    ],
)
def test_every_text_is_written_so_that_it_is_read_as_it_was(brand: str) -> None:
    tree = {"server_name": "example.com", "images": {"registry": "registry.example.com"}, "element": {"brand": brand}}
    assert parse_site(site_text(tree, ["a line\nwith two: parts"])).element.brand == brand


def test_its_help_is_shown_without_a_site(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "init", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(question.flag in done.stdout for question in QUESTIONS)
