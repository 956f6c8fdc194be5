"""docs/reference/workers.md: the types of Synapse worker."""

from collections.abc import Sequence

from tabulate import tabulate

from main_instance.synapse.worker_type import Route, WorkerType
from main_instance.synapse.workers import MAS_HELPER, WORKER_TYPES
from overlays import Profile


def workers_page(profiles: Sequence[Profile]) -> str:
    """The worker types: what each does, how it scales, and how many there are in each profile."""
    types = (*WORKER_TYPES, MAS_HELPER)
    rows = [
        (
            f"`{worker.name}`",
            worker.summary,
            worker.scaling.value,
            ", ".join(_takes(worker)) or "-",
            worker.balance.value,
            worker.fallback or "-",
        )
        for worker in types
    ]
    counts = [
        (f"`{worker.name}`", *(profile.synapse.workers.count(worker.name, worker.scaling) for profile in profiles)) for worker in types
    ]
    routes = "\n".join(
        f"### {worker.name}\n\n" + "\n".join(f"- {_route(route)}" for route in worker.routes) + "\n" for worker in types if worker.routes
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


def _takes(worker: WorkerType) -> list[str]:
    return [stream.value for stream in worker.writes] + [duty.value for duty in worker.duties]


def _route(route: Route) -> str:
    methods = f"{', '.join(route.methods)} " if route.methods else ""
    conditions = [f"when: {route.when.value}"] if route.when else []
    conditions += ["with federation only"] if route.federation else []
    return f"{methods}`{route.pattern}`" + (f" ({'; '.join(conditions)})" if conditions else "")
