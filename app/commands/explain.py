"""`explain`: where an object comes from, whom it talks to, what it costs and what it keeps."""

from typing import TYPE_CHECKING, Any

import click

from app.commands.common import fail, profile_named, with_site
from app.commands.output import as_json, heading, print_json
from app.site import Site

if TYPE_CHECKING:
    from kit.rendering import ObjectId


@click.command()
@click.argument("name", metavar="OBJECT")
@click.option("--profile", "profile_name", help="The profile; the smallest if left out.")
@as_json
@with_site
def explain(site: Site, name: str, profile_name: str | None, json_wanted: bool) -> None:
    """Say which component made OBJECT and why, who calls it and whom it calls, what it requests, reads and keeps.

    OBJECT is a name (synchrotron), with its kind (statefulset/synchrotron), its namespace (matrix/synchrotron), or both
    (statefulset/matrix/synchrotron).
    """
    from cdk8s import App

    from app.documents.explanation import explanation
    from app.platform import assemble
    from overlays import profiles

    profile = profile_named(profile_name) if profile_name else profiles()[0]
    installation = assemble(App(), site, profile)
    rendering = installation.rendering()
    found = _chosen(name, list(rendering.objects))
    made = [explanation(installation, rendering, identity) for identity in found]
    if json_wanted:
        print_json(made)
        return
    for number, parts in enumerate(made):
        if number:
            click.echo()
        heading(parts["object"])
        for title, value in parts.items():
            if title != "object" and value:
                _show(title, value)


def _show(title: str, value: Any) -> None:
    lines = [str(value)] if not isinstance(value, list) else [str(item) for item in value]
    for number, line in enumerate(lines):
        click.echo(f"  {title.replace('_', ' ') if not number else '':<16} {line}")


_FIRST = ("StatefulSet", "Deployment", "DaemonSet", "Cluster", "Tenant", "Job", "CronJob")


def _chosen(name: str, known: "list[ObjectId]") -> "list[ObjectId]":
    """The objects that a person means. Those that run pods come before what belongs to them."""
    from difflib import get_close_matches

    *qualifiers, last = name.split("/")
    kinds, spaces = {identity.kind.lower() for identity in known}, {identity.namespace for identity in known}
    for qualifier in qualifiers:
        if qualifier.lower() not in kinds and qualifier not in spaces:
            fail(f"{qualifier!r} is no kind and no namespace of this site")

    def meant(identity: "ObjectId") -> bool:
        return identity.name == last and all(q.lower() == identity.kind.lower() or q == identity.namespace for q in qualifiers)

    found = [identity for identity in known if meant(identity)]
    if not found:
        near = get_close_matches(last, {identity.name for identity in known}, n=3)
        fail(f"this site has no object {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    running = [identity for identity in found if identity.kind in _FIRST]
    return running or found
