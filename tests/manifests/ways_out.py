"""The table of ways out of the cluster, written by hand: which choice of a site opens each, and who may then reach what.

A new way has its row here, or tests/manifests/test_ways_out.py fails. Nothing is derived from the generator: a row says what is meant.
"""

from attrs import frozen

PLACES = {
    "internet": ("93.184.216.34", "2606:2800:220:1::1"),
    "networks": ("10.20.0.5", "172.20.0.5"),
    "private": ("10.99.0.9", "172.16.0.9", "192.168.0.9", "169.254.169.254", "100.64.0.9", "fd00::9"),
}
"""Addresses of somebody on the internet, of the networks that the sites below name, and others where no way leads but one to anywhere."""
NETWORKS = "[10.20.0.0/16, 172.20.0.0/24]"
PORTS = (22, 25, 80, 443, 465, 587, 636, 1344, 5432, 6380, 8008, 8080, 8443, 8448, 10250, 65535)
"""What is tried."""
ANYWHERE = ("internet", "networks", "private")
EVERY_PORT = PORTS


@frozen
class Way:
    """One way out: what two sites choose that differ in it, and the workloads that reach `places` on `ports` in the one and not in the other."""

    with_it: str
    who: tuple[str, ...]
    places: tuple[str, ...]
    ports: tuple[int, ...]
    without: str = ""


_FEDERATION = "features: {federation: true}\n"
_PUSH = "cluster: {service_cidrs: [10.43.0.0/16]}\npush: {fcm_apps: {com.example.app: example-app}}\n"
_LOGIN = "features: {authentication_service: true}\n"
_PROVIDER = "issuer: 'https://id.example.com:8443', client_id: matrix"
_AUTHENTICATING = ("synapse", "client-reader", "event-creator", "device-lists")
_BRIDGE = "url: 'https://far.example.com', bot: far"
_MAIL = "sender: matrix@example.com, server: smtp.example.com"
_NODES = "cluster: {node_cidrs: [10.0.0.0/24]}\n"
_WATCHED = "features: {monitoring: true}\n"
_API_SERVER = "api_server_cidrs: [10.98.0.1/32]"
_ALERTS = "to: [ops@example.com], sender: matrix@example.com, server: smtp.example.com"
_HOOK = f"{{server: hooks.example.com, cidrs: {NETWORKS}}}"
_SIGNATURES = "features: {antivirus: true}\nantivirus: {signatures: bundle"

_BACKUPS = "backups: {object_storage: {backend: external, external: {endpoint: 'https://backups.example.com:8443'}}}\n"
_S3 = "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}\n"
_POSTGRESQL = "host: db.example.com, ca_secret: db-ca"
_SYNAPSE = (
    *("synapse", "account-data", "background", "client-reader", "device-lists", "encryption", "event-creator", "event-persister"),
    *("initial-synchrotron", "media-repository", "presence-writer", "push-rules", "receipts", "sliding-sync", "synchrotron"),
    *("typing-persister", "user-dir"),
)
"""All processes of a homeserver that does nothing besides."""

WAYS: dict[str, tuple[Way, ...]] = {
    "federation": (
        Way(_FEDERATION, ("federation-sender",), ("internet",), EVERY_PORT),
        Way(f"{_FEDERATION}federation: {{internet: false, networks: {NETWORKS}}}\n", ("federation-sender",), ("networks",), EVERY_PORT),
        Way(f"{_FEDERATION}federation: {{networks: {NETWORKS}}}\n", ("federation-sender",), ("networks",), EVERY_PORT, _FEDERATION),
    ),
    "push-services": (Way(f"features: {{push: true}}\n{_PUSH}", ("sygnal",), ("internet",), (443,)),),
    "push-gateways": (
        Way("push: {gateways: internet}\n", ("pusher",), ("internet",), (443,)),
        Way(f"push: {{gateways: networks, gateway_networks: {NETWORKS}}}\n", ("pusher",), ("networks",), (443,)),
    ),
    "mail": (
        Way(f"mail: {{{_MAIL}, notifications: false}}\n", ("synapse",), ("internet",), (587,)),
        Way(f"mail: {{{_MAIL}}}\n", ("synapse", "pusher"), ("internet",), (587,)),
        Way(f"mail: {{{_MAIL}, tls: tls, networks: {NETWORKS}}}\n", ("synapse", "pusher"), ("networks",), (465,)),
        Way(
            f"{_LOGIN}mail: {{{_MAIL}:25, networks: {NETWORKS}}}\n",
            ("synapse", "pusher", "matrix-authentication-service"),
            ("networks",),
            (25,),
            _LOGIN,
        ),
    ),
    "web-pages": (Way("homeserver: {url_previews: true}\n", ("media-repository",), ("internet",), (80, 443)),),
    "identity-providers": (
        Way(f"login: {{providers: {{corporate: {{{_PROVIDER}}}}}}}\n", (*_AUTHENTICATING, "sso-login"), ("internet",), (8443,)),
        Way(
            f"login: {{providers: {{corporate: {{{_PROVIDER}, cidrs: {NETWORKS}}}}}}}\n",
            (*_AUTHENTICATING, "sso-login"),
            ("networks",),
            (8443,),
        ),
        Way(
            f"{_LOGIN}login: {{providers: {{corporate: {{{_PROVIDER}}}}}}}\n",
            ("matrix-authentication-service",),
            ("internet",),
            (8443,),
            _LOGIN,
        ),
        Way(
            f"{_LOGIN}login: {{providers: {{corporate: {{{_PROVIDER}, cidrs: {NETWORKS}}}}}}}\n",
            ("matrix-authentication-service",),
            ("networks",),
            (8443,),
            _LOGIN,
        ),
    ),
    "directory": (
        Way(
            f"login: {{ldap: {{servers: ['ldaps://ldap.example.com'], base: 'dc=example', cidrs: {NETWORKS}}}}}\n",
            _AUTHENTICATING,
            ("networks",),
            (636,),
        ),
    ),
    "application-services": (
        Way(
            f"application_services: {{far: {{{_BRIDGE}}}}}\n",
            ("synapse", "appservice", "client-reader", "event-creator"),
            ("internet",),
            (443,),
        ),
        Way(
            f"{_FEDERATION}application_services: {{far: {{{_BRIDGE}, cidrs: {NETWORKS}}}}}\n",
            ("synapse", "appservice", "client-reader", "event-creator", "federation-reader", "federation-inbound"),
            ("networks",),
            (443,),
            _FEDERATION,
        ),
    ),
    # The site's own hosts have private addresses in an intranet.
    "own-hosts": (
        Way(f"features: {{calls: true}}\n{_NODES}", ("lk-jwt-service",), ANYWHERE, (443,)),
        Way(
            f"features: {{calls: true, federation: true}}\n{_NODES}",
            ("lk-jwt-service",),
            ANYWHERE,
            (443, 8448),
            _FEDERATION,
        ),
    ),
    "kubelets": (
        Way(f"{_WATCHED}cluster: {{{_API_SERVER}}}\n", ("prometheus",), ANYWHERE, (10250,), f"cluster: {{{_API_SERVER}}}\n"),
        Way(
            f"{_WATCHED}cluster: {{{_API_SERVER}, node_cidrs: {NETWORKS}}}\n",
            ("prometheus",),
            ("networks",),
            (10250,),
            f"cluster: {{{_API_SERVER}}}\n",
        ),
    ),
    "alert-mail": (
        Way(f"{_WATCHED}monitoring: {{alerts: {{mail: {{{_ALERTS}}}}}}}\n", ("alertmanager",), ANYWHERE, (587,), _WATCHED),
        Way(
            f"{_WATCHED}monitoring: {{alerts: {{mail: {{{_ALERTS}:465, cidrs: {NETWORKS}}}}}}}\n",
            ("alertmanager",),
            ("networks",),
            (465,),
            _WATCHED,
        ),
    ),
    "alert-webhook": (
        Way(f"{_WATCHED}monitoring: {{alerts: {{webhook: {_HOOK}}}}}\n", ("alertmanager",), ("networks",), (443,), _WATCHED),
    ),
    "alert-watchdog": (
        Way(f"{_WATCHED}monitoring: {{alerts: {{watchdog: {_HOOK}}}}}\n", ("alertmanager",), ("networks",), (443,), _WATCHED),
    ),
    "clamav": (Way("features: {antivirus: true}\n", ("signature-update",), ("internet",), (443,), f"{_SIGNATURES}}}\n"),),
    "icap": (
        Way(f"{_SIGNATURES}, icap: {{a: 'icap://av.example.com:1344/a'}}}}\n", ("scan-worker",), ANYWHERE, (1344,), f"{_SIGNATURES}}}\n"),
        Way(
            f"{_SIGNATURES}, icap: {{a: 'icap://av.example.com:1344/a'}}, icap_cidrs: {NETWORKS}}}\n",
            ("scan-worker",),
            ("networks",),
            (1344,),
            f"{_SIGNATURES}}}\n",
        ),
    ),
    "postgresql": (
        Way(
            f"postgresql: {{backend: external, external: {{{_POSTGRESQL}, cidrs: {NETWORKS}}}}}\n",
            (*_SYNAPSE, "media-sweep", "external-postgresql-check"),
            ("networks",),
            (5432,),
        ),
        Way(
            f"{_LOGIN}postgresql: {{backend: external, external: {{{_POSTGRESQL}, port: 5432, cidrs: {NETWORKS}}}}}\n",
            (*_SYNAPSE, "mas-helper", "media-sweep", "external-postgresql-check", "matrix-authentication-service"),
            ("networks",),
            (5432,),
            _LOGIN,
        ),
    ),
    "redis": (
        Way(
            f"redis: {{backend: external, external: {{servers: ['redis.example.com:6380'], ca_secret: redis-ca, cidrs: {NETWORKS}}}}}\n",
            ("external-redis-proxy",),
            ("networks",),
            (6380,),
        ),
        Way(
            "redis: {backend: external, external: {servers: ['10.20.0.5:6380'], sentinels: ['10.20.0.5:8443', '10.20.0.6:8443', "
            f"'10.20.0.7:8443'], certificate_name: redis.example.com, ca_secret: redis-ca, cidrs: {NETWORKS}}}}}\n",
            ("external-redis-proxy",),
            ("networks",),
            (6380, 8443),
        ),
    ),
    "object-storage": (
        Way(
            "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com:8443'}}\n",
            ("media-repository", "media-sweep", "postgresql-main", "postgresql-main-1-initdb", "postgresql-main-2-join"),
            ANYWHERE,
            (8443,),
        ),
    ),
    "backup-storage": (
        Way(_BACKUPS, ("postgresql-main", "postgresql-main-1-initdb", "postgresql-main-2-join"), ANYWHERE, (8443,)),
        Way(
            f"{_S3}{_BACKUPS}",
            ("postgresql-main", "postgresql-main-1-initdb", "postgresql-main-2-join"),
            ANYWHERE,
            (8443,),
            _S3,
        ),
    ),
}
"""By the name of the `External`, which the options that open it name."""

NO_WAY_OUT = {
    "ingress.monitoring_source_ranges": "who comes in",
    "monitoring.keda": "who comes in",
    "monitoring.keda.namespace": "who comes in",
    "monitoring.operator.url": "KEDA asks it, and no pod of the platform",
    "li.owner": "a name",
    "login.ldap.start_tls": "login.ldap opens it",
    "homeserver.encryption": "what clients ask of the homeserver",
    "homeserver.server_notices.display_name": "a name",
    "homeserver.server_notices.room_name": "a name",
    "homeserver.modules": "who is asked runs within the process; a door opens no way",
    "hosts.rtc": "who comes in",
    "namespaces.rtc": "calls are meant that people make",
    "element.brand": "a name",
    "calls.media_ports": "calls are meant that people make",
    "cluster.dns": "within the cluster",
    "cluster.dns.cidrs": "on the nodes",
    "cluster.api_server_cidrs": "the API server is asked in every site",
    "ingress": "who comes in",
    "ingress.admin_source_ranges": "who comes in",
    "ingress.li_source_ranges": "who comes in",
    "push": "its options open it",
    "redis": "its options open it",
    "redis.external.sentinel_group": "a name",
    "redis.external.sentinel_password": "redis.backend opens it",
    "mail.tls": "mail opens it",
    "secrets.provider": "an operator of the cluster fetches them, not the platform",
    "calls.public_addresses": "who comes in",
    "cluster.service_cidrs": "within the cluster",
    "push.apns.sandbox_apps": "features.push opens it",
    "push.fcm_apps": "features.push opens it",
    "push.apns": "features.push opens it",
    "antivirus.engines": "within the cluster",
    "antivirus.encrypted": "who comes in",
    "federation.key_servers": "federation.internet and federation.networks say where they may be",
}
"""Options whose text speaks of contact and that open nothing: why."""
