"""What every component may ask of its site: where images come from, the cluster that it stands in, and its volumes."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from typing import Any, Final

from attrs import Factory, frozen

from kit.formats import Cidr, HostName, Label, Name, Repository
from kit.images import Image
from kit.options import When, option, required, section
from kit.placement import Placements


@frozen(kw_only=True)
class Images:
    """Where container images come from."""

    registry: Repository = required("Registry, with path, that holds the images built from `services/`.")
    mirror: Repository | None = option(
        None, "Registry, with path, that takes the place of the registry host of every other image: for air-gapped sites."
    )
    pull_secrets: tuple[Name, ...] = option((), "Secrets with registry credentials, in each namespace.")


@frozen(kw_only=True)
class Dns:
    """Where the cluster's DNS answers: every pod that may call anything may ask it."""

    namespace: Label = option("kube-system", "Namespace of its pods; on OpenShift `openshift-dns`.")
    cidrs: tuple[Cidr, ...] = option(
        ("169.254.20.10/32",), "Addresses at which it answers outside of pods: NodeLocal DNSCache, or DNS in the network of the nodes."
    )


PRIVATE_NETWORKS: Final = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Where the API server is, unless a site says otherwise (RFC 1918, 6598, 4193): never at an address of the internet by default."""


@frozen(kw_only=True)
class Cluster:
    """What the platform must know about the Kubernetes cluster."""

    domain: HostName = option("cluster.local", "The cluster's DNS domain.")
    dns: Dns = section(Dns)
    multi_zone: bool = option(
        False, "Whether the nodes stand in several zones (`topology.kubernetes.io/zone`) over which replicas are spread."
    )
    api_server_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of the API server's endpoints, of which who needs it may reach ports 443 and 6443. `python -m app check --cluster` names "
        "them.",
        otherwise="every private network",
    )
    node_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of the nodes, of their tunnels too where the network plugin has some (such as `flannel.1`): pods in the network of a "
        "node come from them, and TURN does not relay to them.",
        needed_with=When("features.calls", True),
    )
    pod_cidrs: tuple[Cidr, ...] = option((), "Addresses of the pods, to which TURN does not relay.")
    service_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of the Services, to which TURN does not relay. With push Synapse may call them: Sygnal is there.",
        needed_with=When("features.push", True),
    )

    @property
    def api_servers(self) -> tuple[str, ...]:
        """The networks in which the API server is."""
        return self.api_server_cidrs or PRIVATE_NETWORKS


_BY_DEFAULT: Final[Any] = Factory(lambda classes: classes.default, takes_self=True)


@frozen(kw_only=True)
class StorageClasses:
    """StorageClass of each kind of volume."""

    default: Name | None = option(None, "For every volume without a class of its own.", otherwise="the cluster's default class")
    database: Name | None = option(
        _BY_DEFAULT,
        "PostgreSQL, data and write-ahead log: local SSDs or as fast.",
        otherwise="`storage_classes.default`",
    )
    object_storage: Name | None = option(
        _BY_DEFAULT,
        "Drives of MinIO: local, never replicated below it.",
        otherwise="`storage_classes.default`",
    )
    media_cache: Name | None = option(_BY_DEFAULT, "Media caches of Synapse.", otherwise="`storage_classes.default`", reserved=True)


@frozen
class Facts:
    """The sections of site.yaml that every component may ask."""

    images: Images
    cluster: Cluster = Cluster()
    storage_classes: StorageClasses = StorageClasses()
    placement: Placements = ()
    namespace: str = "matrix"
    """The platform's: by it another installation in the same cluster tells its objects that are in no namespace from these."""

    def cluster_wide(self, name: str) -> str:
        """The name of an object that is in no namespace."""
        return f"{self.namespace}-{name}"

    def service_host(self, service: str, namespace: str) -> str:
        """The full DNS name of a Service. Without the final dot, which certificates do not have."""
        return f"{service}.{namespace}.svc.{self.cluster.domain}"

    def pulls(self, image: Image) -> str:
        """The reference by which this site pulls an image."""
        return image.reference(self.images.registry, self.images.mirror)
