"""What a site cannot mean, though each of its options is well formed: found as the site is read, and reported like every other mistake."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

from attrs import fields

from antivirus.options import UNPACKED
from app.site import Namespaces, Site
from infrastructure.operators import OPERATORS
from kit.options import OptionError
from kit.quantities import Bytes, gib, mib, tib
from monitoring.options import Mode

_OF_KUBERNETES = ("default", "kube-system", "kube-public", "kube-node-lease")

SMALLEST_VOLUME, LARGEST_UPLOAD = gib(1), gib(10)
LARGEST_VOLUME = tib(64)
"""The largest volume of the block storage of large clouds, such as io2 of Amazon EBS."""


def contradictions(site: Site) -> Iterator[OptionError]:
    """Everything that the site cannot mean."""
    for rule in _RULES:
        yield from rule(site)


def _foreign_namespaces(site: Site) -> Iterator[OptionError]:
    """The platform closes its namespaces: in somebody else's it would close every pod there."""
    ours = {field.name: getattr(site.namespaces, field.name) for field in fields(Namespaces)}
    others = {
        site.cluster.dns.namespace: "that of cluster.dns.namespace",
        site.ingress.controller_namespace: "that of ingress.controller_namespace",
        site.tls.cert_manager_namespace: "that of tls.cert_manager_namespace",
    }
    if site.ingress.gateway:
        others[site.ingress.gateway.namespace] = "that of ingress.gateway.namespace"
    if site.monitoring.mode is Mode.OPERATOR:
        others[site.monitoring.operator.namespace] = "that of monitoring.operator.namespace"
    others |= {operator.namespace: f"{operator.name}'s" for operator in OPERATORS}
    others |= dict.fromkeys(_OF_KUBERNETES, "Kubernetes'")
    for name, namespace in ours.items():
        if namespace in others:
            yield OptionError(
                f"namespaces.{name}",
                f'"{namespace}" is {others[namespace]}: the platform owns its namespaces and closes every pod in them; give a name of its own',
            )


def _generations(site: Site) -> Iterator[OptionError]:
    restore, generation = site.backups.restore, site.backups.generation
    if restore and restore.generation >= generation:
        yield OptionError(
            "backups.generation",
            f"{generation} is not after backups.restore.generation, {restore.generation}: a restored database archives in a place of its own; "
            f"give {restore.generation + 1} or more",
        )


def _networks(site: Site) -> Iterator[OptionError]:
    """Networks of the cluster are some addresses, not all, and no two of them are one."""
    cluster = site.cluster
    kinds = {"node_cidrs": cluster.node_cidrs, "pod_cidrs": cluster.pod_cidrs, "service_cidrs": cluster.service_cidrs}
    for name, cidrs in {**kinds, "api_server_cidrs": cluster.api_server_cidrs}.items():
        for cidr in cidrs:
            if ip_network(cidr).prefixlen == 0:
                yield OptionError(f"cluster.{name}", f"{cidr} is every address there is; give the network of your cluster")
    owners: dict[str, list[str]] = defaultdict(list)
    for name, cidrs in kinds.items():
        for cidr in cidrs:
            for other, theirs in kinds.items():
                clash = next(
                    (c for c in theirs if other < name and ip_network(c).version == ip_network(cidr).version and _overlap(c, cidr)), None
                )
                if clash and other not in owners[name]:
                    owners[name].append(other)
                    yield OptionError(
                        f"cluster.{name}", f"{cidr} and {clash} of cluster.{other} overlap, which no cluster can have; look up both"
                    )


def _overlap(one: str, other: str) -> bool:
    return ip_network(one).overlaps(ip_network(other))


def _public_addresses(site: Site) -> Iterator[OptionError]:
    nodes = [ip_network(cidr) for cidr in site.cluster.node_cidrs]
    for own, _ in site.calls.public_addresses:
        if nodes and not any(ip_address(own) in network for network in nodes):
            yield OptionError(
                "calls.public_addresses", f"{own} is no address of a node: cluster.node_cidrs are {', '.join(site.cluster.node_cidrs)}"
            )


def _sizes(site: Site) -> Iterator[OptionError]:
    volumes = site.storage_sizes
    for field in fields(type(volumes)):
        size: Bytes | None = getattr(volumes, field.name)
        if size is not None and not SMALLEST_VOLUME <= size <= LARGEST_VOLUME:
            yield OptionError(
                f"storage_sizes.{field.name}", f"{size} is no size of such a volume; give {SMALLEST_VOLUME} to {LARGEST_VOLUME}"
            )
    upload = site.media.max_upload_size
    if upload > LARGEST_UPLOAD:
        yield OptionError(
            "media.max_upload_size", f"{upload} in one request is more than proxies and clients carry; give at most {LARGEST_UPLOAD}"
        )


def _scanned_files(site: Site) -> Iterator[OptionError]:
    """Clamd scans no file over 2 GiB, and what it unpacks is held to the same limit (clamd.conf(5), MaxFileSize)."""
    upload = site.media.max_upload_size
    if site.features.antivirus and upload * UNPACKED >= gib(2):
        yield OptionError(
            "media.max_upload_size",
            f"{upload} is more than clamd scans with what it unpacks; give at most {mib(511)}",
        )


_RULES: tuple[Callable[[Site], Iterator[OptionError]], ...] = (
    _foreign_namespaces,
    _generations,
    _networks,
    _public_addresses,
    _sizes,
    _scanned_files,
)
