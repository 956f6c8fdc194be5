"""docs/reference/budget.md, and the table of `python -m app budget`: what the platform requests of the cluster."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from app.inspection.budget import Budget, Line, budget
from app.inspection.nodes import need, one_per_node
from app.platform.room import rooms
from app.site import Site
from kit.quantities import Bytes
from kit.rendering import Rendering
from overlays import Profile


def budget_page(site: Site, profiles: Sequence[Profile], renderings: Mapping[str, Rendering]) -> str:
    """What the pods of each profile request, beside the profile's envelope."""
    budgets = {profile.name: budget(renderings[profile.name].manifests()) for profile in profiles}
    return (
        "# Requests per profile\n\n"
        "The sum of what all pods request: autoscaled workers at their least number, DaemonSets on three nodes, Jobs not at all.\n\n"
        + tabulate(_totals(profiles, budgets), ["Profile", "", "Pods", "CPU", "Memory", "Storage"], tablefmt="pipe")
        + "\n\n## Room in object storage\n\n"
        "What backups come to when the database's volume is as full as it may be, and what they leave, in GiB. Media and logs have quotas of that "
        "size: what may grow without bounds must not take the room of the archive, without which PostgreSQL stops.\n\n"
        + tabulate(room_rows(site, profiles), ["Profile", "Store", "Has", "Backups", "Media", "Logs"], tablefmt="pipe")
        + "\n\n## Nodes\n\n"
        "As many as there are pods that must not share one, and three at least. Of like nodes each needs so much for these pods alone that all have "
        "a place while any one node is lost; but who must not share a node waits for another one then, and its quorum has a majority without it. "
        "`object_storage.minio.one_server_per_node` needs a node for each server of a tenant.\n\n"
        + tabulate(
            [_nodes(profile, renderings[profile.name]) for profile in profiles],
            ["Profile", "Nodes", "Apart", "CPU of each", "Memory of each"],
            tablefmt="pipe",
        )
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


def room_rows(site: Site, profiles: Sequence[Profile]) -> list[tuple[str, ...]]:
    """What each object storage of a site has room for, in Gi."""
    found = [(profile.name, room) for profile in profiles for room in rooms(site, profile).all]
    return [(name, room.store, *map(_gibibytes, (room.usable, room.backups, room.media, room.logs))) for name, room in found]


def _gibibytes(amount: Bytes | None) -> str:
    return f"{amount.count / 2**30:.0f}" if amount else "-"


def _nodes(profile: Profile, rendering: Rendering) -> tuple[object, ...]:
    manifests = rendering.manifests()
    wanted = need(manifests)
    apart = sorted({f"{name} ({count})" for _, name, count in one_per_node(manifests) if count == wanted.nodes})
    return (profile.name, wanted.nodes, ", ".join(apart), f"{wanted.cpu.millicores / 1000:.1f}", _rounded(wanted.memory))


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
