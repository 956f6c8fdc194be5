"""What a cluster shows of what a site must know: proposals for a new site.yaml, by the keys of its options."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Any

from attrs import field, frozen

from app.inspection.prerequisites import ClusterState
from kit.rendering import Manifest

_DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
_ZONE = "topology.kubernetes.io/zone"
_WIDEST_OF_NODES = {4: 24, 6: 64}
"""Nodes that come later are mostly in the same network of this length."""
_POOLS = "ippools.crd.projectcalico.org"

ALSO_READ: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("servicecidrs.networking.k8s.io",)),
    ("", ("configmaps", "--namespace", "kube-system", "--field-selector", "metadata.name=kubeadm-config")),
    ("", ("services", "--all-namespaces", "--selector", "k8s-app=kube-dns")),
    ("", ("services", "--all-namespaces", "--selector", "dns.operator.openshift.io/owning-dns")),
    ("", ("deployments.apps,daemonsets.apps", "--all-namespaces", "--selector", "app.kubernetes.io/name")),
    (_POOLS, (_POOLS,)),
)
"""What is read besides, each where the cluster has the definition that is named, and left out where one may not read it. No Secret."""


@frozen
class Surroundings:
    """What was seen."""

    answers: Mapping[str, Any] = field(factory=dict)
    """Options that the cluster tells."""
    there: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """Options of which there is a choice."""
    unknown: tuple[str, ...] = ()
    """What no API has told, and what to do."""


def surroundings(state: ClusterState) -> Surroundings:
    """What a cluster shows. `state`: its RESOURCES, and what of ALSO_READ could be read."""
    kubeadm = _kubeadm(state)
    pods, services = _pod_networks(state, kubeadm), _service_networks(state, kubeadm)
    answers: dict[str, Any] = {
        "cluster.domain": kubeadm.get("dnsDomain"),
        "cluster.dns.namespace": _dns_namespace(state),
        "cluster.multi_zone": len({zone for zone in map(_zone, state.of_kind("Node")) if zone}) > 1,
        "cluster.api_server_cidrs": _api_servers(state),
        "cluster.node_cidrs": _node_networks(state, [*pods, *services]),
        "cluster.pod_cidrs": pods,
        "cluster.service_cidrs": services,
        "storage_classes.default": _storage_class(state),
        "ingress.class_name": _ingress_class(state),
    }
    answers["ingress.controller_namespace"] = _controller_namespace(state, answers["ingress.class_name"])
    kinds = {"storage_classes.default": "StorageClass", "storage_classes.database": "StorageClass", "ingress.class_name": "IngressClass"}
    return Surroundings(
        {key: value for key, value in answers.items() if value},
        {key: tuple(sorted(state.named(kind))) for key, kind in kinds.items()},
        tuple(_unknown(state, answers)),
    )


def _unknown(state: ClusterState, answers: Mapping[str, Any]) -> Iterator[str]:
    if not state.of_kind("StorageClass"):
        yield "there is no StorageClass: make one before you apply"
    elif not answers["storage_classes.default"] and not _is_default(state):
        yield "no StorageClass is the default: name one with --storage-class"
    if not answers["ingress.class_name"]:
        yield "there is no IngressClass: install an ingress controller, or write ingress: {type: gateway} and the section ingress.gateway"
    elif not answers["ingress.controller_namespace"]:
        yield "the namespace of the ingress controller is not known: give it with --ingress-namespace"
    if not answers["cluster.pod_cidrs"]:
        yield "the networks of the pods are not known: give them with --pod-cidrs, as your network plugin has them"
    if not answers["cluster.dns.namespace"]:
        yield "no Service of the cluster's DNS was found: give its namespace with --dns-namespace"


def _kubeadm(state: ClusterState) -> Mapping[str, str]:
    """`networking` of kubeadm's ClusterConfiguration, which is YAML within a ConfigMap."""
    text = state.named("ConfigMap").get("kubeadm-config", {}).get("data", {}).get("ClusterConfiguration", "")
    found = {name: re.search(rf"(?m)^ +{name}: *[\"']?([^\"'\s]+)", text) for name in ("dnsDomain", "podSubnet", "serviceSubnet")}
    return {name: match[1] for name, match in found.items() if match}


def _service_networks(state: ClusterState, kubeadm: Mapping[str, str]) -> list[str]:
    """ServiceCIDRs are there from Kubernetes 1.33 on, in every cluster."""
    told = [cidr for o in state.of_kind("ServiceCIDR") for cidr in o["spec"]["cidrs"]]
    return _networks(told or kubeadm.get("serviceSubnet", "").split(","))


def _pod_networks(state: ClusterState, kubeadm: Mapping[str, str]) -> list[str]:
    """As kubeadm or Calico was told, or else the smallest networks that have what each node was given."""
    pools = [o["spec"]["cidr"] for o in state.of_kind("IPPool") if not o["spec"].get("disabled")]
    given = [cidr for node in state.of_kind("Node") for cidr in node.get("spec", {}).get("podCIDRs", [])]
    return _networks(pools or kubeadm.get("podSubnet", "").split(",")) or list(map(str, _covering(_networks(given))))


def _covering(cidrs: Iterable[str]) -> Iterator[IPv4Network | IPv6Network]:
    """Of each version the smallest network that has them all."""
    networks = [ip_network(cidr) for cidr in cidrs]
    for version in (4, 6):
        of = [network for network in networks if network.version == version]
        if of:
            whole = of[0]
            while not all(whole[0] <= network[0] and network[-1] <= whole[-1] for network in of):  # type: ignore[operator]  # of one version
                whole = whole.supernet()
            yield whole


def _node_networks(state: ClusterState, taken: Sequence[str]) -> list[str]:
    """The networks that nodes are in, or their addresses alone where such a network has addresses of pods or Services."""
    addresses = [a["address"] for node in state.of_kind("Node") for a in node["status"].get("addresses", []) if a["type"] == "InternalIP"]
    wide = {str(ip_network(f"{a}/{_WIDEST_OF_NODES[ip_address(a).version]}", strict=False)) for a in addresses}
    clash = any(ip_network(one).overlaps(ip_network(other)) for one in wide for other in taken if _same_version(one, other))
    return _networks(addresses if clash else wide)


def _same_version(one: str, other: str) -> bool:
    return ip_network(one).version == ip_network(other).version


def _networks(cidrs: Iterable[str]) -> list[str]:
    """Networks in order and without those that another one has. An address alone is one, too."""
    networks = [ip_network(cidr.strip(), strict=False) for cidr in cidrs if cidr.strip()]
    return [str(found) for version in (4, 6) for found in collapse_addresses([n for n in networks if n.version == version])]  # type: ignore[type-var]


def _api_servers(state: ClusterState) -> list[str]:
    slices = [
        o for o in state.of_kind("EndpointSlice") if o["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "kubernetes"
    ]
    return _networks({a for o in slices for endpoint in o["endpoints"] for a in endpoint["addresses"]})


def _zone(node: Manifest) -> str | None:
    zone: str | None = node["metadata"].get("labels", {}).get(_ZONE)
    return zone


def _dns_namespace(state: ClusterState) -> str | None:
    names = ("kube-dns", "rke2-coredns-rke2-coredns", "dns-default")
    services = [o for o in state.of_kind("Service") if o["metadata"]["name"] in names or _has_dns_label(o)]
    return next((o["metadata"]["namespace"] for o in services), None)


def _has_dns_label(service: Manifest) -> bool:
    return bool(service["metadata"].get("labels", {}).get("k8s-app") == "kube-dns")


def _is_default(state: ClusterState) -> bool:
    return any(o["metadata"].get("annotations", {}).get(_DEFAULT_STORAGE) == "true" for o in state.of_kind("StorageClass"))


def _storage_class(state: ClusterState) -> str | None:
    """The only one, where none is the default."""
    names = sorted(state.named("StorageClass"))
    return names[0] if len(names) == 1 and not _is_default(state) else None


def _ingress_class(state: ClusterState) -> str | None:
    """The default, or Traefik, or the only one."""
    classes = state.named("IngressClass")
    default = [name for name, o in classes.items() if o["metadata"].get("annotations", {}).get(_DEFAULT_INGRESS) == "true"]
    return next(iter([*default, *(name for name in classes if name == "traefik"), *sorted(classes)]), None)


def _controller_namespace(state: ClusterState, ingress_class: str | None) -> str | None:
    """Where the program runs that the class names: `traefik.io/ingress-controller`, `k8s.io/ingress-nginx`."""
    controller = state.named("IngressClass").get(ingress_class or "", {}).get("spec", {}).get("controller", "")
    for o in [*state.of_kind("Deployment"), *state.of_kind("DaemonSet")]:
        name = o["metadata"].get("labels", {}).get("app.kubernetes.io/name", "")
        if name and re.search(rf"(^|[./-]){re.escape(name)}($|[./-])", controller):
            namespace: str = o["metadata"]["namespace"]
            return namespace
    return None
