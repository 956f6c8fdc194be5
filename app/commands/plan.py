"""`plan`: the steps from one size to another."""

import sys
from typing import TYPE_CHECKING

import click

from app.commands.common import profile_named, with_site
from app.commands.output import as_json, change_data, heading, print_json, progress
from app.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.inspection.budget import Line


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@as_json
@with_site
def plan(site: Site, source: str, target: str, json_wanted: bool) -> None:
    """List the steps from profile FROM to profile TO, in order, with what stops together and what people notice.

    Exit code 1: something cannot be changed by an apply; it says what, and what to write into site.yaml so that what exists stays as it is.
    """
    from app.commands.notices import lines, people
    from app.compiler import render
    from app.inspection.budget import budget
    from app.inspection.changes import changes
    from app.inspection.steps import kept_by, left, refused, steps, unclaimed
    from app.objects import objects
    from kit.text import yaml_text

    old, new = profile_named(source), profile_named(target)
    with progress(f"compiling {old.name} and {new.name}"):
        before, after = objects(render(site, old)), objects(render(site, new))
        found, known = changes(before, after), people(site, new)
    ordered, keep, volumes = steps(found, known.stopped_by), dict(kept_by(found)), list(unclaimed(before, after))
    if any(change.identity.kind == "ResourceQuota" for change in refused(found)):
        keep["shrinking_from"] = old.name
    if json_wanted:
        print_json(
            {
                "from": old.name,
                "to": new.name,
                "refused": [change_data(change) for change in refused(found)],
                "keep": keep,
                "steps": [
                    {
                        "wave": step.wave,
                        "groups": [
                            {
                                "component": group.component,
                                "together": group.together,
                                "notice": known.notice(group),
                                "changes": [change_data(change, with_values=False) for change in group.changes],
                            }
                            for group in step.groups
                        ],
                    }
                    for step in ordered
                ],
                "left": [change_data(change) for change in left(found)],
                "volumes": [{"namespace": namespace, "name": name} for namespace, name in volumes],
            }
        )
        sys.exit(1 if refused(found) else 0)
    heading(f"From {old.name} to {new.name}: {len(found)} objects")
    click.echo("Before:")
    for line in _requests(budget(before).total, budget(after).total):
        click.echo(f"   {line}")
    click.echo(f"   python -m app check --cluster --profile {new.name} says whether the cluster has it")
    for change in refused(found):
        click.echo(f"   REFUSED  {change.identity}: {change.refused}")
    if keep:
        click.echo("What exists stays with this in site.yaml; then synth, and plan again:")
        click.echo(yaml_text(keep), nl=False)
    click.echo(f"Apply dist/overlays/{new.name}; with Argo CD one step after the other, with kubectl at once:")
    for line in lines(ordered, known):
        click.echo(line)
    if gone := left(found):
        click.echo("After: kubectl apply leaves these, a tool that prunes takes them away:")
        for change in gone:
            where = f" -n {change.identity.namespace}" if change.identity.namespace else ""
            click.echo(f"   kubectl delete{where} {change.identity.kind.lower()}/{change.identity.name}")
    if volumes:
        click.echo("After: volumes of pods that are gone stay, and quotas count them:")
        for namespace, name in volumes:
            click.echo(f"   kubectl delete -n {namespace} persistentvolumeclaim/{name}")
    if site.shrinking_from == old.name:
        click.echo("After, when all pods are ready: take shrinking_from out of site.yaml, synth and apply, so that quotas follow")
    sys.exit(1 if refused(found) else 0)


def _requests(old: "Line", new: "Line") -> "Iterator[str]":
    """What the new size requests, where that is more or less."""
    amounts = {
        "pods": (old.pods, new.pods, 1),
        "cores": (old.cpu.millicores, new.cpu.millicores, 1000),
        "GiB of memory": (old.memory.count, new.memory.count, 2**30),
        "GiB of volumes": (old.storage.count, new.storage.count, 2**30),
    }
    for what, (was, will, unit) in amounts.items():
        if was != will:
            yield f"{what}: {will / unit:.4g} in place of {was / unit:.4g}"
