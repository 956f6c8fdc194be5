"""The homeserver that everybody uses: Synapse behind HAProxy, the client for the browser, calls, push, and login by OAuth 2.0."""

from antivirus.content_scanner.component import ALIVE, AT_ONCE, ROUTES, ContentScanner
from app.platform.antivirus import Antivirus
from app.platform.infrastructure import Infrastructure, further_connections
from app.platform.li_instance import Interception
from app.platform.monitoring import asked_by_keda
from app.site import Site
from infrastructure.ingress.options import TlsSource
from infrastructure.postgresql.component import Database, PostgresCluster
from infrastructure.postgresql.external import ExternalPostgresql
from kit.installation import Installation
from kit.place import Place
from li_instance.synapse.configuration import RESERVED_PREFIX
from main_instance.application_services.configuration import pods_of
from main_instance.authentication_service.component import LOGIN_ROUTES, AuthenticationService, AuthenticationSpec
from main_instance.authentication_service.configuration import SHARED_SECRET, ServiceSpec
from main_instance.coturn.component import Coturn, RelaySpec
from main_instance.coturn.configuration import Certificate, CoturnSpec
from main_instance.element_web.component import ElementWeb
from main_instance.element_web.configuration import ElementWebSpec
from main_instance.haproxy.component import Administration, Entrances, HAProxy, ProxySpec, entrances
from main_instance.haproxy.configuration import HAProxySpec, Upstream, Whose, pools
from main_instance.haproxy.well_known import WellKnown
from main_instance.livekit.component import LiveKit, MediaServerSpec
from main_instance.livekit.configuration import LiveKitSpec
from main_instance.lk_jwt_service.component import API_KEY, API_SECRET, AuthorisationSpec, LkJwtService
from main_instance.media_sweep.component import MediaSweep, SweepSpec
from main_instance.state_compressor.component import StateCompressor
from main_instance.sygnal.component import Sygnal
from main_instance.sygnal.options import Gateways
from main_instance.synapse.component import Authentication, Synapse, SynapseSpec
from main_instance.synapse.configuration import HomeserverSpec, chosen_modules
from main_instance.synapse.fleet import Fleet, fleet
from main_instance.synapse.worker_type import Work
from main_instance.synapse.workers import MAIN, worker_types
from main_instance.synapse_admin.component import SynapseAdmin
from main_instance.synapse_admin.configuration import SynapseAdminSpec
from overlays.profile import Profile


def fleet_of(site: Site, profile: Profile) -> Fleet:
    """Its workers, with the types that the features of the site need."""
    return fleet(profile.synapse.workers, worker_types(work(site)))


def main_instance(
    installation: Installation,
    site: Site,
    profile: Profile,
    foundation: Infrastructure,
    antivirus: Antivirus | None,
    interception: Interception | None = None,
) -> None:
    """Create it, with the features of the site. `antivirus`: what scans its files. `interception`: what another instance has of it."""
    place, calls_place = Place("main-instance", site.namespaces.main), Place("main-instance", site.namespaces.rtc)
    features, doors = site.features, entrances(installation, Place("main-instance", site.namespaces.main))
    authentication = (
        _authentication_service(installation, place, site, profile, foundation, doors) if features.authentication_service else None
    )
    workers = fleet_of(site, profile)
    connections = workers.connections(profile.synapse.connections)
    profile.check_connections(workers.processes, connections)
    if isinstance(foundation.postgresql, ExternalPostgresql):
        foundation.postgresql.check(connections + further_connections(site, profile))
    scanner = antivirus.content_scanner if antivirus else None
    turn = _coturn(installation, calls_place, site, profile) if features.calls else None

    synapse = Synapse(
        installation,
        place,
        SynapseSpec(
            homeserver=_homeserver(site, profile, foundation, authentication, turn, antivirus, interception),
            workers=workers,
            host=site.host("matrix"),
            proxy=doors.public,
            redis_secret=foundation.redis.password.name,
            authentication=Authentication(authentication.secret_name, SHARED_SECRET) if authentication else None,
            turn_secret=turn.shared_secret if turn else None,
            push=site.push,
            scanning=antivirus.scanning if antivirus else None,
            prometheus=asked_by_keda(installation, site),
        ),
    )
    beside = [*([_login(authentication)] if authentication else []), *([_content_scanner(scanner)] if scanner else [])]
    HAProxy(
        installation,
        place,
        ProxySpec(
            routing=_routing(site, profile, workers, synapse, tuple(beside)),
            size=profile.haproxy,
            backends=(
                *(synapse.http, synapse.health),
                *((authentication.http, authentication.health) if authentication else ()),
                *((scanner.http,) if scanner else ()),
            ),
            server_name=site.domain_host if site.well_known.publish else None,
            administration=_administration(site),
            bridges=tuple(pods for name, of in site.application_services if (pods := pods_of(name, of))),
        ),
    )
    if turn:
        _group_calls(installation, calls_place, site, profile, foundation, doors, turn)
    ElementWeb(
        installation,
        place,
        ElementWebSpec(
            options=site.element,
            host=site.host("element"),
            homeserver=f"https://{site.hosts.matrix}",
            server_name=site.server_name,
            registration=site.registration,
            federation=features.federation,
            calls=features.calls,
            login_elsewhere=features.authentication_service,
            mail=site.mail is not None,
        ),
    )
    if foundation.storage.media_sweep:
        spec = SweepSpec(foundation.storage.media_sweep, foundation.postgresql.database, site.media)
        MediaSweep(installation, place, spec)
    if site.state_compressor:
        StateCompressor(installation, place, site.state_compressor, foundation.postgresql.database)
    if administration := _administration(site):
        page = SynapseAdmin(
            installation, place, SynapseAdminSpec(administration.host, site.server_name, site.login, site.application_services)
        )
        page.expose("admin-page", administration.host, page.http, ("/",), administration.allowed_sources)
    if features.push:
        Sygnal(installation, place, site.push, pushers=synapse.pods_of("pusher"))


def work(site: Site) -> frozenset[Work]:
    """What the homeserver of a site does besides what all do: which worker types it has depends on nothing else."""
    features = site.features
    wanted = {
        Work.FEDERATION: features.federation,
        Work.AUTHENTICATION_SERVICE: features.authentication_service,
        Work.NOTIFICATIONS: features.push or site.push.gateways is not Gateways.NONE or bool(site.mail and site.mail.notifications),
        Work.SINGLE_SIGN_ON: site.single_sign_on and not features.authentication_service,
        Work.APPLICATION_SERVICES: bool(site.application_services),
    }
    return frozenset(kind for kind, there in wanted.items() if there)


def _homeserver(
    site: Site,
    profile: Profile,
    foundation: Infrastructure,
    authentication: AuthenticationService | None,
    turn: Coturn | None,
    antivirus: Antivirus | None,
    interception: Interception | None,
) -> HomeserverSpec:
    deposit = interception.deposit if interception else None
    return HomeserverSpec(
        server_name=site.server_name,
        host=site.hosts.matrix,
        database=foundation.postgresql.database,
        redis=foundation.redis.primary,
        bucket=foundation.storage.media,
        size=profile.synapse,
        media=site.media,
        registration=site.registration,
        options=site.homeserver,
        login=site.login,
        application_services=site.application_services,
        modules=(*chosen_modules(site.homeserver), *((antivirus.scanning.module,) if antivirus else ())),
        federation=site.federation if site.features.federation else None,
        mail=site.mail,
        client=f"https://{site.hosts.element}",
        old_signing_keys=site.old_signing_keys,
        turn=tuple(relay.uri for relay in turn.relays) if turn else (),
        calls_host=site.hosts.rtc if site.features.calls else None,
        authentication=authentication.http if authentication else None,
        reachable_networks=_reachable_networks(site, deposit=deposit is not None),
        reserved_prefix=RESERVED_PREFIX if interception else "",
        deposit=deposit,
        keeps_originals=site.features.li and site.li.keep_redacted_originals,
    )


def _reachable_networks(site: Site, *, deposit: bool) -> tuple[str, ...]:
    """Networks that Synapse calls though they may be private, of which it calls none but those that it is told. Policies say which process may."""
    return (
        *site.push.gateway_networks,
        # Sygnal's Service has such an address, and so has that of the key vault.
        *(site.cluster.service_cidrs if site.features.push or deposit else ()),
        *(site.federation.networks if site.features.federation else ()),
    )


def _routing(site: Site, profile: Profile, workers: Fleet, synapse: Synapse, beside: tuple[Upstream, ...]) -> HAProxySpec:
    return HAProxySpec(
        pools=pools(workers, synapse.domain),
        main=f"{synapse.address(MAIN)}.",
        max_upload=site.media.max_upload_size,
        trusted_proxies=site.ingress.trusted_proxies,
        upstreams=beside,
        ingress_peers=site.cluster.pod_cidrs or ("0.0.0.0/0", "::/0"),
        federation=site.features.federation,
        logins_per_minute=site.homeserver.rate_limits.logins_per_minute,
        bridges=any(of.pods for _, of in site.application_services),
        replicas=profile.haproxy.replicas,
        whose=Whose() if site.features.authentication_service else None,
        well_known=_well_known(site) if site.well_known.publish else None,
    )


def _well_known(site: Site) -> WellKnown:
    features, hosts = site.features, site.hosts
    return WellKnown(
        homeserver=f"https://{hosts.matrix}",
        support=site.well_known.support,
        # The authorisation service of calls finds the homeserver as another server would.
        delegated_to=f"{hosts.matrix}:443" if features.federation or features.calls else None,
        livekit_service_url=f"https://{hosts.rtc}" if features.calls else None,
        issuer=f"https://{hosts.auth}/" if features.authentication_service else None,
        client=site.well_known.client,
        content_scanner=f"https://{hosts.matrix}" if features.antivirus and site.antivirus.encrypted else None,
    )


def _administration(site: Site) -> Administration | None:
    sources = site.ingress.admin_source_ranges
    return Administration(site.host("admin"), sources) if sources else None


def _authentication_service(
    installation: Installation, place: Place, site: Site, profile: Profile, foundation: Infrastructure, doors: Entrances
) -> AuthenticationService:
    host = site.host("auth")
    configuration = ServiceSpec(
        server_name=site.server_name,
        host=host.name,
        homeserver_url=f"http://{doors.internal.address}/",
        database=_authentication_database(foundation.postgresql),
        database_connections=profile.synapse.connections.light,
        registration=site.registration,
        login=site.login,
        administration=bool(site.ingress.admin_source_ranges),
        extra=site.authentication_service.extra,
        mail=site.mail,
        # The ingress controller stands in the pods' network, and HAProxy too.
        trusted_proxies=(*site.ingress.trusted_proxies, *site.cluster.pod_cidrs),
    )
    spec = AuthenticationSpec(
        configuration, site.authentication_service, host, doors.internal, profile.haproxy.replicas, _administration(site)
    )
    return AuthenticationService(installation, place, spec)


def _authentication_database(postgresql: PostgresCluster | ExternalPostgresql) -> Database:
    if isinstance(postgresql, ExternalPostgresql):
        return postgresql.authentication_service()
    return postgresql.add_database("authentication_service", "authentication-service.yaml")


def _login(authentication: AuthenticationService) -> Upstream:
    http, health = authentication.http, authentication.health
    # Twenty passwords that are being checked at once fit into one replica's memory, and there are as many replicas as proxies.
    return Upstream(authentication.name, LOGIN_ROUTES, f"{http.host}.", http.port, health.port, max_connections=20)


def _content_scanner(scanner: ContentScanner) -> Upstream:
    http = scanner.http
    return Upstream(scanner.name, ROUTES, f"{http.host}.", http.port, http.port, AT_ONCE, health_path=ALIVE, pods=scanner.most)


def _coturn(installation: Installation, place: Place, site: Site, profile: Profile) -> Coturn:
    # The platform's ACME issuer asks by HTTP, at an address that is coturn's and not the ingress controller's.
    certified = site.tls.source is not TlsSource.ACME
    tls = site.calls.turn_tls if site.calls.turn_tls is not None else certified
    settings = CoturnSpec(site.hosts.turn, site.calls, profile.coturn.relayed, site.cluster, Certificate() if tls else None)
    return Coturn(installation, place, RelaySpec(settings, profile.coturn, site.host("turn"), certified))


def _group_calls(
    installation: Installation, place: Place, site: Site, profile: Profile, foundation: Infrastructure, doors: Entrances, turn: Coturn
) -> None:
    host, redis = site.host("rtc"), foundation.redis
    password = redis.password.key("password")
    authorisation = LkJwtService(
        installation,
        place,
        AuthorisationSpec(
            server_name=site.server_name,
            host=host,
            homeserver=doors.public,
            redis=redis.primary,
            redis_password=password,
            ingress_namespace=site.ingress.controller_namespace,
            other_servers=site.features.federation,
            # Of other sources only whoever made the Secret knows whether an authority of their own is in it.
            private_authority={TlsSource.INTERNAL_CA: True, TlsSource.ACME: False}.get(site.tls.source),
        ),
    )
    settings = LiveKitSpec(site.calls, redis.primary, API_KEY, authorisation.webhooks, turn.relays)
    LiveKit(
        installation,
        place,
        MediaServerSpec(settings, profile.livekit, host, API_SECRET, turn.shared_secret, password, webhook=authorisation.webhook),
    )
