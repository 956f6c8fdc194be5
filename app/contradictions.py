"""What a site cannot mean, though each of its options is well formed: found as the site is read, and reported like every other mistake."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from attrs import fields

from antivirus.options import UNPACKED
from app.site import Namespaces, Site, StorageSizes
from infrastructure.object_storage.options import Pool, Pools
from infrastructure.object_storage.size import ErasureSize
from infrastructure.operators import OPERATORS
from infrastructure.postgresql.schedule import firings
from kit.options import OptionError
from kit.quantities import Bytes, cores, gib, mib, tib
from main_instance.calls.options import CallsOptions, ServiceType
from main_instance.synapse.options import OF_OWN_LOGINS, SINGLE_SIGN_ON
from main_instance.synapse.workers import EVERY_TYPE, MAIN
from monitoring.options import Mode

_OF_KUBERNETES = ("default", "kube-system", "kube-public", "kube-node-lease")

SMALLEST_VOLUME, LARGEST_UPLOAD = gib(1), gib(10)
LARGEST_VOLUME = tib(64)
"""The largest volume of the block storage of large clouds, such as io2 of Amazon EBS."""


def contradictions(site: Site) -> Iterator[OptionError]:
    """Everything that the site cannot mean."""
    for rule in _RULES:
        yield from rule(site)


def _foreign_namespaces(site: Site) -> Iterator[OptionError]:
    """The platform closes its namespaces: in somebody else's it would close every pod there."""
    ours = {field.name: getattr(site.namespaces, field.name) for field in fields(Namespaces)}
    others = {
        site.cluster.dns.namespace: "that of cluster.dns.namespace",
        site.ingress.controller_namespace: "that of ingress.controller_namespace",
        site.tls.cert_manager_namespace: "that of tls.cert_manager_namespace",
    }
    if site.ingress.gateway:
        others[site.ingress.gateway.namespace] = "that of ingress.gateway.namespace"
    if site.monitoring.mode is Mode.OPERATOR:
        others[site.monitoring.operator.namespace] = "that of monitoring.operator.namespace"
    others |= {operator.namespace: f"{operator.name}'s" for operator in OPERATORS}
    if site.monitoring.keda:
        others[site.monitoring.keda.namespace] = "that of monitoring.keda.namespace"
    others |= dict.fromkeys(_OF_KUBERNETES, "Kubernetes'")
    for name, namespace in ours.items():
        if namespace in others:
            yield OptionError(
                f"namespaces.{name}",
                f'"{namespace}" is {others[namespace]}: the platform owns its namespaces and closes every pod in them; give a name of its own',
            )


def _generations(site: Site) -> Iterator[OptionError]:
    restore, generation = site.backups.restore, site.backups.generation
    if restore and restore.generation >= generation:
        yield OptionError(
            "backups.generation",
            f"{generation} is not after backups.restore.generation, {restore.generation}: a restored database archives in a place of its own; "
            f"give {restore.generation + 1} or more",
        )


def _schedules(site: Site) -> Iterator[OptionError]:
    try:
        firings(site.backups.schedule)
    except ValueError as error:
        yield OptionError("backups.schedule", f'"{site.backups.schedule}" {error}; give a day that every year has, such as 0 0 2 * * SUN')


def _backup_storage(site: Site) -> Iterator[OptionError]:
    """Storage of backups' own is another than that of media."""
    own, media = site.backups.object_storage.external, site.object_storage.external
    if own and media and own.endpoint == media.endpoint:
        yield OptionError(
            "backups.object_storage.external.endpoint",
            f"{own.endpoint} has media too, whose fate backups are not to share; give another, or remove backups.object_storage",
        )


def _networks(site: Site) -> Iterator[OptionError]:
    """Networks of the cluster are some addresses, not all, and no two of them are one."""
    cluster = site.cluster
    kinds = {"node_cidrs": cluster.node_cidrs, "pod_cidrs": cluster.pod_cidrs, "service_cidrs": cluster.service_cidrs}
    for name, cidrs in {**kinds, "api_server_cidrs": cluster.api_server_cidrs}.items():
        for cidr in cidrs:
            if ip_network(cidr).prefixlen == 0:
                yield OptionError(f"cluster.{name}", f"{cidr} is every address there is; give the network of your cluster")
    owners: dict[str, list[str]] = defaultdict(list)
    for name, cidrs in kinds.items():
        for cidr in cidrs:
            for other, theirs in kinds.items():
                clash = next(
                    (c for c in theirs if other < name and ip_network(c).version == ip_network(cidr).version and _overlap(c, cidr)), None
                )
                if clash and other not in owners[name]:
                    owners[name].append(other)
                    yield OptionError(
                        f"cluster.{name}", f"{cidr} and {clash} of cluster.{other} overlap, which no cluster can have; look up both"
                    )


def _overlap(one: str, other: str) -> bool:
    return ip_network(one).overlaps(ip_network(other))


def _public_addresses(site: Site) -> Iterator[OptionError]:
    nodes = [ip_network(cidr) for cidr in site.cluster.node_cidrs]
    for own, _ in site.calls.public_addresses:
        if nodes and not any(ip_address(own) in network for network in nodes):
            yield OptionError(
                "calls.public_addresses", f"{own} is no address of a node: cluster.node_cidrs are {', '.join(site.cluster.node_cidrs)}"
            )


def _load_balancers(site: Site) -> Iterator[OptionError]:
    balancer = site.calls.load_balancer
    if balancer is None:
        return
    if site.calls.media_ports != CallsOptions().media_ports:
        yield OptionError("calls.media_ports", "has no effect with calls.load_balancer, behind which one port has all media; remove it")
    if balancer.service is ServiceType.NODE_PORT and balancer.balancer_class:
        yield OptionError(
            "calls.load_balancer.balancer_class", "is of load balancers that the cluster makes, and these are yours; remove it"
        )
    for pod, _ in balancer.livekit:
        if not re.fullmatch("livekit-[0-9]+", pod):
            yield OptionError("calls.load_balancer.livekit", f"{pod} is no pod of LiveKit; they are livekit-0, livekit-1 and so on")


def _sizes(site: Site) -> Iterator[OptionError]:
    for key, size in _volumes(site.storage_sizes):
        if not SMALLEST_VOLUME <= size <= LARGEST_VOLUME:
            yield OptionError(f"storage_sizes.{key}", f"{size} is no size of such a volume; give {SMALLEST_VOLUME} to {LARGEST_VOLUME}")
    upload = site.media.max_upload_size
    if upload > LARGEST_UPLOAD:
        yield OptionError(
            "media.max_upload_size", f"{upload} in one request is more than proxies and clients carry; give at most {LARGEST_UPLOAD}"
        )


def _volumes(sizes: StorageSizes) -> Iterator[tuple[str, Bytes]]:
    for field in fields(StorageSizes):
        given = getattr(sizes, field.name)
        if isinstance(given, Pools):
            yield from ((f"pools.{tenant}", pool.drive) for tenant, pools in _tenants(given) for pool in pools)
        elif given:
            yield field.name, given


def _tenants(pools: Pools) -> Iterator[tuple[str, tuple[Pool, ...]]]:
    yield from ((field.name, getattr(pools, field.name)) for field in fields(Pools))


def _pools(site: Site) -> Iterator[OptionError]:
    """MinIO starts with each pool that there is said to be."""
    for tenant, pools in _tenants(site.storage_sizes.pools):
        for pool in pools:
            size = ErasureSize(nodes=pool.servers, drives=pool.drives, drive=pool.drive, cpu=cores(1), memory=gib(1))
            if size.refusals():
                yield OptionError(
                    f"storage_sizes.pools.{tenant}",
                    f"{pool.servers} servers with {pool.drives} drives make erasure sets of {size.erasure_set}, and with EC:{size.parity} MinIO "
                    f"does not start with fewer than {2 * size.parity}; give another number of servers, or 2 drives for each",
                )


def _scanned_files(site: Site) -> Iterator[OptionError]:
    """Clamd scans no file over 2 GiB, and what it unpacks is held to the same limit (clamd.conf(5), MaxFileSize)."""
    upload = site.media.max_upload_size
    if site.features.antivirus and upload * UNPACKED >= gib(2):
        yield OptionError(
            "media.max_upload_size",
            f"{upload} is more than clamd scans with what it unpacks; give at most {mib(511)}",
        )


def _logins(site: Site) -> Iterator[OptionError]:
    """Somebody can log in, and what a site asks of a login, the service that does it can do."""
    login, service = site.login, site.features.authentication_service
    if not login.passwords and not site.single_sign_on and not login.ldap:
        yield OptionError("login.passwords", "false leaves nothing to log in with; name login.providers or login.ldap, or write true")
    if service and login.ldap:
        yield OptionError(
            "login.ldap",
            "the Matrix Authentication Service speaks OpenID Connect alone; let a provider that reads your directory (Keycloak, authentik, "
            "Dex) do so, and name it in login.providers",
        )
    for name in sorted(OF_OWN_LOGINS & site.homeserver.extra.data.keys()) if service else ():
        instead = "let a provider that knows these people (Keycloak, authentik, Dex) do so, and name it in login.providers"
        yield OptionError(
            f"homeserver.extra.{name}",
            "Synapse does not start with it where the Matrix Authentication Service logs people in; "
            + (instead if name in SINGLE_SIGN_ON else "remove it, and see authentication_service.extra"),
        )
    for name, provider in login.providers:
        key = f'login.providers["{name}"]'
        if service and provider.required_claims:
            yield OptionError(
                f"{key}.required_claims",
                "the Matrix Authentication Service does not look at claims of people who come back; let the provider itself refuse who "
                "may not log in, and remove this",
            )
        for claim, values in provider.required_claims:
            if not values:
                yield OptionError(f"{key}.required_claims", f"{claim} has no value that would do; give those that may log in")
        if "openid" not in provider.scopes:
            yield OptionError(f"{key}.scopes", "lacks openid, without which nobody says who a person is; add it")
    yield from _directories(site)


def _homeserver(site: Site) -> Iterator[OptionError]:
    options, service = site.homeserver, site.features.authentication_service
    if service and options.password_policy:
        yield OptionError(
            "homeserver.password_policy",
            "the Matrix Authentication Service has the passwords; write authentication_service: {extra: {passwords: {minimum_complexity: 3}}}",
        )
    for alias in options.auto_join_rooms:
        if alias.partition(":")[2] != site.server_name:
            yield OptionError("homeserver.auto_join_rooms", f"{alias} is another server's; give aliases that end in :{site.server_name}")
    known = (MAIN, *(worker.name for worker in EVERY_TYPE))
    for name, module in options.modules:
        for process in module.processes:
            if process not in known:
                yield OptionError(
                    f'homeserver.modules["{name}"].processes', f"{process} is no process of Synapse; there are {', '.join(known)}"
                )


def _application_services(site: Site) -> Iterator[OptionError]:
    """Each has a registration, and is in the cluster or outside."""
    for name, of in site.application_services:
        key = f'application_services["{name}"]'
        if of.given and (of.bot or of.users or of.aliases or of.ephemeral or of.rate_limited):
            yield OptionError(
                key, "with given: true its registration file says bot, users, aliases, rate_limited and ephemeral; remove them"
            )
        if not of.given and not of.bot:
            yield OptionError(key, "has no bot; give the name of its account, e.g. bot: telegrambot")
        if of.pods and of.cidrs:
            yield OptionError(f"{key}.cidrs", "are addresses of one outside the cluster, and this one has pods in it; remove one of both")


def _pods_of_others(site: Site) -> Iterator[OptionError]:
    """They are not among the platform's own, which are closed; and of a Service in the cluster somebody has said whose pods are behind it."""
    ours = {getattr(site.namespaces, field.name) for field in fields(Namespaces)}
    stores = {
        "object_storage.external": site.object_storage.external,
        "backups.object_storage.external": site.backups.object_storage.external,
    }
    found = {key: store.pods for key, store in stores.items() if store}
    found |= {f'application_services["{name}"]': of.pods for name, of in site.application_services}
    for key, pods in found.items():
        if pods and pods.namespace in ours:
            yield OptionError(f"{key}.pods.namespace", f"{pods.namespace} is the platform's own, which is closed; give it one of its own")
        if pods and not pods.labels:
            yield OptionError(f"{key}.pods.labels", "are none, which would be every pod of the namespace; name those that listen there")
    for key, store in stores.items():
        host = urlsplit(store.endpoint).hostname or "" if store else ""
        if store and not store.pods and site.network_policies and host.endswith((".svc", f".svc.{site.cluster.domain}")):
            yield OptionError(
                f"{key}.endpoint",
                f"{host} is a Service of this cluster, and policies know it by its pods alone; name them and their port in {key}.pods",
            )


def _directories(site: Site) -> Iterator[OptionError]:
    ldap = site.login.ldap
    if not ldap:
        return
    for url in ldap.servers:
        if url.startswith("ldap://") and not ldap.start_tls:
            yield OptionError("login.ldap.servers", f"{url} would carry passwords in the open; write ldaps://, or start_tls: true")
        if url.startswith("ldaps://") and ldap.start_tls:
            yield OptionError("login.ldap.start_tls", f"{url} is encrypted from its first byte; write ldap://, or remove start_tls")
    if not ldap.servers or not ldap.cidrs:
        empty = "cidrs" if ldap.servers else "servers"
        yield OptionError(f"login.ldap.{empty}", "is empty; list them")
    if ldap.filter and not (ldap.bind_dn and ldap.filter.startswith("(") and ldap.filter.endswith(")")):
        yield OptionError("login.ldap.filter", "needs parentheses around it, and bind_dn, which finds whom it is about")
    if ldap.default_domain and not ldap.active_directory:
        yield OptionError("login.ldap.default_domain", "needs active_directory: true; add that, or remove it")


def _other_servers(site: Site) -> Iterator[OptionError]:
    """Other servers are somewhere, not in the cluster, and those who vouch for others are among them."""
    federation = site.federation
    if site.features.federation and not federation.internet and not federation.networks:
        yield OptionError("federation.internet", "no other server can be called then; list their networks in federation.networks")
    yield from _outside_networks(site, "federation.networks", federation.networks)
    for server in federation.key_servers:
        if server == site.server_name:
            yield OptionError("federation.key_servers", f'"{server}" is this server, which cannot vouch for others to itself; remove it')
        elif federation.allowed_domains and server not in federation.allowed_domains:
            yield OptionError(
                "federation.key_servers", f'"{server}" is none of federation.allowed_domains, so that it is never asked; add it there'
            )


def _infrastructure_of_others(site: Site) -> Iterator[OptionError]:
    """What exists already is somewhere, and everything that the site wants can be had from it."""
    postgresql, redis = site.postgresql.external, site.redis.external
    if postgresql and site.features.li:
        yield OptionError("postgresql.backend", "external, and features.li follows the platform's own PostgreSQL; remove one of both")
    for key, external in (("postgresql.external", postgresql), ("redis.external", redis)):
        if external:
            if not external.cidrs:
                yield OptionError(f"{key}.cidrs", "is empty; list them")
            yield from _outside_networks(site, f"{key}.cidrs", external.cidrs)
    if not redis:
        return
    if not redis.servers:
        yield OptionError("redis.external.servers", "is empty; list them")
    if len(redis.servers) > 1 and not redis.sentinels:
        yield OptionError(
            "redis.external.servers",
            "are several, of which none but Sentinels tell which is the primary; list redis.external.sentinels, or give the one address that "
            "always leads to it",
        )
    if redis.sentinels and len(redis.sentinels) < 3:
        yield OptionError("redis.external.sentinels", f"{len(redis.sentinels)} have no majority that survives a loss; list all, 3 or more")
    addresses = [server for server in (*redis.servers, *redis.sentinels) if _is_address(server.rpartition(":")[0])]
    if addresses and not redis.certificate_name:
        yield OptionError(
            "redis.external.certificate_name", f"is needed: {addresses[0]} is an address, and a certificate has names; give that one"
        )


def _is_address(host: str) -> bool:
    return host.replace(".", "").isdigit()


def _others_outside(site: Site) -> Iterator[OptionError]:
    yield from _outside_networks(site, "push.gateway_networks", site.push.gateway_networks)
    if site.mail:
        yield from _outside_networks(site, "mail.networks", site.mail.networks)


def _outside_networks(site: Site, key: str, cidrs: tuple[str, ...]) -> Iterator[OptionError]:
    """Networks outside of the cluster are some addresses, and none of them is a pod's or a Service's."""
    inside = {"pod_cidrs": site.cluster.pod_cidrs, "service_cidrs": site.cluster.service_cidrs}
    for cidr in cidrs:
        if ip_network(cidr).prefixlen == 0:
            yield OptionError(key, f"{cidr} is every address there is, those of the cluster among them; give the networks that you mean")
            continue
        for name, own in inside.items():
            if clash := next((c for c in own if ip_network(c).version == ip_network(cidr).version and _overlap(c, cidr)), None):
                yield OptionError(key, f"{cidr} has addresses of the cluster itself: {clash} of cluster.{name}; give smaller networks")


def _apps(site: Site) -> Iterator[OptionError]:
    """Push is to somebody's apps."""
    push = site.push
    if site.features.push and not push.fcm_apps and not (push.apns and (push.apns.apps or push.apns.sandbox_apps)):
        yield OptionError("features.push", "true, and there is no app to push to; name yours in push.fcm_apps or push.apns")


def _autoscaling(site: Site) -> Iterator[OptionError]:
    options = site.monitoring
    if options.keda and options.mode is Mode.OPERATOR and not options.operator.url:
        yield OptionError(
            "monitoring.keda",
            "KEDA asks your own Prometheus here; give monitoring.operator.url, such as http://prometheus.monitoring.svc:9090",
        )


_RULES: tuple[Callable[[Site], Iterator[OptionError]], ...] = (
    _foreign_namespaces,
    _generations,
    _schedules,
    _backup_storage,
    _networks,
    _public_addresses,
    _load_balancers,
    _sizes,
    _pools,
    _scanned_files,
    _logins,
    _homeserver,
    _application_services,
    _pods_of_others,
    _other_servers,
    _others_outside,
    _infrastructure_of_others,
    _apps,
    _autoscaling,
)
