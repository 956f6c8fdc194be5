"""The lawful-intercept instance: main's data as officers see it, under cases that two of them agree on, and nothing that changes it."""

from attrs import frozen

from app.platform import volumes
from app.platform.infrastructure import Infrastructure, LiStorage
from app.site import Site
from infrastructure.postgresql.component import DATABASE, Database, PostgresCluster, PostgresSpec
from kit.installation import Installation
from kit.place import Place
from li_instance.access_proxy.component import AccessProxy
from li_instance.access_proxy.configuration import AccessProxySpec
from li_instance.redis.component import Redis, Server
from li_instance.synapse.component import SynapseLi, SynapseLiSpec
from li_instance.synapse_admin.component import SynapseAdminLi
from li_instance.sync_system.component import SyncSystem
from li_instance.sync_system.configuration import SyncSpec
from main_instance.element_web.component import ElementWeb
from main_instance.element_web.configuration import ElementWebSpec
from main_instance.key_vault.component import KeyVault
from main_instance.key_vault.configuration import APPLICATION, OWNER, READER, KeyVaultSpec
from main_instance.synapse.configuration import Deposit, HomeserverSpec
from main_instance.synapse.options import MediaOptions, RegistrationOptions
from main_instance.synapse.topology import Topology
from main_instance.synapse_admin.configuration import SynapseAdminSpec
from overlays.profile import Profile

SYNC = "li_sync"
_SYNC_RIGHTS = (f"ALTER ROLE {SYNC} CREATEDB", f"GRANT pg_create_subscription, pg_signal_backend, pg_read_all_stats TO {SYNC}")
"""What services/li_sync/README.md asks for the owner of the instance's database."""
_TERSE = {"log_error_verbosity": "terse"}
"""A conflict would print both rows into the log."""


@frozen
class Interception:
    """What the main instance and this one have to do with each other: data of its own, and the vault, which belongs to neither."""

    postgresql: PostgresCluster
    storage: LiStorage
    reader: Database
    vault: KeyVault
    deposit: Deposit | None


def interception(installation: Installation, site: Site, profile: Profile, foundation: Infrastructure, storage: LiStorage) -> Interception:
    """Create what stands before both: the database, and the key vault. Main's Synapse seals recovery keys for it."""
    place, main = _infrastructure(site), _followed(foundation)
    spec = PostgresSpec(
        volumes.database_li(site, profile),
        site.backups.of_a_copy,
        storage.backups,
        owner=SYNC,
        owner_rights=_SYNC_RIGHTS,
        further_parameters=_TERSE,
    )
    postgresql = PostgresCluster(installation, place, spec)
    reader = postgresql.add_role(READER, "li-roles.yaml")
    options = site.li
    vault = KeyVault(
        installation,
        Place("main-instance", site.namespaces.main),
        KeyVaultSpec(
            server_name=site.server_name,
            host=site.hosts.cases_li,
            officers=options.officers,
            country_code=options.country_code or "",
            operator=options.owner or "",
            owner=main.add_database("key_vault", "key-vault.yaml", owner=OWNER),
            application=main.add_role(APPLICATION, "key-vault.yaml", "key_vault"),
            reader=postgresql.seen_from_elsewhere(reader),
        ),
    )
    deposit = vault.deposit(options.notice_url) if options.key_deposit and options.notice_url else None
    return Interception(postgresql, storage, reader, vault, deposit)


def li_instance(
    installation: Installation, site: Site, profile: Profile, foundation: Infrastructure, between: Interception, writers: Topology
) -> None:
    """Create it. `writers`: who writes what on the main instance."""
    place, postgresql, storage = Place("li-instance", site.namespaces.li, "-li"), between.postgresql, between.storage
    redis = Redis(installation, _infrastructure(site)).server
    database = postgresql.add_role("synapse_li", "li-roles.yaml")
    homeserver = HomeserverSpec(
        server_name=site.server_name,
        host=site.hosts.matrix_li,
        database=database,
        redis=redis.endpoint,
        bucket=storage.reader,
        size=profile.synapse,
        media=MediaOptions(max_upload_size=site.media.max_upload_size),
        options=site.homeserver,
    )
    synapse = SynapseLi(installation, place, SynapseLiSpec(homeserver, writers, profile.synapse_li, redis.secret))
    own = Place(place.layer, place.namespace)
    sync = SyncSystem(installation, own, _synchronisation(site, _followed(foundation), between, database, redis, synapse))
    vault = between.vault
    doors = AccessProxySpec(synapse.http, synapse.health, vault.officers, vault.access, sync.status)
    proxy = AccessProxy(installation, own, doors, vault.own)
    element = ElementWeb(installation, place, _element(site))
    admin = SynapseAdminLi(installation, place, SynapseAdminSpec(site.host("admin_li"), site.server_name))
    if sources := site.ingress.li_source_ranges:
        authority, api = proxy.client_authority(), ("/_matrix", "/_synapse/admin")
        synapse.expose("matrix", site.host("matrix_li"), proxy.homeserver, api, sources, authority)
        element.expose("element", site.host("element_li"), element.http, ("/",), sources, authority)
        admin.expose("admin", site.host("admin_li"), admin.http, ("/",), sources, authority)
        # Browsers show a client certificate to a page's own host alone.
        proxy.expose("element-li-client", site.host("element_li"), proxy.homeserver, ("/_matrix",), sources, authority)
        proxy.expose("admin-li-client", site.host("admin_li"), proxy.homeserver, api, sources, authority)
        proxy.expose("cases-li", site.host("cases_li"), proxy.cases, ("/",), sources, authority)


def _followed(foundation: Infrastructure) -> PostgresCluster:
    """Main's database, which is the platform's own: a site with another one cannot mean this instance (app/contradictions.py)."""
    assert isinstance(foundation.postgresql, PostgresCluster)  # noqa: S101
    return foundation.postgresql


def _infrastructure(site: Site) -> Place:
    return Place("infrastructure", site.namespaces.li, "-li")


def _synchronisation(
    site: Site, main: PostgresCluster, between: Interception, database: Database, redis: Server, synapse: SynapseLi
) -> SyncSpec:
    postgresql, storage = between.postgresql, between.storage
    # The publisher belongs to the owner of Synapse's tables, whose replica identities it sets; the other reads what is published.
    publisher = main.add_role("li_publisher", "li-roles.yaml", member_of=(DATABASE,))
    replication = main.add_role("li_replication", "li-roles.yaml", replication=True)
    postgresql.connect(postgresql.pods, main.sql)
    return SyncSpec(
        server_name=site.server_name,
        publisher=main.seen_from_elsewhere(publisher),
        replication=main.seen_from_elsewhere(replication),
        owner=postgresql.database,
        synapse=database,
        follower=postgresql.add_role("li_follow", "li-roles.yaml"),
        reader=between.reader,
        source=storage.source,
        mirror=storage.mirror,
        redis=redis.endpoint,
        redis_secret=redis.secret,
        health=synapse.health,
        workload=synapse.name,
        options=site.li.sync,
        keep_deleted_media=site.li.keep_deleted_media,
    )


def _element(site: Site) -> ElementWebSpec:
    host = site.host("element_li")
    return ElementWebSpec(
        options=site.element,
        host=host,
        homeserver=f"https://{host.name}",
        server_name=site.server_name,
        registration=RegistrationOptions(),
        interception=True,
    )
