"""Who reaches whom: an evaluator of rendered Kubernetes objects, which knows nothing of how they were made.

Usage: `cluster = read_cluster(objects, nodes=[...], api_server=[...])`, then `reach(cluster, source, target, port)` for pods, workloads and
Services of the cluster, `resolve(cluster, host, namespace)` for what a configuration file calls, `ask(cluster, "receipts", "redis:6379")`
for what a person types, `matrix(cluster)` for everything at once.
"""

from app.inspection.reach.cluster import WORLD, Cluster, read_cluster
from app.inspection.reach.endpoints import Refusal, endpoints
from app.inspection.reach.evaluate import Answer, can_reach, reach
from app.inspection.reach.names import UnknownNameError, ask, find_source, find_targets, resolve
from app.inspection.reach.operators import ingress_controller
from app.inspection.reach.pods import Address, ContainerPort, Pod, Workload
from app.inspection.reach.policies import ManifestError
from app.inspection.reach.services import Service
from app.inspection.reach.table import Row, matrix, render_answer, render_matrix

__all__ = [
    "WORLD",
    "Address",
    "Answer",
    "Cluster",
    "ContainerPort",
    "ManifestError",
    "Pod",
    "Refusal",
    "Row",
    "Service",
    "UnknownNameError",
    "Workload",
    "ask",
    "can_reach",
    "endpoints",
    "find_source",
    "find_targets",
    "ingress_controller",
    "matrix",
    "reach",
    "read_cluster",
    "render_answer",
    "render_matrix",
    "resolve",
]
