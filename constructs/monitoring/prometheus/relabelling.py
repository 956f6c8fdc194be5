"""How the series of a pod are called: the same in the configuration of Prometheus and in a PodMonitor."""

from collections.abc import Iterator

from attrs import frozen

from kit.monitoring import Scrape


@frozen
class Name:
    """`label` gets the value of a label that discovery has found, without `__meta_kubernetes_`."""

    label: str
    found: str


INDEX = "apps.kubernetes.io/pod-index"
"""The label of a StatefulSet's pod with its ordinal (Kubernetes 1.28 and newer)."""


def names() -> Iterator[Name]:
    """The labels of every series that comes from a pod, beside its job."""
    yield Name("namespace", "namespace")
    yield Name("pod", "pod_name")
    # The address of a pod is another one after each restart; its name is what people know it by.
    yield Name("instance", "pod_name")
    yield Name("node", "pod_node_name")
    # Synapse's own dashboards tell the processes of a job apart by it.
    yield Name("index", f"pod_label_{identifier(INDEX)}")


def identifier(label: str) -> str:
    """A label of Kubernetes as a name of Prometheus (util/strutil, SanitizeLabelName)."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in label)


def check_jobs(scrapes: tuple[Scrape, ...]) -> None:
    """Raises ValueError where two scrapes are called alike."""
    jobs = [scrape.job for scrape in scrapes]
    if twice := sorted({job for job in jobs if jobs.count(job) > 1}):
        raise ValueError(f"two scrapes are called {', '.join(twice)}: each needs a name of its own, by which its series are known")
