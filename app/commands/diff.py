"""`diff`: what applying dist/ would change."""

import sys
from pathlib import Path

import click

from app.commands.common import profile_named, with_site
from app.commands.output import as_json, change_data, heading, print_json, progress
from app.site import Site


@click.command()
@click.argument("name", metavar="PROFILE")
@click.option(
    "--since", default="HEAD", show_default=True, help="The revision of Git whose dist/ was applied last: a commit, tag or branch."
)
@click.option("--cluster", is_flag=True, help="Against the cluster of your kubectl instead; nothing is changed there.")
@click.option("--context", help="The context of kubectl, with --cluster.")
@click.option("--fields", is_flag=True, help="Every field that changes, with its values.")
@click.option(
    "--dist",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="What is applied.",
)
@as_json
@with_site
def diff(site: Site, name: str, since: str, cluster: bool, context: str | None, fields: bool, dist: Path, json_wanted: bool) -> None:
    """Say what applying dist/overlays/PROFILE changes, whose pods are replaced, and what people notice.

    Against a revision of Git, both sides are what `kubectl kustomize` builds. Against a cluster, a server-side apply is tried without effect,
    so this needs the rights of an apply. Exit code 0: nothing changes; 1: something does, or it is refused; 2: it cannot be said.
    """
    from app.commands.notices import lines, people
    from app.inspection.changes import changes
    from app.inspection.steps import left, refused
    from app.kubectl import Kubectl
    from app.trees import build, build_at, live

    profile = profile_named(name)
    below = f"overlays/{profile.name}"
    with progress("building both sides"):
        after = build(dist / below)
        if cluster:
            before, after = live(after, Kubectl(context))
        else:
            before = build_at(since, dist, below)
    found = changes(before, after)
    if json_wanted:
        print_json(
            {"profile": profile.name, "against": "cluster" if cluster else since, "changes": [change_data(change) for change in found]}
        )
        sys.exit(1 if found else 0)
    against = "the cluster" if cluster else since
    if not found:
        click.echo(f"{profile.name}: nothing changes against {against}")
        return
    known = people(site, profile)
    heading(f"{profile.name} against {against}: {len(found)} objects differ")
    for change in refused(found):
        click.echo(f"REFUSED  {change.identity}: {change.refused}")
    for line in lines(known.steps(found), known):
        click.echo(line)
    for change in left(found):
        click.echo(f"GONE  {change.identity}: kubectl apply leaves it, a tool that prunes takes it away")
    if fields:
        for change in found:
            click.echo(f"\n{change.identity}: {change.action.value}")
            for field in change.fields:
                click.echo(f"  {field.path}: {_shown(field.before)} -> {_shown(field.after)}")
    sys.exit(1)


def _shown(value: object, most: int = 200) -> str:
    text = "nothing" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
