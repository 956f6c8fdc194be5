"""`check`: whether a site is sound, on one screen."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from attrs import evolve

from app.commands.common import caution, profile_named, with_site
from app.site import Site, StorageSizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from app.inspection.budget import Line
    from kit.rendering import Manifest, Rendering
    from overlays import Profile

_DIST = Path("dist")
"""What was compiled last, if that is where it was written."""


@click.command()
@with_site
@click.option("--cluster", is_flag=True, help="Ask the cluster of your kubectl instead, whether it has what the site needs.")
@click.option("--profile", "name", help="The profile that --cluster is asked for; the smallest if left out.")
@click.option("--context", help="The context of kubectl, with --cluster.")
def check(site: Site, cluster: bool, name: str | None, context: str | None) -> None:
    """Compile the site for every profile and say whether it is sound; nothing is written.

    What each size requests beside its envelope, what looks like a secret in the output, what `dist/` declares and the site no longer does
    though only you can delete it, which keys only you can give, and where images come from. With --cluster: versions, definitions, storage
    classes, nodes, metrics and the way in; it is only read. Exit code 1: something is
    wrong.
    """
    if cluster:
        _check_cluster(site, name, context)
    _check_site(site)


def _check_site(site: Site) -> NoReturn:
    from tabulate import tabulate

    from app.compiler import compile_site, render
    from app.inspection.budget import budget
    from app.inspection.images import used_images
    from app.inspection.kept import kept_in, left_behind
    from app.inspection.secret_scan import find_secrets
    from app.platform.room import short_copies
    from kit.images import without_release
    from kit.rendering import ObjectId
    from overlays import profiles

    renderings: Mapping[Profile, Rendering] = {profile: render(site, profile) for profile in profiles()}
    rows, problems = [], []
    for profile, rendering in renderings.items():
        total = budget(_within_envelope(site, rendering)).total
        over = list(_beyond(profile, total, own_volumes=site.storage_sizes != StorageSizes()))
        problems += [f"{profile.name}: {what} beyond its envelope" for what in over]
        cores = f"{total.cpu.millicores / 1000:.1f} of {profile.envelope.cpu.millicores / 1000:.0f}"
        amounts = [(total.memory, profile.envelope.memory), (total.storage, profile.envelope.storage)]
        gibibytes = [f"{used.count / 2**30:.0f} of {most.count / 2**30:.0f}" for used, most in amounts]
        rows.append((profile.name, total.pods, cores, *gibibytes, "too much" if over else "fits"))
    click.echo(tabulate(rows, ["profile", "pods", "cores", "memory (Gi)", "storage (Gi)", ""], tablefmt="simple", disable_numparse=True))

    _say_rooms(site, profiles())

    files = compile_site(site, profiles())
    found = find_secrets(files)
    problems += [f"looks like a secret: {finding}" for finding in found]
    images = used_images(next(iter(renderings.values())).manifests())
    click.echo(f"\n{len(files)} files, {len(images)} images from {', '.join(sorted({image.partition('/')[0] for image in images}))}")
    for left in left_behind(kept_in(_DIST), {ObjectId.of(o) for o in next(iter(renderings.values())).manifests()}):
        click.echo(left)
    for given in _given(site, profiles()[0]):
        click.echo(f"to be given by you: {given}")
    caution(site)
    for line in short_copies(site, profiles()).values():
        click.echo(f"caution: {line}", err=True)
    for line in without_release(datetime.now(UTC).date()):
        click.echo(f"caution: {line}", err=True)
    for problem in problems:
        click.echo(problem, err=True)
    click.echo("sound" if not problems else f"{len(problems)} problems")
    sys.exit(1 if problems else 0)


def _check_cluster(site: Site, name: str | None, context: str | None) -> NoReturn:
    from app.compiler import render
    from app.inspection.prerequisites import CILIUM_CONFIG, RESOURCES, Wanted, findings, has_cilium, state_of
    from app.kubectl import Kubectl
    from overlays import profiles

    profile, cluster = profile_named(name) if name else profiles()[0], Kubectl(context)
    state = state_of(cluster.read("version"), cluster.read("get", ",".join(RESOURCES), "--namespace", "default"))
    if has_cilium(state):
        state = evolve(state, objects=[*state.objects, *cluster.readable(*CILIUM_CONFIG)])
    ingress = site.ingress
    namespaces = {ingress.controller_namespace: "ingress.controller_namespace", site.cluster.dns.namespace: "cluster.dns.namespace"}
    if site.features.monitoring and site.monitoring.keda:
        namespaces[site.monitoring.keda.namespace] = "monitoring.keda.namespace"
    api_servers = site.cluster.api_servers if site.network_policies else ()
    wanted = Wanted(None if ingress.gateway else ingress.class_name, namespaces, site.cluster.node_cidrs, api_servers)
    found = findings(render(site, profile).manifests(), wanted, state)
    for finding in found:
        click.echo(f"{'ok     ' if finding.met else 'MISSING'}  {finding.requirement}: {finding.seen}")
        if not finding.met:
            click.echo(f"         {finding.advice}")
    click.echo("Whether NetworkPolicies are enforced, no API tells: docs/01-DEPLOYMENT-GUIDE.md says how to try it.")
    missing = sum(not finding.met for finding in found)
    click.echo(f"{profile.name}: {'the cluster has what the site needs' if not missing else f'{missing} of {len(found)} are missing'}")
    sys.exit(1 if missing else 0)


def _say_rooms(site: Site, sizes: "Sequence[Profile]") -> None:
    """How much each object storage keeps of what."""
    from tabulate import tabulate

    from app.documents import room_rows

    click.echo()
    click.echo(
        tabulate(
            room_rows(site, sizes), ["profile", "store (Gi)", "has", "backups", "media", "logs"], tablefmt="simple", disable_numparse=True
        )
    )


def _within_envelope(site: Site, rendering: "Rendering") -> "list[Manifest]":
    """What an envelope is about. A MinIO that keeps backups stands beside the platform, on disks of its own."""
    return [manifest for manifest in rendering.manifests() if manifest["metadata"].get("namespace") != site.namespaces.backups]


def _beyond(profile: "Profile", total: "Line", *, own_volumes: bool) -> "Iterator[str]":
    """What is requested beyond the envelope. Volumes of which the site says how large they are, are there."""
    envelope = profile.envelope
    if total.cpu > envelope.cpu:
        yield f"{total.cpu} of CPU"
    if total.memory > envelope.memory:
        yield f"{total.memory} of memory"
    if total.storage > envelope.storage and not own_volumes:
        yield f"{total.storage} of storage"


def _given(site: Site, profile: "Profile") -> "Iterator[str]":
    """The keys that only the operator of the site can give, with what they are."""
    from cdk8s import App

    from app.platform import assemble
    from kit.secrets import Given

    for need in assemble(App(), site, profile).declared.secrets:
        for key, recipe in need.spec.keys:
            if isinstance(recipe, Given):
                yield f"{need.spec}: {key}: {recipe.description}"
