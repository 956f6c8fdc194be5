"""Every component is in the table, and does what its row says: nothing more, nothing less."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import pytest
from attrs import fields
from cdk8s import App

from app.inspection.reach import Cluster, Workload, ingress_controller, matrix, read_cluster
from app.platform import assemble
from app.site import Hosts, Site
from kit.installation import Declarations, Installation
from overlays import profiles
from tests.live.cluster.substitutes import IMAGES
from tests.manifests.components import COMPONENTS, IN_PLACE, NO_PODS, Nothing, Row
from tests.manifests.rules.objects import Objects, workloads

NAME = "app.kubernetes.io/name"
MADE = {"Cluster": "substitute/postgresql", "Tenant": "substitute/minio"}
"""What the live node runs for a custom resource, in place of its operator."""


@pytest.fixture(scope="module")
def declared(full_site: Site) -> Declarations:
    return assemble(App(), full_site, profiles()[0]).declared


@pytest.fixture(scope="module")
def cluster(everything: Objects, full_site: Site) -> Cluster:
    around = full_site.cluster
    objects = [*map(dict, everything), ingress_controller(full_site.ingress.controller_namespace)]
    return read_cluster(objects, nodes=around.node_cidrs, api_server=("10.0.0.10/32",))


def component_of(labels: Mapping[str, str]) -> str:
    """The component that a pod belongs to; pods that an operator makes have a label of its own."""
    return labels.get("cnpg.io/cluster") or labels.get("v1.min.io/tenant") or labels.get(NAME, "")


def components(objects: Objects) -> set[str]:
    """The components that any object names."""
    return {o["metadata"]["labels"][NAME] for o in objects if NAME in o["metadata"].get("labels", {})}


def missing(found: Iterable[str]) -> list[str]:
    """What to say of components without a row."""
    return [
        f"{name} has no row in tests/manifests/components.py: say there what it calls and keeps" for name in found if name not in COMPONENTS
    ]


def test_every_component_is_in_the_table_and_every_row_is_about_a_component(everything: Objects) -> None:
    found = components(everything)
    assert missing(sorted(found)) == []
    assert unused(found) == []


def unused(found: set[str]) -> list[str]:
    """What to say of rows that are about nothing."""
    return [f"{name} has a row and is in no tree: is it wired, and on in the full site?" for name in COMPONENTS if name not in found]


def test_a_row_about_nothing_is_noticed(everything: Objects) -> None:
    assert unused(components(everything) - {"redis"}) == ["redis has a row and is in no tree: is it wired, and on in the full site?"]


def test_a_component_without_a_row_is_noticed() -> None:
    assert missing(["redis", "new"]) == ["new has no row in tests/manifests/components.py: say there what it calls and keeps"]


@pytest.fixture(scope="module")
def reached(cluster: Cluster) -> dict[str, set[str]]:
    """Component to the components whose ports it may reach, as the rendered policies have it."""
    owners = {str(workload): _owner(workload) for workload in cluster.workloads.values()}
    found: dict[str, set[str]] = defaultdict(set)
    for row in matrix(cluster):
        targets = {owners[f"{row.namespace}/{name}"] for name in row.targets}
        for source in {owners.get(name, "") for name in row.sources}:
            found[source] |= {target for target in targets if target != source}
    return found


def _owner(workload: Workload) -> str:
    return component_of(workload.pods[0].labels)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_reaches_what_its_row_says(name: str, reached: dict[str, set[str]], cluster: Cluster) -> None:
    in_node_network = {_owner(workload) for workload in cluster.workloads.values() if workload.pods[0].host_network}
    assert reached[name] & set(COMPONENTS) - in_node_network == COMPONENTS[name].calls


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_is_published_under_the_hosts_of_its_row(name: str, declared: Declarations, full_site: Site) -> None:
    hosts = {getattr(full_site.hosts, host.name): host.name for host in fields(Hosts)} | {full_site.domain: "well_known"}
    published = {hosts[exposure.host.name] for exposure in declared.exposures if component_of(dict(exposure.endpoint.pods.labels)) == name}
    assert published == COMPONENTS[name].publishes


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_offers_the_metrics_of_its_row(name: str, declared: Declarations) -> None:
    offered = {f"{scrape.port.number} {scrape.path}" for scrape in declared.scrapes if component_of(dict(scrape.pods.labels)) == name}
    assert offered == _set(COMPONENTS[name].metrics)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_keeps_what_its_row_says(name: str, declared: Declarations) -> None:
    assert {kept.where for component, kept in declared.state if component == name} == _set(COMPONENTS[name].keeps)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_live_node_has_a_stand_in_for_every_program_of_a_component(name: str, everything: Objects) -> None:
    wanted, stand_in = programs(name, everything), COMPONENTS[name].stand_in
    if stand_in is NO_PODS:
        assert wanted == set()
        return
    assert wanted == _set(stand_in)


def programs(name: str, objects: Objects) -> set[str]:
    """By which part of its name the live node knows each image of a component; what it makes in place of an operator's pods."""
    images = {c["image"] for workload in workloads(objects) if component_of(workload.labels) == name for c in workload.containers}
    known = {next((part for part in IMAGES if part in image), f"nothing for {image}") for image in images}
    custom = {o["kind"] for o in objects if o["metadata"].get("labels", {}).get(NAME) == name}
    return known | {MADE[kind] for kind in custom & MADE.keys()}


def _set(said: frozenset[str] | Nothing) -> frozenset[str]:
    return frozenset() if isinstance(said, Nothing) else said


def test_a_reason_is_given_for_what_a_component_has_none_of() -> None:
    reasons: Iterator[Nothing] = (said for row in COMPONENTS.values() for said in _said(row) if isinstance(said, Nothing))
    assert all(len(reason.because.split()) > 1 for reason in reasons)


def _said(row: Row) -> tuple[object, ...]:
    return row.metrics, row.keeps, row.stand_in


# --- what stands in place of a component


@pytest.fixture(scope="module")
def elsewhere(enterprise_site: Site) -> Installation:
    return assemble(App(), enterprise_site, profiles()[0])


def test_where_a_site_has_something_already_the_component_for_it_is_gone(elsewhere: Installation, everything: Objects) -> None:
    found = components([dict(o) for o in elsewhere.rendering().manifests()])
    assert found - components(everything) == IN_PLACE.keys()
    assert {"postgresql-main", "redis"} & found == set()


@pytest.mark.parametrize("name", IN_PLACE)
def test_what_stands_in_its_place_does_what_its_row_says(name: str, elsewhere: Installation) -> None:
    row, objects, said = IN_PLACE[name], [dict(o) for o in elsewhere.rendering().manifests()], elsewhere.declared
    cluster = read_cluster(objects)
    owners = {str(workload): _owner(workload) for workload in cluster.workloads.values()}
    found = [pair for pair in matrix(cluster) if name in {owners.get(source) for source in pair.sources}]
    called = {owners[f"{pair.namespace}/{target}"] for pair in found for target in pair.targets} & (COMPONENTS.keys() | IN_PLACE.keys())
    assert called - {name} == row.calls
    assert {f"{s.port.number} {s.path}" for s in said.scrapes if component_of(dict(s.pods.labels)) == name} == _set(row.metrics)
    assert {kept.where for component, kept in said.state if component == name} == _set(row.keeps)
    assert programs(name, objects) == _set(row.stand_in)
