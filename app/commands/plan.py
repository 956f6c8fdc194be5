"""`plan`: the steps from one size to another, and from what was applied to what is to be."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from app.commands.common import fail, profile_named, with_site
from app.commands.output import as_json, change_data, heading, print_json, progress, say_task, task_data
from app.site import Site

if TYPE_CHECKING:
    from app.commands.notices import People
    from app.inspection.budget import Line
    from app.inspection.changes import Change
    from app.inspection.tasks import Tasks
    from kit.rendering import Manifest
    from overlays import Profile


@frozen
class Sides:
    """What is there and what is to be: the names of both, their objects, and what is asked of people between them.

    `dist`: where what is to be is applied from. `since`: the revision of what is there; None for what is compiled, in which digests of names are
    not those of Kustomize.
    """

    source: str
    target: str
    dist: Path
    since: str | None
    before: "Sequence[Manifest]"
    after: "Sequence[Manifest]"
    asked: "Tasks"


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="[TO]", required=False)
@click.option(
    "--since",
    help="The revision of Git whose dist/ was applied last, a commit, tag or branch: the steps from there to dist/ as it is. TO is FROM then, "
    "unless you say another.",
)
@click.option("--dist", type=click.Path(path_type=Path), default=Path("dist"), show_default=True, help="What is applied, with --since.")
@as_json
@with_site
def plan(site: Site, source: str, target: str | None, since: str | None, dist: Path, json_wanted: bool) -> None:
    """List the steps from profile FROM to profile TO, in order, with what stops together and what people notice.

    With --since, those from another version: what its releases ask for before and after too, operators included.

    Exit code 1: something cannot be changed by an apply, or must not be; it says what, and what to write into site.yaml so that what exists stays
    as it is.
    """
    from app.commands.notices import people
    from app.inspection.changes import changes
    from app.inspection.steps import refused
    from app.inspection.tasks import removals, tasks

    new = profile_named(target or source)
    if since is not None:
        sides = _past(site, source, new, since, dist)
    elif target is not None:
        sides = _compiled(site, profile_named(source), new)
    else:
        fail("name the profile TO too, or with --since the revision of Git whose dist/ was applied last")
    found, known = changes(sides.before, sides.after), people(site, new)
    left = removals(sides.before, sides.after, found, named=since is not None)
    sides = evolve(sides, asked=sides.asked + tasks(found) + left)
    if json_wanted:
        print_json(_data(sides, found, known))
    else:
        _say(site, sides, found, known)
    sys.exit(1 if refused(found) or sides.asked.instead else 0)


def _compiled(site: Site, old: "Profile", new: "Profile") -> Sides:
    from app.compiler import render
    from app.inspection.tasks import Tasks
    from app.objects import objects

    with progress(f"compiling {old.name} and {new.name}"):
        return Sides(old.name, new.name, Path("dist"), None, objects(render(site, old)), objects(render(site, new)), Tasks())


def _past(site: Site, source: str, new: "Profile", since: str, dist: Path) -> Sides:
    from app.commands.versions import asked
    from app.trees import build, past

    with progress("building both sides"):
        after = build(dist / "overlays" / new.name)
        with past(since, dist) as was:
            before = was.build(f"overlays/{source}")
            return Sides(source, new.name, dist, since, before, after, asked(site, was, dist, before, after))


def _keep(sides: Sides, found: "Sequence[Change]") -> dict[str, Any]:
    """What goes into site.yaml, so that what exists stays."""
    from app.inspection.steps import kept_by, refused

    larger = sides.source != sides.target and any(change.identity.kind == "ResourceQuota" for change in refused(found))
    return {**kept_by(found), **({"shrinking_from": sides.source} if larger else {})}


def _data(sides: Sides, found: "Sequence[Change]", known: "People") -> dict[str, Any]:
    from app.inspection.steps import left, refused, unclaimed

    return {
        "from": sides.source,
        "to": sides.target,
        "since": sides.since,
        "refused": [change_data(change) for change in refused(found)],
        "instead": [task_data(task) for task in sides.asked.instead],
        "keep": _keep(sides, found),
        "before": [task_data(task) for task in sides.asked.before],
        "steps": [
            {
                "wave": step.wave,
                "groups": [
                    {
                        "component": group.component,
                        "together": group.together,
                        "notice": known.notice(group),
                        "command": known.command(group),
                        "changes": [change_data(change, with_values=False) for change in group.changes],
                    }
                    for group in step.groups
                ],
            }
            for step in known.steps(found)
        ],
        "after": [task_data(task) for task in sides.asked.after],
        "left": [change_data(change) for change in left(found)],
        "volumes": [{"namespace": namespace, "name": name} for namespace, name in unclaimed(sides.before, sides.after)],
    }


def _say(site: Site, sides: Sides, found: "Sequence[Change]", known: "People") -> None:
    from app.commands.notices import lines
    from app.inspection.budget import budget
    from app.inspection.steps import refused
    from kit.text import yaml_text

    was, will = sides.source, sides.target
    between = f"From {was} to {will}" if sides.since is None else f"From {was} of {sides.since} to {will} of {sides.dist}"
    heading(f"{between}: {len(found)} objects")
    click.echo("Before:")
    for line in _requests(budget(sides.before).total, budget(sides.after).total):
        click.echo(f"   {line}")
    click.echo(f"   python -m app check --cluster --profile {will} says whether the cluster has it")
    for task in sides.asked.before:
        say_task(task)
    for change in refused(found):
        click.echo(f"   REFUSED  {change.identity}: {change.refused}")
    for task in sides.asked.instead:
        say_task(task, "NOT SO  ")
    if keep := _keep(sides, found):
        click.echo("What exists stays with this in site.yaml; then synth, and plan again:")
        click.echo(yaml_text(keep), nl=False)
    click.echo(f"Apply {sides.dist / 'overlays' / will}; with Argo CD one step after the other, with kubectl at once:")
    for line in lines(known.steps(found), known):
        click.echo(line)
    if sides.asked.after:
        click.echo("After:")
    for task in sides.asked.after:
        say_task(task)
    if site.shrinking_from == was:
        click.echo("After, when all pods are ready: take shrinking_from out of site.yaml, synth and apply, so that quotas follow")


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
