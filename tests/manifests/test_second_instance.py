"""The components of one instance stand a second time in another place: nothing is shared by accident, and nothing of one leads to the other."""

from collections import defaultdict
from collections.abc import Iterator

import pytest
from attrs import evolve, frozen
from cdk8s import App

from app.layout import base_files
from app.platform.edge import edge
from app.platform.infrastructure import infrastructure
from app.platform.main_instance import main_instance, work
from app.site import Site
from infrastructure.object_storage.external import ExternalStorage
from infrastructure.object_storage.options import ExternalOptions
from infrastructure.postgresql.component import PostgresCluster, PostgresSpec
from infrastructure.redis.component import RedisSentinel
from kit.installation import Installation
from kit.place import Place
from kit.rendering import Rendering
from main_instance.element_web.component import ElementWeb
from main_instance.element_web.configuration import ElementWebSpec
from main_instance.haproxy.component import HAProxy, ProxySpec, entrances
from main_instance.haproxy.configuration import HAProxySpec, pools
from main_instance.synapse.component import Synapse, SynapseSpec
from main_instance.synapse.configuration import HomeserverSpec
from main_instance.synapse.fleet import fleet
from main_instance.synapse.workers import MAIN, worker_types
from overlays import Profile, profiles
from tests.kustomize import build, write
from tests.manifests.rules import availability, budget, consistency, processes, quotas, references, schemas, security
from tests.manifests.rules.mutation import assert_noticed, replace_text, without
from tests.manifests.rules.objects import Declared, Object, Objects, Rule, assert_kept, namespace_of

FIRST, SECOND = "matrix", "matrix-li"
NAME = "app.kubernetes.io/name"
COMPONENTS = {"synapse": "synapse-li", "redis": "redis-li", "haproxy": "haproxy-li", "element-web": "element-web-li"}
COMPONENTS |= {"postgresql-main": "postgresql-li"}
"""What the components are called in the first place, and in the second."""


def instance(installation: Installation, site: Site, profile: Profile, place: Place) -> None:
    """A homeserver with all that it stands on, and a client for it."""
    base = Place("infrastructure", place.namespace, place.suffix)
    storage = ExternalStorage(installation, base, ExternalOptions(endpoint="https://s3.example.com"))
    media, backups = storage.bucket("li-media", "media"), storage.bucket("li-backups", "backups")
    postgresql = PostgresCluster(installation, base, PostgresSpec(profile.postgresql, site.backups, backups))
    redis, doors = RedisSentinel(installation, base, profile.redis, measured=True), entrances(installation, place)
    workers = fleet(profile.synapse.workers, worker_types(work(site)))
    homeserver = HomeserverSpec(
        server_name=site.server_name,
        host=site.hosts.matrix_li,
        database=postgresql.database,
        redis=redis.primary,
        bucket=media,
        size=profile.synapse,
    )
    synapse = Synapse(
        installation, place, SynapseSpec(homeserver, workers, site.host("matrix_li"), doors.public, redis_secret=redis.password.name)
    )
    routing = HAProxySpec(pools(workers, synapse.domain), f"{synapse.address(MAIN)}.", site.media.max_upload_size, trusted_proxies=())
    HAProxy(installation, place, ProxySpec(routing, profile.haproxy, backends=(synapse.http, synapse.health)))
    client = ElementWebSpec(
        site.element, site.host("element_li"), f"https://{site.hosts.matrix_li}", site.server_name, registration=site.registration
    )
    ElementWeb(installation, place, client)


def installed(site: Site, second: Place) -> Installation:
    """The platform of a site in its smallest size, with a second instance in a place."""
    profile = profiles()[0]
    installation = Installation(App(), profile.name, site.facts)
    foundation = infrastructure(installation, site, profile)
    main_instance(installation, site, profile, foundation, None)
    instance(installation, site, profile, second)
    edge(installation, site)
    return installation


@frozen
class Both:
    """Two instances: what they have declared, as data, and as Kustomize builds it."""

    installation: Installation
    rendering: Rendering
    objects: Objects

    def of(self, component: str, namespace: str) -> Objects:
        """The objects of a component in a namespace."""
        return [o for o in self.objects if namespace_of(o) == namespace and o["metadata"].get("labels", {}).get(NAME) == component]


@pytest.fixture(scope="module")
def both(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Both:
    installation = installed(site, Place("li-instance", SECOND, "-li"))
    rendering, folder = installation.rendering(), tmp_path_factory.mktemp("both")
    write(folder, base_files(rendering))
    return Both(installation, rendering, build(folder))


@pytest.fixture(scope="module")
def declared(both: Both) -> Declared:
    return {(need.spec.namespace, need.spec.name): set(dict(need.spec.keys)) for need in both.installation.declared.secrets}


def renamed(name: str) -> str:
    """What an object of the first place is called in the second. Workers are called like the Synapse instances that they are, in both."""
    for first, second in COMPONENTS.items():
        if name == first or name.startswith(f"{first}-"):
            return f"{second}{name.removeprefix(first)}"
    return name


def called(o: Object) -> tuple[str, str]:
    """The kind and name of an object, without the digest of what a Job runs."""
    kind, name = o["kind"], o["metadata"]["name"]
    return kind, name.rpartition("-")[0] if kind == "Job" else name


@pytest.mark.parametrize(("first", "second"), COMPONENTS.items())
def test_a_component_has_the_same_objects_in_both_places_under_names_of_their_own(both: Both, first: str, second: str) -> None:
    ours, theirs = both.of(first, FIRST), both.of(second, SECOND)
    assert set(map(called, theirs)) == {(kind, renamed(name)) for kind, name in map(called, ours)} != set()
    assert both.of(first, SECOND) == both.of(second, FIRST) == []


def test_what_the_second_instance_publishes_stands_beside_what_the_first_does(both: Both) -> None:
    published = defaultdict(set)
    for exposure in both.installation.declared.exposures:
        published[exposure.endpoint.pods.namespace].add((exposure.name, exposure.endpoint.host.partition(".")[0]))
    assert published[SECOND] == {("matrix-li", "haproxy-li"), ("element-li", "element-web-li")}
    assert {("matrix", "haproxy"), ("element", "element-web")} <= published[FIRST]


def test_its_files_stand_in_folders_of_its_own(both: Both) -> None:
    placed = {o.file for key, o in both.rendering.objects.items() if key.namespace == SECOND and o.manifest["kind"] != "NetworkPolicy"}
    ours = {file for file in placed if not file.startswith(("infrastructure/03-minio", "namespace.yaml", "infrastructure/04-networking"))}
    assert {"/".join(file.split("/")[:2]) for file in ours} == {
        *("infrastructure/01-postgresql", "infrastructure/02-redis-li", "infrastructure/03-object-storage-li"),
        *("li-instance/01-synapse-li", "li-instance/02-element-web-li", "li-instance/03-haproxy-li"),
    }
    clusters = {key.name: o.file for key, o in both.rendering.objects.items() if key.kind == "Cluster"}
    assert clusters == {
        "postgresql-main": "infrastructure/01-postgresql/main-cluster.yaml",
        "postgresql-li": "infrastructure/01-postgresql/li-cluster.yaml",
    }


def config_files(both: Both, namespace: str) -> dict[str, str]:
    """The files of all ConfigMaps in a namespace, by path."""
    maps = both.rendering.config_maps
    return {path: both.rendering.files[path] for (where, _), files in maps.items() if where == namespace for path in files.values()}


def test_its_configuration_stands_in_folders_of_its_own(both: Both) -> None:
    first, second = ({path.split("/")[1] for path in config_files(both, namespace)} for namespace in (FIRST, SECOND))
    # One program makes the tenants of MinIO ready, and one takes the first backup of databases.
    assert first & second == {"minio", "postgresql"}
    assert second - first == {"synapse-li", "redis-li", "haproxy-li", "element-web-li"}
    tuned = {o.tuning.file for key, o in both.rendering.objects.items() if o.tuning and key.namespace == SECOND}
    assert tuned >= {"config/postgresql/li-cluster.yaml", "config/redis-li/sentinel-values.yaml"}
    assert not tuned & {o.tuning.file for key, o in both.rendering.objects.items() if o.tuning and key.namespace == FIRST}


def named_elsewhere(both: Both, namespace: str) -> Iterator[str]:
    """Names of Services and pods in the files of a namespace that belong to another one."""
    for path, text in config_files(both, namespace).items():
        for host, _ in references.addresses(text):
            *_, where = host.partition(".svc.")[0].split(".")
            if where != namespace:
                yield f"{path}: {host}"


def test_every_name_in_its_configuration_leads_to_its_own_services(both: Both) -> None:
    assert list(named_elsewhere(both, SECOND)) == []
    assert "redis-li-primary.matrix-li.svc" in both.rendering.files["config/synapse-li/homeserver.yaml"]
    assert "postgresql-li-rw" in both.rendering.files["config/synapse-li/main.yaml"]
    assert "receipts-0.synapse-li.matrix-li.svc" in both.rendering.files["config/synapse-li/shards.yaml"]
    files = {**both.rendering.files, "config/synapse-li/shards.yaml": "host: pusher-0.synapse.matrix.svc.cluster.local"}
    mixed = evolve(both, rendering=evolve(both.rendering, files=files))
    assert list(named_elsewhere(mixed, SECOND)) == ["config/synapse-li/shards.yaml: pusher-0.synapse.matrix.svc.cluster.local"]


def test_the_instances_do_not_call_each_other(both: Both) -> None:
    ends = [{connection.source.namespace, connection.target.namespace} for connection in both.installation.declared.connections]
    assert {FIRST, SECOND} not in ends
    assert {SECOND} in ends


@pytest.mark.parametrize(
    "rule",
    [
        availability.probe_problems,
        availability.quorum_problems,
        availability.rollout_problems,
        availability.spread_problems,
        budget.backup_problems,
        budget.connection_problems,
        budget.limit_problems,
        budget.postgresql_problems,
        budget.schedule_problems,
        budget.sentinel_problems,
        consistency.autoscaler_problems,
        consistency.budget_problems,
        consistency.duplicates,
        consistency.governing_service_problems,
        consistency.leftover_problems,
        consistency.name_problems,
        consistency.probe_problems,
        consistency.selector_problems,
        consistency.service_problems,
        processes.duty_problems,
        processes.instance_map_problems,
        processes.instance_problems,
        processes.listener_problems,
        processes.main_problems,
        processes.writer_problems,
        quotas.limit_range_problems,
        quotas.quota_problems,
        references.account_problems,
        references.config_map_problems,
        references.host_problems,
        references.ingress_problems,
        references.mount_problems,
        references.password_file_problems,
        references.path_problems,
        references.unused_config_maps,
        schemas.built_in_problems,
        security.hardening_problems,
        security.image_problems,
        security.literal_password_problems,
        security.namespace_problems,
        security.node_port_problems,
        security.pod_security_problems,
        security.publication_problems,
        security.resource_problems,
        security.right_problems,
        security.token_problems,
    ],
    ids=lambda rule: f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}",
)
def test_two_instances_keep_the_rules(rule: Rule, both: Both) -> None:
    assert_kept(rule, {"two instances": both.objects})


def test_every_secret_of_both_is_made(both: Both, declared: Declared) -> None:
    assert {(SECOND, "synapse-li"), (SECOND, "redis-li"), (FIRST, "synapse")} <= declared.keys()
    assert references.secret_problems(both.objects, declared) == []
    assert references.provider_problems(both.objects, declared) == []


def test_members_of_the_second_quorum_that_may_share_a_node_are_noticed(both: Both) -> None:
    rule = availability.quorum_problems
    assert_noticed(
        rule, both.objects, without("StatefulSet/redis-li", "spec.template.spec.affinity"), "matrix-li/redis-li: two may share a node"
    )


def test_a_name_of_the_second_instance_that_leads_nowhere_is_noticed(both: Both) -> None:
    assert_noticed(
        references.host_problems,
        both.objects,
        lambda o: replace_text(o, "synapse-li-homeserver", "homeserver.yaml", "redis-li-primary", "redis-primary"),
        "there is no redis-primary.matrix-li",
    )


@pytest.mark.parametrize("place", [Place("li-instance", SECOND), Place("main-instance", FIRST, "")], ids=["no suffix", "the same place"])
def test_an_instance_in_the_way_of_another_is_refused(site: Site, place: Place) -> None:
    with pytest.raises((ValueError, RuntimeError), match=r"is declared twice|already a Construct"):
        installed(site, place)
