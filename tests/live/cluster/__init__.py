"""A small Kubernetes node on this machine, which runs rendered objects with the real programs: for the live tests.

Usage:

    with running_cluster(build(dist / "overlays" / "100-ccu")) as cluster:
        cluster.wait_ready(120)
        cluster.run(["script.py"], at=INGRESS).check()

Every pod has network and mount namespaces of its own, so that ports, paths and addresses are those of the rendered files, byte for byte; its
containers run as the user and with the probes that their pod names; Services, DNS and NetworkPolicies mean what they mean in a cluster.
What stands in for operators and images is listed in `substitutes.py`.
"""

from tests.live.cluster.client import INGRESS, NODE, WORLD, Client, Cluster, Completed, Denied, Event, Place, PodStatus, running_cluster

__all__ = ["INGRESS", "NODE", "WORLD", "Client", "Cluster", "Completed", "Denied", "Event", "Place", "PodStatus", "running_cluster"]
