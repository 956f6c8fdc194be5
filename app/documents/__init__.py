"""The generated pages of docs/: what people look up, derived from the same declarations as what is deployed."""

from collections.abc import Mapping, Sequence

from app.documents.budget import budget_page, room_rows, workload_table
from app.documents.connections import connections_page, diagrams
from app.documents.dashboards import dashboards_page
from app.documents.declared import declarations, secrets_page, state_page, ways_out_page
from app.documents.needs import images_page, operators_page
from app.documents.synapse_options import synapse_options_page
from app.documents.workers import workers_page
from app.site import Site
from kit.rendering import Rendering
from overlays import Profile

__all__ = ["budget_page", "documents", "room_rows", "workload_table"]

NOTICE = "<!-- Made by `make docs`; change the code that it describes instead. -->\n\n"


def documents(site: Site, profiles: Sequence[Profile], renderings: Mapping[str, Rendering]) -> dict[str, str]:
    """File name below `docs/reference/` to text."""
    declared = declarations(profiles[0])
    pages = {
        "workers.md": workers_page(profiles),
        "connections.md": connections_page(declared[0]),
        "budget.md": budget_page(site, profiles, renderings),
        "images.md": images_page(),
        "operators.md": operators_page(),
        "secrets.md": secrets_page(declared),
        "state.md": state_page(declared),
        "dashboards.md": dashboards_page(),
        "synapse-options.md": synapse_options_page(),
        "ways-out.md": ways_out_page(declared),
    }
    drawn = {f"diagrams/{name}.svg": text for name, text in diagrams(declared[0]).items()}
    return {name: NOTICE + text for name, text in pages.items()} | drawn
