"""Synapse: which process is slow, busy or behind, and with what. The rows of federation have a dashboard to themselves."""

from monitoring.grafana.board import Board, Variable
from monitoring.grafana.dashboards.synapse import people, processes, requests, storage

BOARD = Board(
    "synapse-performance",
    "Synapse performance",
    "Which process is slow, busy or behind, and with what?",
    (
        requests.OVERVIEW,
        requests.REQUESTS,
        storage.EVENTS,
        processes.PROCESSES,
        storage.DATABASE,
        processes.REPLICATION,
        processes.LOOPS,
        requests.BACKGROUND,
        people.PEOPLE,
        people.PUSH,
        people.APPLICATION_SERVICES,
        storage.CACHES,
        storage.CACHE_IN_REDIS,
        storage.EXTREMITIES,
        requests.BLOCKS,
        processes.GARBAGE,
        people.LOG,
    ),
    (
        Variable("worker", "Worker type", "job", "synapse_build_info"),
        Variable("index", "Instance", "index", 'synapse_build_info{job=~"$worker"}'),
    ),
)
