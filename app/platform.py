"""The whole system in one file: which components exist, and what each is given."""

from cdk8s import App

from app.site import Site
from infrastructure.foundation import Foundation, Namespace
from infrastructure.object_storage.minio import MinioSpec, MinioTenant
from kit.installation import Facts, Installation, ObjectCache
from kit.quantities import Resources
from overlays.profile import ErasureSize, Profile


def assemble(app: App, site: Site, profile: Profile, cache: ObjectCache | None = None) -> Installation:
    """Create every component of one installation and wire it: each is given the endpoints that it may call, and no more."""
    installation = Installation(app, profile.name, _facts(site), cache)
    Foundation(installation, (Namespace(site.namespaces.main), Namespace(site.namespaces.li)))
    MinioTenant(installation, _tenant(site, profile.minio, "minio-main", site.namespaces.main, "main-tenant.yaml"))
    return installation


def _facts(site: Site) -> Facts:
    return Facts(
        registry=site.images.registry,
        mirror=site.images.mirror,
        pull_secrets=site.images.pull_secrets,
        cluster_domain=site.cluster.domain,
        zones=site.cluster.multi_zone,
    )


def _tenant(site: Site, size: ErasureSize, name: str, namespace: str, file: str) -> MinioSpec:
    return MinioSpec(
        name=name,
        namespace=namespace,
        file=file,
        nodes=size.nodes,
        drives=size.drives,
        drive=site.storage_sizes.object_storage_drive or size.drive,
        parity=size.parity,
        resources=Resources(size.cpu, size.memory, size.memory * 2),
        storage_class=site.storage_classes.object_storage,
    )
