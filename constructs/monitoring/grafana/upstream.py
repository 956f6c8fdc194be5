"""The dashboard that Synapse comes with (contrib/grafana/synapse.json of version 1.163): its rows, and why a panel of them has no counterpart here.

`Row.upstream` says which rows a row of ours is in place of.
"""

ROWS = (
    "Overview",
    "Process info",
    "Event persistence",
    "Requests",
    "Background jobs",
    "Federation",
    "Federation rate limiter",
    "Pushes",
    "Push Rule Cache",
    "Database",
    "Per-block metrics",
    "Caches",
    "Response caches",
    "GC",
    "Replication",
    "Event processing loop positions",
    "Extremities",
    "MAU",
    "Notifier",
    "Appservices",
    "Presence",
    "External Cache",
)

LEFT_OUT = {
    ("Federation", "Age of last PDU received from nominated hosts, and sent to them"): (
        "Synapse counts it for the servers of federation_metrics_domains alone, which the platform does not set."
    ),
    (
        "Federation rate limiter",
        "The line at 50 in the rate of requests that wait",
    ): "A number without a meaning for other servers than matrix.org.",
    ("Extremities", "Events by forward extremities of the state DAG"): "MSC4242 is an experiment that is off.",
    ("Presence", "Reasons to notify"): "The changes themselves, beside it, say the same.",
    ("External Cache", "Miss rate"): "It is the part of the questions that found nothing, in the same picture.",
}
