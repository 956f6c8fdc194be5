"""`export-secrets` and `import-secrets`: a copy of the platform's Secrets that only the owner of a key can read, and what is lost from it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.common import fail, with_site
from app.site import Site

if TYPE_CHECKING:
    from kit.secrets import SecretSpec

_CONTEXT = click.option("--context", help="The context of kubectl.")


@click.command("export-secrets")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to", "recipients", multiple=True, required=True, help="The public key of who may read the copy: age1... Can be given again."
)
@_CONTEXT
@with_site
def export_secrets(site: Site, file: Path, recipients: tuple[str, ...], context: str | None) -> None:
    """Write a copy of every Secret that the site declares to FILE, encrypted by age.

    Exit code 3: all is written but Secrets that the cluster does not have.
    """
    from app.kubectl import Kubectl
    from app.secret_copies import read_secrets, sealed, write_copy

    found = read_secrets(Kubectl(context), _specs(site))
    write_copy(file, sealed(found.manifests, recipients))
    click.echo(f"{file}: {len(found.manifests)} Secrets, for {', '.join(recipients)}")
    for namespace, name in found.missing:
        click.echo(f"the cluster does not have {namespace}/{name}", err=True)
    sys.exit(3 if found.missing else 0)


@click.command("import-secrets")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--identity", type=click.Path(path_type=Path, exists=True), required=True, help="The file with the private key, of age-keygen."
)
@click.option("--only", multiple=True, metavar="NAMESPACE/NAME", help="This Secret alone. Can be given again.")
@click.option("--replace", is_flag=True, help="Also Secrets that the cluster has with other values.")
@_CONTEXT
@with_site
def import_secrets(site: Site, file: Path, identity: Path, only: tuple[str, ...], replace: bool, context: str | None) -> None:
    """Bring Secrets that the cluster has lost back from FILE; those that are there stay.

    Exit code 3: some are there with other values, and stayed as they are.
    """
    from app.kubectl import Kubectl
    from app.secret_copies import compare, name_of, opened, read_secrets

    manifests = {"/".join(name_of(manifest)): manifest for manifest in opened(file.read_bytes(), identity.read_text())}
    if unknown := [name for name in only if name not in manifests]:
        fail(f"{file} has no {', '.join(unknown)}; it has {', '.join(sorted(manifests))}")
    chosen = [manifest for name, manifest in manifests.items() if not only or name in only]
    cluster = Kubectl(context)
    there = {name_of(manifest): manifest for manifest in read_secrets(cluster, _specs(site)).manifests}
    difference = compare(chosen, there)
    for verb, some in (("create", difference.absent), ("replace", difference.other if replace else ())):
        if some:
            cluster.run(verb, "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(some)}))
        for manifest in some:
            click.echo(f"{'/'.join(name_of(manifest))}: {verb}d")
    click.echo(f"{len(difference.same)} of {len(chosen)} are as they were")
    if left := () if replace else difference.other:
        names = ", ".join("/".join(name_of(manifest)) for manifest in left)
        click.echo(f"there with other values, and left alone: {names}; --replace puts those of the copy in their place", err=True)
        sys.exit(3)


def _specs(site: Site) -> "list[SecretSpec]":
    """The Secrets that nobody makes anew when they are lost: those of the site that no operator makes."""
    from cdk8s import App

    from app.platform import assemble
    from overlays import profiles

    return [need.spec for need in assemble(App(), site, profiles()[0]).declared.secrets if not need.spec.made_in_cluster]
