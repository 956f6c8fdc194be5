"""The generated pages of docs/: what people look up, derived from the same declarations as what is deployed."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from app.budget import Budget, Line, budget
from app.rotation import secrets_page
from infrastructure.ingress import TRAEFIK_VALUES
from infrastructure.operators import OPERATORS, TRAEFIK
from kit.images import image_lock
from kit.quantities import Bytes
from kit.rendering import Rendering
from kit.text import yaml_text
from main_instance.synapse.worker_type import Route, WorkerType
from main_instance.synapse.workers import MAS_HELPER, WORKER_TYPES
from overlays import Profile

NOTICE = "<!-- Made by `make docs`; change the code that it describes instead. -->\n\n"


def documents(profiles: Sequence[Profile], renderings: Mapping[str, Rendering]) -> dict[str, str]:
    """File name below `docs/reference/` to text."""
    pages = {
        "workers.md": workers_page(profiles),
        "budget.md": budget_page(profiles, renderings),
        "images.md": images_page(),
        "operators.md": operators_page(),
        "secrets.md": secrets_page(),
    }
    return {name: NOTICE + text for name, text in pages.items()}


def workers_page(profiles: Sequence[Profile]) -> str:
    """The worker types: what each does, how it scales, and how many there are in each profile."""
    kinds = (*WORKER_TYPES, MAS_HELPER)
    rows = [
        (f"`{kind.name}`", kind.summary, kind.scaling.value, ", ".join(_takes(kind)) or "-", kind.balance.value, kind.fallback or "-")
        for kind in kinds
    ]
    counts = [(f"`{kind.name}`", *(profile.workers.count(kind.name, kind.scaling.value) for profile in profiles)) for kind in kinds]
    routes = "\n".join(
        f"### {kind.name}\n\n" + "\n".join(f"- {_route(route)}" for route in kind.routes) + "\n" for kind in kinds if kind.routes
    )
    return (
        "# Synapse workers\n\n"
        "`single`: Synapse allows one. `sharded`: the shared configuration names each instance. `elastic`: an autoscaler may add instances.\n"
        "Without an instance of its own, a type's requests go to its fallback; where there is none, no other process could serve them.\n\n"
        + tabulate(rows, ["Type", "What it does", "Scales", "Streams and duties", "Balanced by", "Fallback"], tablefmt="pipe")
        + "\n\n## Instances per profile\n\n"
        + tabulate(counts, ["Type", *(profile.name for profile in profiles)], tablefmt="pipe")
        + "\n\n## Routes\n\nSearched in this order; the first match decides, and what matches none goes to the main process.\n\n"
        + routes
    )


def budget_page(profiles: Sequence[Profile], renderings: Mapping[str, Rendering]) -> str:
    """What the pods of each profile request, beside the profile's envelope."""
    budgets = {profile.name: budget(renderings[profile.name].manifests()) for profile in profiles}
    return (
        "# Requests per profile\n\n"
        "The sum of what all pods request: autoscaled workers at their least number, DaemonSets on three nodes, Jobs not at all.\n\n"
        + tabulate(_totals(profiles, budgets), ["Profile", "", "Pods", "CPU", "Memory", "Storage"], tablefmt="pipe")
        + "".join(
            f"\n\n## {name}\n\n"
            + tabulate([_cells(line) for line in of.by_component()], ["Component", "Pods", "CPU", "Memory", "Storage"], tablefmt="pipe")
            for name, of in budgets.items()
        )
        + "\n"
    )


def workload_table(rendering: Rendering) -> str:
    """One profile, workload by workload."""
    lines = budget(rendering.manifests()).lines
    rows = [(line.workload, *_cells(line)[1:]) for line in lines]
    return tabulate(rows, ["Workload", "Pods", "CPU", "Memory", "Storage"], tablefmt="pipe")


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


def _totals(profiles: Sequence[Profile], budgets: Mapping[str, Budget]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for profile in profiles:
        total, envelope = budgets[profile.name].total, profile.envelope
        rows.append((profile.name, "requested", *_cells(total)[1:]))
        rows.append(("", "envelope", "", str(envelope.cpu), _rounded(envelope.memory), _rounded(envelope.storage)))
    return rows


def _cells(line: Line) -> tuple[object, ...]:
    return (line.component, line.pods, f"{line.cpu.millicores / 1000:.2f}", _rounded(line.memory), _rounded(line.storage))


def _rounded(amount: Bytes) -> str:
    return f"{amount.count / 2**30:.1f} Gi" if amount.count else "-"


def _takes(kind: WorkerType) -> list[str]:
    return [stream.value for stream in kind.writes] + [duty.value for duty in kind.duties]


def _route(route: Route) -> str:
    methods = f"{', '.join(route.methods)} " if route.methods else ""
    conditions = [f"when: {route.when.value}"] if route.when else []
    conditions += ["with federation only"] if route.federation else []
    return f"{methods}`{route.pattern}`" + (f" ({'; '.join(conditions)})" if conditions else "")
