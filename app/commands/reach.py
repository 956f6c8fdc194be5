"""`reach`: who may talk to whom."""

import sys

import click

from app.commands.common import fail, profile_named, with_site
from app.site import Site


@click.command()
@click.argument("source", required=False)
@click.argument("target", required=False)
@click.option("--profile", "name", default=None, help="The profile; the smallest if left out.")
@with_site
def reach(site: Site, source: str | None, target: str | None, name: str | None) -> None:
    """Say whether SOURCE can reach TARGET[:PORT], and why. Without arguments: who reaches whom.

    Names are short (receipts), qualified (matrix/receipts), a Service's, one pod's, or world, node, api-server, dns. Judged from the
    rendered objects alone. Exit code 1: denied.
    """
    from app.compiler import render
    from app.inspection.reach import UnknownNameError, ask, ingress_controller, read_cluster, render_answer, render_matrix
    from overlays import profiles

    profile = profile_named(name) if name else profiles()[0]
    objects = [*map(dict, render(site, profile).manifests()), ingress_controller(site.ingress.controller_namespace)]
    around = site.cluster
    cluster = read_cluster(
        objects, nodes=around.node_cidrs, api_server=around.api_server_cidrs, domain=around.domain, dns_namespace=around.dns.namespace
    )
    if source is None:
        click.echo(render_matrix(cluster))
        return
    if target is None:
        fail("give two names: who reaches whom")
    try:
        answers = ask(cluster, source, target)
    except UnknownNameError as error:
        fail(str(error))
    click.echo("\n".join(map(render_answer, answers)))
    sys.exit(0 if all(answer.allowed for answer in answers) else 1)
