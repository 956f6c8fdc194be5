"""docs/reference/images.md and operators.md: what must be there before the platform is applied."""

from tabulate import tabulate

from infrastructure.ingress.component import TRAEFIK_VALUES
from infrastructure.operators import OPERATORS, TRAEFIK
from kit.images import image_lock
from kit.text import yaml_text


def images_page() -> str:
    """Every image, for mirrors and licence reviews."""
    rows = [
        (
            f"`{entry.repository}`",
            f"`{entry.tag}`",
            f"`{entry.digest}`" if entry.digest else "-",
            entry.licence,
            entry.user,
            "yes" if entry.built else "",
        )
        for entry in image_lock().values()
    ]
    return "# Images\n\n" + tabulate(rows, ["Image", "Tag", "Digest", "Licence", "User", "Built here"], tablefmt="pipe") + "\n"


def operators_page() -> str:
    """What a cluster must have before the platform is applied, and how to install it."""
    rows = [(operator.name, operator.version, operator.purpose, operator.licence) for operator in OPERATORS]
    commands = "\n".join(operator.command for operator in OPERATORS)
    return (
        "# What the cluster needs\n\n"
        "Installed once per cluster, in this order; the platform's objects are made for these releases.\n\n"
        + tabulate(rows, ["Program", "Version", "For", "Licence"], tablefmt="pipe")
        + f"\n\n```sh\n{commands}\n```\n\n"
        + f"`{TRAEFIK.values}`: what Matrix needs of every entry point.\n\n```yaml\n{yaml_text(TRAEFIK_VALUES)}```\n"
    )
