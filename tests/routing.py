"""Route a request as the worker records say: what a proxy in front of Synapse has to do, in a few lines of Python."""

import re
from urllib.parse import parse_qs

from main_instance.synapse.worker_type import Route, When, Work, WorkerType
from main_instance.synapse.workers import MAIN, WORKER_TYPES, worker_types

DELEGATED = worker_types(frozenset(Work) - {Work.SINGLE_SIGN_ON})
"""All types of a site whose people log in with the Matrix Authentication Service."""


def route(method: str, path: str, query: str = "", *, federation: bool = True, types: tuple[WorkerType, ...] = WORKER_TYPES) -> str:
    """Name the worker type, or `main`, that takes a request. `path`: as it comes over the wire, without the query."""
    for worker in types:
        if any(_matches(candidate, method, path, query, federation) for candidate in worker.routes):
            return worker.name
    return MAIN


def _matches(candidate: Route, method: str, path: str, query: str, federation: bool) -> bool:
    return (
        (federation or not candidate.federation)
        and (not candidate.methods or method in candidate.methods)
        and (candidate.when is None or _holds(candidate.when, query))
        and re.search(candidate.pattern, path) is not None
    )


def _holds(condition: When, query: str) -> bool:
    given = parse_qs(query)
    match condition:
        case When.INITIAL_SYNC:
            return "since" not in given or given.get("full_state") == ["true"]
        case When.INITIAL_EVENTS:
            return "from" not in given
