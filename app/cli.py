"""The command line. Every command reads site.yaml and the profiles, says what is wrong with all of them, and exits 2 if something is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from app.errors import UserError
from app.settings import read_site

if TYPE_CHECKING:
    from overlays import Profile

DEFAULT_SITE = Path("site.yaml")

site_option = click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path),
    default=DEFAULT_SITE,
    show_default=True,
    help="The settings of the installation.",
)


class Commands(click.Group):
    """Commands whose errors that a person can mend are printed without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 2 with the error's text if there is one."""
        from overlays import ProfileError

        try:
            return super().invoke(ctx)
        except ProfileError as error:
            _fail(f"{error}\nnothing was written.")
        except UserError as error:
            _fail(str(error))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compile one settings file and the scaling profiles to a Kustomize tree that deploys Matrix."""


@main.command()
@site_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    envvar="CDK8S_OUTDIR",
    default=Path("dist"),
    show_default=True,
    help="The folder to write; it is replaced only by a complete result.",
)
def synth(site_file: Path, out: Path) -> None:
    """Write dist/: the base and one overlay per profile."""
    site = read_site(site_file)
    from app.compiler import compile_site
    from app.dist import write_tree
    from overlays import profiles

    files = compile_site(site, profiles())
    write_tree(out, files)
    click.echo(f"{out}: {len(files)} files")


@main.command()
@site_option
def docs(site_file: Path) -> None:
    """Write what is derived of docs/ and site.schema.json."""
    from app.compiler import render
    from app.documents import documents
    from app.schema import site_reference, site_schema_text
    from overlays import profiles

    site = read_site(site_file)
    renderings = {profile.name: render(site, profile) for profile in profiles()}
    pages = {f"docs/reference/{name}": text for name, text in documents(profiles(), renderings).items()}
    pages |= {"docs/site-reference.md": site_reference(), "site.schema.json": site_schema_text()}
    for path, text in pages.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        click.echo(path)


@main.command()
@click.option("--profile", "name", help="Only this profile, e.g. 1000-ccu, workload by workload.")
@site_option
def budget(site_file: Path, name: str | None) -> None:
    """Print what the pods request, beside each profile's envelope."""
    from app.compiler import render
    from app.documents import budget_page, workload_table
    from overlays import profiles

    site = read_site(site_file)
    if name:
        profile = _profile(name)
        click.echo(workload_table(render(site, profile)))
    else:
        renderings = {profile.name: render(site, profile) for profile in profiles()}
        click.echo(budget_page(profiles(), renderings))


@main.command()
@site_option
def images(site_file: Path) -> None:
    """List every image as this site pulls it: what an air-gapped registry must hold."""
    from app.compiler import render
    from app.images import used_images
    from overlays import profiles

    site = read_site(site_file)
    for reference in used_images(render(site, profiles()[0]).manifests()):
        click.echo(reference)


@main.command()
@click.argument("source", required=False)
@click.argument("target", required=False)
@click.option("--profile", "name", default=None, help="The profile; the smallest if left out.")
@site_option
def reach(source: str | None, target: str | None, site_file: Path, name: str | None) -> None:
    """Say whether SOURCE can reach TARGET[:PORT], and why. Without arguments: who reaches whom.

    Names are short (receipts), qualified (matrix/receipts), a Service's, one pod's, or world, node, api-server, dns. Judged from the
    rendered objects alone. Exit code 1: denied.
    """
    from app.compiler import render
    from app.reach import UnknownNameError, ask, ingress_controller, read_cluster, render_answer, render_matrix
    from overlays import profiles

    site = read_site(site_file)
    profile = _profile(name) if name else profiles()[0]
    objects = [*map(dict, render(site, profile).manifests()), ingress_controller(site.ingress.controller_namespace)]
    around = site.cluster
    cluster = read_cluster(
        objects, nodes=around.node_cidrs, api_server=around.api_server_cidrs, domain=around.domain, dns_namespace=around.dns.namespace
    )
    if source is None:
        click.echo(render_matrix(cluster))
        return
    if target is None:
        _fail("give two names: who reaches whom")
    try:
        answers = ask(cluster, source, target)
    except UnknownNameError as error:
        _fail(str(error))
    click.echo("\n".join(map(render_answer, answers)))
    sys.exit(0 if all(answer.allowed for answer in answers) else 1)


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder outside of what is committed.")
@click.option(
    "--given",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the values that only you have, as <namespace>/<secret>/<key>.",
)
@click.option("--force", is_flag=True, help="Also into a Git work tree that does not ignore the files.")
@site_option
def secrets(site_file: Path, out: Path, given: Path | None, force: bool) -> None:
    """Write Secret manifests for the provider `manual`, to be sealed and applied by you. Values that are there stay.

    Exit code 3: all is written but the values that only you can give.
    """
    from cdk8s import App

    from app.platform import assemble
    from app.secret_manifests import read_given, write_manifests
    from overlays import profiles

    site = read_site(site_file)
    specs = [spec for _, _, spec in assemble(App(), site, profiles()[0]).declared.secrets]
    written = write_manifests(specs, out, Path("dist"), read_given(given) if given else None, force=force)
    click.echo(f"{len(written.files)} files written below {out}; only you may read them.")
    for key in written.missing:
        click.echo(f"still to be given: {key}")
    sys.exit(3 if written.missing else 0)


def _profile(name: str) -> "Profile":
    from difflib import get_close_matches

    from overlays import profiles

    by_name = {profile.name: profile for profile in profiles()}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        _fail(f"there is no profile {name!r}" + (f"; did you mean {near[0]}?" if near else "") + f" (profiles: {', '.join(by_name)})")
    return by_name[name]


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)
