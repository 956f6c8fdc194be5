"""What a cluster must have before the platform is applied: read from its API, judged by what is rendered."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from attrs import field, frozen

from app.inspection.nodes import one_per_node
from kit.footprint import pod_sets
from kit.quantities import Bytes, Cpu, parse_bytes, parse_cpu
from kit.rendering import Manifest

OLDEST_KUBERNETES = (1, 35)
"""Its DNS configuration, sidecars and `trafficDistribution` are in use."""

RESOURCES = (
    "nodes",
    "namespaces",
    "storageclasses.storage.k8s.io",
    "ingressclasses.networking.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices.apiregistration.k8s.io",
    "endpointslices.discovery.k8s.io",
)
"""What is read of a cluster, where it has a namespace of `default`, and nothing else: no Secret, and nothing is changed."""

CILIUM_CONFIG = ("configmaps", "--all-namespaces", "--field-selector", "metadata.name=cilium-config")
"""What is read besides where Cilium is there, and left out where one may not read it."""

_METRICS = "v1beta1.metrics.k8s.io"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@frozen
class Finding:
    """One requirement: whether the cluster meets it, what was seen, and what to do if it does not."""

    met: bool
    requirement: str
    seen: str
    advice: str = ""


@frozen
class ClusterState:
    """What the API says. `version`: of the server; `objects`: those of RESOURCES."""

    version: tuple[int, int]
    objects: Sequence[Manifest]

    def of_kind(self, kind: str) -> list[Manifest]:
        """The objects of a kind."""
        return [o for o in self.objects if o["kind"] == kind]

    def named(self, kind: str) -> dict[str, Manifest]:
        """The objects of a kind by name."""
        return {o["metadata"]["name"]: o for o in self.of_kind(kind)}


@frozen
class Wanted:
    """What a site wants of its cluster beside what its objects show. Namespaces: where the ingress controller and DNS are."""

    ingress_class: str | None
    namespaces: Mapping[str, str] = field(factory=dict)
    """Name to the option that says so."""
    node_cidrs: tuple[str, ...] = ()
    api_servers: tuple[str, ...] = ()
    """Where network policies let pods find the API server; empty where there are no policies."""


def findings(manifests: Iterable[Manifest], wanted: Wanted, state: ClusterState) -> list[Finding]:
    """Every requirement of rendered objects, met or not."""
    objects = list(manifests)
    return [
        _version(state),
        *_definitions(objects, state),
        *_storage_classes(objects, state),
        *_nodes(objects, wanted, state),
        *_metrics(objects, state),
        *_api_server(wanted, state),
        *_cilium(objects, state),
        *_entrance(wanted, state),
    ]


def _version(state: ClusterState) -> Finding:
    dotted, oldest = ".".join(map(str, state.version)), ".".join(map(str, OLDEST_KUBERNETES))
    return Finding(state.version >= OLDEST_KUBERNETES, f"Kubernetes {oldest} or newer", dotted, "upgrade the cluster")


def _definitions(objects: Sequence[Manifest], state: ClusterState) -> Iterator[Finding]:
    """Each custom resource is served in the version that is rendered."""
    served = {
        (crd["spec"]["group"], crd["spec"]["names"]["kind"]): {v["name"] for v in crd["spec"]["versions"] if v["served"]}
        for crd in state.of_kind("CustomResourceDefinition")
    }
    used = {(o["apiVersion"], o["kind"]) for o in objects if "." in o["apiVersion"].partition("/")[0] and not _built_in(o["apiVersion"])}
    for api_version, kind in sorted(used):
        group, version = api_version.split("/")
        versions = served.get((group, kind), set())
        seen = ", ".join(sorted(versions)) or "not there"
        advice = "install or update its operator: docs/reference/operators.md has the commands"
        yield Finding(version in versions, f"{kind} of {api_version}", seen, advice)


def _built_in(api_version: str) -> bool:
    group = api_version.partition("/")[0]
    return group.endswith(".k8s.io") and not group.startswith("gateway.")


def _storage_classes(objects: Sequence[Manifest], state: ClusterState) -> Iterator[Finding]:
    """Each class that volumes name is there and can expand; one is the default where volumes name none."""
    classes = state.named("StorageClass")
    default = next((name for name, o in classes.items() if o["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true"), None)
    for name in sorted(set(_class_names(objects)), key=str):
        found = name or default
        what = f"StorageClass {name}" if name else "a default StorageClass"
        if found not in classes:
            yield Finding(False, what, "not there", "name one that exists in storage_classes, or mark one as the default")
            continue
        grows = bool(classes[found].get("allowVolumeExpansion"))
        seen = f"{found}{'' if grows else ', which cannot expand volumes'}"
        yield Finding(grows, f"{what} that can expand", seen, "set allowVolumeExpansion: true, or no volume can ever grow")


def _class_names(objects: Sequence[Manifest]) -> Iterator[str | None]:
    for o in objects:
        spec = o.get("spec", {})
        match o["kind"]:
            case "StatefulSet":
                yield from (template["spec"].get("storageClassName") for template in spec.get("volumeClaimTemplates", []))
            case "PersistentVolumeClaim":
                yield spec.get("storageClassName")
            case "Cluster":
                yield from (spec[volume].get("storageClass") for volume in ("storage", "walStorage") if volume in spec)
            case "Tenant":
                yield from (pool["volumeClaimTemplate"]["spec"].get("storageClassName") for pool in spec["pools"])


def _nodes(objects: Sequence[Manifest], wanted: Wanted, state: ClusterState) -> Iterator[Finding]:
    nodes = [node for node in state.of_kind("Node") if _ready(node)]
    together = list(one_per_node(objects))
    apart = max((count for *_, count in together), default=1)
    yield Finding(
        len(nodes) >= apart,
        f"{apart} nodes that are ready, since no two of {' or '.join(name for _, name, count in together if count == apart)} share one",
        f"{len(nodes)}",
        "add nodes, or choose a smaller profile",
    )
    for labels, count, name in sorted(_labelled(objects), key=str):
        fitting = [node for node in nodes if labels.items() <= node["metadata"].get("labels", {}).items()]
        said = ",".join(f"{key}={value}" for key, value in labels.items())
        yield Finding(
            len(fitting) >= count, f"{count} nodes labelled {said} for {name}", f"{len(fitting)}", f"kubectl label node <node> {said}"
        )
    addresses = [a["address"] for node in nodes for a in node["status"].get("addresses", []) if a["type"] == "InternalIP"]
    if wanted.node_cidrs:
        outside = [a for a in addresses if not any(ip_address(a) in ip_network(cidr) for cidr in wanted.node_cidrs)]
        yield Finding(not outside, "every node within cluster.node_cidrs", ", ".join(outside) or "all are", "correct cluster.node_cidrs")
    sets = list(pod_sets(objects, len(nodes)))
    cpu, memory = _sum_cpu(s.each.cpu * s.least for s in sets), _sum_bytes(s.each.memory * s.least for s in sets)
    has_cpu = _sum_cpu(parse_cpu(node["status"]["allocatable"]["cpu"]) for node in nodes)
    has_memory = _sum_bytes(parse_bytes(node["status"]["allocatable"]["memory"]) for node in nodes)
    enough = cpu <= has_cpu and memory <= has_memory
    seen = f"{_cores(has_cpu)} cores and {_gibibytes(has_memory)} Gi, in use or not"
    yield Finding(
        enough, f"{_cores(cpu)} cores and {_gibibytes(memory)} Gi of memory to request", seen, "add nodes, or choose a smaller profile"
    )


def _ready(node: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def _labelled(objects: Sequence[Manifest]) -> Iterator[tuple[dict[str, str], int, str]]:
    """Labels of nodes that pods ask for, and how many such nodes there must be."""
    for o in objects:
        if o["kind"] in ("StatefulSet", "DaemonSet", "Deployment"):
            labels = o["spec"]["template"]["spec"].get("nodeSelector", {})
            if labels:
                yield labels, o["spec"].get("replicas", 1), o["metadata"]["name"]


def _metrics(objects: Sequence[Manifest], state: ClusterState) -> Iterator[Finding]:
    """What autoscalers by processor time ask."""
    if not any(o["kind"] == "HorizontalPodAutoscaler" for o in objects):
        return
    service = state.named("APIService").get(_METRICS, {})
    available = any(c["type"] == "Available" and c["status"] == "True" for c in service.get("status", {}).get("conditions", []))
    seen = "available" if available else "not available" if service else "not there"
    yield Finding(available, f"{_METRICS}, by which autoscalers see the use of CPU", seen, "install metrics-server")


def _api_server(wanted: Wanted, state: ClusterState) -> Iterator[Finding]:
    """Where the Service `kubernetes` leads is where policies let pods go: they judge the address behind a Service, not the Service's own."""
    slices = [
        o for o in state.of_kind("EndpointSlice") if o["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "kubernetes"
    ]
    addresses = sorted({a for o in slices for endpoint in o["endpoints"] for a in endpoint["addresses"]})
    ports = sorted({port["port"] for o in slices for port in o["ports"]})
    if not wanted.api_servers:
        return
    outside = [a for a in addresses if not any(ip_address(a) in ip_network(cidr) for cidr in wanted.api_servers)]
    named = ", ".join(f"{a}/{128 if ':' in a else 32}" for a in addresses)
    yield Finding(
        bool(addresses) and not outside,
        "the API server within cluster.api_server_cidrs",
        ", ".join(addresses) or "no endpoint of the Service kubernetes",
        f"write cluster: {{api_server_cidrs: [{named}]}}",
    )
    yield Finding(
        set(ports) <= {443, 6443},
        "the API server on port 443 or 6443",
        ", ".join(map(str, ports)),
        "let pods reach it by policies of your own",
    )


def has_cilium(state: ClusterState) -> bool:
    """Whether Cilium is there, as its definitions say."""
    return any(crd["spec"]["group"] == "cilium.io" for crd in state.of_kind("CustomResourceDefinition"))


def _cilium(objects: Sequence[Manifest], state: ClusterState) -> Iterator[Finding]:
    """Cilium matches no node by an address, and no API server on one, unless it is told to.

    Its Documentation/security/policy/language.rst: "Selecting nodes with CIDR / ipBlock".
    """
    policies = ", ".join(_of_nodes(objects, state))
    if not policies or not has_cilium(state):
        return
    config = state.named("ConfigMap").get("cilium-config")
    mode = config["data"].get("policy-cidr-match-mode", "") if config else ""
    yield Finding(
        "nodes" in re.findall(r"\w+", mode),
        f"Cilium with policyCIDRMatchMode: nodes, for the policies that let through what comes from nodes or goes to them: {policies}",
        mode or ("not set" if config else "the ConfigMap cilium-config cannot be read"),
        "set policyCIDRMatchMode: nodes in the values of its chart; where it is not yours to set, write a CiliumNetworkPolicy beside each of "
        "these: docs/01-DEPLOYMENT-GUIDE.md has the entities",
    )


def _of_nodes(objects: Sequence[Manifest], state: ClusterState) -> Iterator[str]:
    """Policies that name addresses of nodes. Those that name every address there is mean the internet."""
    nodes = [ip_address(a["address"]) for o in state.of_kind("Node") for a in o["status"].get("addresses", []) if a["type"] == "InternalIP"]
    for policy in (o for o in objects if o["kind"] == "NetworkPolicy"):
        rules = [(rule, "from") for rule in policy["spec"].get("ingress", [])] + [(rule, "to") for rule in policy["spec"].get("egress", [])]
        blocks = [ip_network(peer["ipBlock"]["cidr"]) for rule, end in rules for peer in rule.get(end, []) if "ipBlock" in peer]
        if any(node in block for block in blocks if block.prefixlen for node in nodes):
            yield f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"


def _entrance(wanted: Wanted, state: ClusterState) -> Iterator[Finding]:
    if wanted.ingress_class:
        there = wanted.ingress_class in state.named("IngressClass")
        yield Finding(
            there,
            f"IngressClass {wanted.ingress_class}",
            "there" if there else "not there",
            "install it, or name yours in the option",
        )
    for name, option in wanted.namespaces.items():
        there = name in state.named("Namespace")
        yield Finding(there, f"the namespace {name} of {option}", "there" if there else "not there", f"correct {option}")


def _sum_cpu(amounts: Iterable[Cpu]) -> Cpu:
    return sum(amounts, Cpu(0))


def _sum_bytes(amounts: Iterable[Bytes]) -> Bytes:
    return sum(amounts, Bytes(0))


def _cores(cpu: Cpu) -> str:
    return f"{cpu.millicores / 1000:.1f}"


def _gibibytes(amount: Bytes) -> str:
    return f"{amount.count / 2**30:.1f}"


def state_of(version: Mapping[str, Any], objects: Mapping[str, Any]) -> ClusterState:
    """From what `kubectl version -o json` and `kubectl get ... -o json` print."""
    server = version["serverVersion"]
    numbers = (int(server["major"]), int("".join(c for c in server["minor"] if c.isdigit())))
    return ClusterState(numbers, objects["items"])
