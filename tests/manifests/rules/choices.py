"""What a site has chosen, found again in the custom resources that are made for it."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from tests.manifests.rules.objects import Object, Objects, title
from tests.manifests.rules.publication import is_redirect, published
from tests.manifests.rules.security import image_references


@frozen
class Choices:
    """A site, as its owner would say it. `hosts`: each with its path prefixes, and the Service and port that each leads to."""

    hosts: Mapping[str, Mapping[str, str]]
    images: frozenset[str]
    """All that may run, as the site pulls them."""
    backup_schedule: str = "0 0 2 * * SUN"
    backup_retention: str = "14d"
    database_class: str | None = None
    pull_secrets: tuple[str, ...] = ()
    acme_server: str = "https://acme-v02.api.letsencrypt.org/directory"
    region: str = "us-east-1"
    admin_sources: tuple[str, ...] = ()
    gateway: tuple[str, str] | None = None
    store: tuple[str, str] | None = None
    """Kind and name of the store of the External Secrets Operator."""
    certificates: Mapping[str, str] = field(factory=dict)
    """Host to the Secret of its certificate."""
    sizes: Mapping[str, str] = field(factory=dict)
    """What has volumes to their size: `postgresql-main`, `postgresql-main/wal`; of a tenant servers, drives of each and size of a drive."""


def choice_problems(objects: Objects, chosen: Choices) -> list[str]:
    """Where a choice of the site does not show, or something else than it has chosen."""
    found = [f"{who} runs {image}" for who, image in image_references(objects) if image not in chosen.images]
    if published(objects) != chosen.hosts:
        found.append(f"published are {published(objects)}")
    for o in objects:
        found += [f"{title(o)}: {what} is {value}, not {wanted}" for what, value, wanted in _compared(o, chosen) if value != wanted]
    return found


def _compared(o: Object, chosen: Choices) -> Iterator[tuple[str, object, object]]:
    """What an object says that the site has chosen: what it is, how it is and how it should be."""
    spec, name = o.get("spec", {}), o["metadata"]["name"]
    match o["kind"]:
        case "Cluster":
            yield "the class of its volumes", spec["storage"].get("storageClass"), chosen.database_class
            yield "the class of its WAL volumes", spec["walStorage"].get("storageClass"), chosen.database_class
            yield "its size", spec["storage"].get("size"), chosen.sizes.get(name)
            yield "the size of its WAL volumes", spec["walStorage"].get("size"), chosen.sizes.get(f"{name}/wal")
            owner = "li_sync" if name == "postgresql-li" else "synapse"
            (made,) = spec["bootstrap"].values()
            yield "its database", (made.get("database"), made.get("owner")), ("synapse", owner)
            yield "its pull secrets", tuple(secret["name"] for secret in spec.get("imagePullSecrets", [])), chosen.pull_secrets
        case "Tenant":
            yield "its size", [_drives(pool) for pool in spec["pools"]], [chosen.sizes.get(name)]
        case "Certificate" if not spec.get("isCA"):
            hosts = spec.get("dnsNames", [])
            yield "its Secret", {host: spec.get("secretName") for host in hosts}, {host: chosen.certificates.get(host) for host in hosts}
        case "ScheduledBackup":
            yield "its schedule", spec.get("schedule"), chosen.backup_schedule
        case "ObjectStore":
            # A copy is made again and not restored: what it must have is a base backup to start a second instance from.
            yield "its retention", spec.get("retentionPolicy"), "1d" if name == "postgresql-li" else chosen.backup_retention
        case "Issuer" if "acme" in spec:
            yield "its directory", spec["acme"].get("server"), chosen.acme_server
        case "Middleware" if "ipAllowList" in spec:
            yield "who may come", tuple(spec["ipAllowList"].get("sourceRange", [])), chosen.admin_sources
        case "HTTPRoute":
            parents = [(parent.get("namespace"), parent.get("name"), parent.get("sectionName")) for parent in spec.get("parentRefs", [])]
            yield "its listener", parents, [(*(chosen.gateway or ()), "http" if is_redirect(o) else "https")]
        case "ExternalSecret":
            store = spec.get("secretStoreRef", {})
            yield "its store", (store.get("kind"), store.get("name")), chosen.store
            composed = spec["target"].get("template", {}).get("data", {})
            yield "its region", composed.get("region", chosen.region), chosen.region


def _drives(pool: Mapping[str, Any]) -> str:
    return f"{pool['servers']} x {pool['volumesPerServer']} x {pool['volumeClaimTemplate']['spec']['resources']['requests']['storage']}"
