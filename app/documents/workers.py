"""docs/reference/workers.md: the types of Synapse worker."""

from collections.abc import Sequence

from tabulate import tabulate

from main_instance.synapse.fleet import fleet
from main_instance.synapse.worker_type import Load, Route, Work, WorkerType
from main_instance.synapse.workers import EVERY_TYPE, worker_types
from overlays import Profile
from overlays.profile import POOL_SHARE


def workers_page(profiles: Sequence[Profile]) -> str:
    """The worker types: what each does, how it scales, and how many there are in each profile."""
    types = EVERY_TYPE
    rows = [
        (
            f"`{worker.name}`",
            worker.summary,
            worker.scaling.value,
            ", ".join(_takes(worker)) or "-",
            worker.balance.value,
            worker.fallback or "-",
            worker.only_for.value if worker.only_for else "-",
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
        "Without an instance of its own, a type's requests go to its fallback; where there is none, no other process could serve them.\n"
        "`Only with`: a site that does not have it does not deploy the type, since it would have no work.\n\n"
        + tabulate(rows, ["Type", "What it does", "Scales", "Streams and duties", "Balanced by", "Fallback", "Only with"], tablefmt="pipe")
        + "\n\n## Instances per profile\n\n"
        + tabulate(counts, ["Type", *(profile.name for profile in profiles)], tablefmt="pipe")
        + "\n\n## Processes and connections to the database\n\n"
        "Main included, autoscaled workers at their least and at their most. A process opens at most its pool (`synapse.connections` of the\n"
        f"profile) and one by which it is seen to live; together they may have {POOL_SHARE:.0%} of what PostgreSQL accepts.\n\n"
        + tabulate(_processes(profiles), ["Profile", "", "Processes", "at most", "Connections", "of"], tablefmt="pipe")
        + "\n\n### What each feature adds\n\n"
        "Processes, and in brackets the connections that they may open, autoscaled workers at their most. A site without the feature\n"
        "has none of them.\n\n"
        + tabulate(_added(profiles), ["Only with", "Types", *(profile.name for profile in profiles)], tablefmt="pipe")
        + "\n\n### Pools\n\n"
        "Connections of one process (`cp_max`), by its load class.\n\n"
        + tabulate(_pools(profiles), ["Class", "Types", *(profile.name for profile in profiles)], tablefmt="pipe")
        + "\n\n## Routes\n\nSearched in this order; the first match decides, and what matches none goes to the main process.\n\n"
        + routes
    )


def _processes(profiles: Sequence[Profile]) -> list[tuple[object, ...]]:
    everything = frozenset(Work) - {Work.AUTHENTICATION_SERVICE}
    kinds = {
        "all that is optional": everything,
        "without federation": everything - {Work.FEDERATION},
        "nothing optional": frozenset[Work](),
    }
    rows: list[tuple[object, ...]] = []
    for profile in profiles:
        for name, work in kinds.items():
            of = fleet(profile.synapse.workers, worker_types(work))
            most = int(POOL_SHARE * profile.postgresql.max_connections)
            rows.append((profile.name, name, 1 + sum(of.counts.values()), of.processes, of.connections(profile.synapse.connections), most))
    return rows


def _added(profiles: Sequence[Profile]) -> list[tuple[str, ...]]:
    rows = []
    for work in Work:
        types = [worker for worker in EVERY_TYPE if worker.only_for == work]
        cells = []
        for profile in profiles:
            of = fleet(profile.synapse.workers, worker_types(frozenset({work})))
            opened = sum(of.most[worker.name] * (profile.synapse.connections.of(worker.load) + 1) for worker in types)
            cells.append(f"{sum(of.counts[worker.name] for worker in types)} ({opened})")
        rows.append((work.value, _names(types), *cells))
    return rows


def _pools(profiles: Sequence[Profile]) -> list[tuple[object, ...]]:
    pools = [profile.synapse.connections for profile in profiles]
    classes: list[tuple[object, ...]] = [
        (load.value, _names([worker for worker in EVERY_TYPE if worker.load == load]), *(pool.of(load) for pool in pools)) for load in Load
    ]
    return [("main", "the main process", *(pool.main for pool in pools)), *classes]


def _names(types: Sequence[WorkerType]) -> str:
    return ", ".join(f"`{worker.name}`" for worker in types)


def _takes(worker: WorkerType) -> list[str]:
    return [stream.value for stream in worker.writes] + [duty.value for duty in worker.duties]


def _route(route: Route) -> str:
    methods = f"{', '.join(route.methods)} " if route.methods else ""
    conditions = [f"when: {route.when.value}"] if route.when else []
    conditions += ["with federation only"] if route.federation else []
    return f"{methods}`{route.pattern}`" + (f" ({'; '.join(conditions)})" if conditions else "")
