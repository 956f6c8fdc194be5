"""HAProxy's configuration files for Synapse: a pure function of the worker types' routes and of how many instances there may be.

Every instance that a type may grow to is a server of its own from the start, with an explicit id: the configuration does not change
when an autoscaler does, and all HAProxy replicas put the same servers at the same places of the hash ring. A server whose
pod does not exist has no name in DNS and takes no part.

Written for HAProxy 3.2 and newer.
"""

import json
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from attrs import field, frozen
from attrs.validators import and_, ge, le, matches_re

from kit.files import rendered, text
from kit.quantities import Bytes, mib
from main_instance.haproxy.well_known import WellKnown, file_of
from main_instance.synapse.fleet import Fleet
from main_instance.synapse.worker_type import Balance, Route, When, WorkerType

_MAIN = "main"

_DNS_NAME = matches_re(r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?\.)+")
"""A complete domain name, with the final dot: HAProxy knows no search domains."""

_PORT = and_(ge(1), le(65535))

_RING_WEIGHT = 64
"""Points of a server on the hash ring, in sixteens. With 64, of 1200 keys over 6 servers the busiest had 1.05 to 1.11 times the mean."""

_TRUSTED_HOPS = 3
"""How many trusted proxies may stand between a client and HAProxy."""

TOKENS_MEMORY = mib(24)
"""What a proxy needs to know the users of as many tokens as `Whose` says: 22 MiB, measured with HAProxy 3.2 and a full table."""

_CONDITIONS = {When.INITIAL_SYNC: "initial_sync:", When.INITIAL_EVENTS: "initial_events:"}
"""The word that haproxy.cfg puts between method and path of a request which meets the condition."""

_ACCESS_LOG = (
    '%{+json}o %(time)[request_date(ms),ms_utime("%Y-%m-%dT%H:%M:%S.%3NZ")] %(request_id)ID %(client)[src] '
    # The path without its query: that is where old clients put their access token.
    "%(method)HM %(path)HPO %(status:sint)ST %(frontend)f %(pool)b %(server)s %(retries)rc "
    # Milliseconds: in the queue, until connected, until the answer's head, all; then bytes, and how the session ended.
    "%(queued:sint)Tw %(connect:sint)Tc %(response:sint)Tr %(total:sint)Ta %(received:sint)U %(sent:sint)B %(termination)tsc"
)

_SUBJECTS = (
    # The room, alias or user that a client's request is about; the last two patterns are the media, with the server that it comes from.
    r"^/_matrix/client/(?:api/v1|r0|v1|v3|unstable)/(?:rooms|join|knock|profile|room_summary|directory/room)/([^/]+)",
    r"^/_matrix/client/unstable/(?:im\.nheko\.summary/(?:summary|rooms)|org\.matrix\.msc2432/rooms)/([^/]+)",
    r"^/_synapse/admin/v1/rooms/([^/]+)",
    r"^/_matrix/(?:media/[^/]+|client/v1/media)/(?:download|thumbnail)/([^/]+/[^/]+)",
    r"^/_matrix/federation/v1/media/(?:download|thumbnail)/([^/]+)",
)

_SUBJECT = "http-request set-var(txn.subject) path,map_regm(subjects.map),url_dec"

_BALANCE = {
    Balance.NONE: ("balance leastconn",),
    Balance.USER: ("balance hash var(txn.user)",),
    Balance.ROOM: (
        _SUBJECT,
        "http-request set-var(txn.subject) var(txn.user) unless { var(txn.subject) -m found }",
        "balance hash var(txn.subject)",
    ),
    Balance.CLIENT_ADDRESS: ("balance hash src",),
    Balance.URI: ("balance hash pathq",),
    Balance.MEDIA: (_SUBJECT, "balance hash var(txn.subject)"),
}
"""How requests find their instance; those without a key are spread evenly."""


@frozen
class Pool:
    """The instances of one worker type.

    `ceiling`: how many there may ever be. `domain`: the headless Service that names their pods, e.g. `synapse.matrix.svc.cluster.local.`.
    """

    worker: WorkerType
    ceiling: int = field(validator=ge(1))
    domain: str = field(validator=_DNS_NAME)


def pools(workers: Fleet, domain: str) -> tuple[Pool, ...]:
    """The instances of all workers of a homeserver, whose pods `domain` names."""
    return tuple(Pool(worker, workers.most[worker.name], domain) for worker in workers.topology.types)


@frozen
class Upstream:
    """A service beside Synapse that serves some of the paths of Synapse's host.

    `domain`: its Service, e.g. `auth.matrix.svc.cluster.local.`: one address, behind which its pods share the requests, or with `pods` the
    addresses of as many pods at most, each of which the proxy knows. It answers `health_path` on `health_port`. `max_connections`:
    concurrent requests that the proxy sends to an address; more wait in the proxy's queue.
    """

    name: str = field(validator=matches_re("[a-z][-a-z0-9]*"))
    routes: tuple[Route, ...]
    domain: str = field(validator=_DNS_NAME)
    port: int = field(validator=_PORT)
    health_port: int = field(validator=_PORT)
    max_connections: int = field(default=500, validator=ge(1))
    health_path: str = "/health"
    pods: int = field(default=1, validator=ge(1))


@frozen
class Ports:
    """Where HAProxy listens. `whose` and `runtime_api` only within its own pod."""

    public: int = field(default=8008, validator=_PORT)
    internal: int = field(default=8009, validator=_PORT)
    bridges: int = field(default=8010, validator=_PORT)
    whose: int = field(default=8011, validator=_PORT)
    operations: int = field(default=8405, validator=_PORT)
    runtime_api: int = field(default=1999, validator=_PORT)


def _addresses(_: object, _attribute: object, ranges: tuple[str, ...]) -> None:
    for network in ranges:
        ip_network(network)


@frozen
class Whose:
    """How a proxy learns whose a token is that does not say it."""

    path: str = "/_matrix/client/v3/account/whoami"
    milliseconds: int = 500
    """How long Synapse has to answer, and a client waits."""
    tokens: str = "100k"
    """How many it knows at once. 20,000 people with two devices have 80,000 in ten minutes, since each lasts for five."""
    at_once: int = 20
    """Questions."""
    refused: int = 30
    """Tokens of an address (IPv6: one /64) that were not valid, in a minute, after which it asks no more about new ones."""
    all_refused: int = 1200
    """The same for all addresses together: twenty such questions a second take a tenth of a process."""


@frozen
class HAProxySpec:
    """What HAProxy must know of Synapse and of its site."""

    pools: tuple[Pool, ...]
    """In routing order."""
    main: str = field(validator=_DNS_NAME)
    """The DNS name of the main process's pod."""
    max_upload: Bytes
    """Synapse's `max_upload_size`."""
    trusted_proxies: tuple[str, ...] = field(validator=_addresses)
    """Address ranges of those whose X-Forwarded-For is believed. No client may have an address in them, or it could pose as any other."""
    upstreams: tuple[Upstream, ...] = ()
    """Their routes go before those of the pools."""
    ingress_peers: tuple[str, ...] = field(default=(), validator=_addresses)
    """Address ranges from which the ingress controller connects: of its X-Forwarded-For only the last address is believed, which it has
    seen itself. `0.0.0.0/0` where a network policy lets nobody else connect."""
    federation: bool = False
    bridges: bool = False
    """Whether application services of the cluster call it."""
    whose: Whose | None = None
    """None where tokens say themselves whose they are."""
    well_known: WellKnown | None = None
    """None where another web server answers for the server name."""
    main_max_connections: int = field(default=250, validator=ge(1))
    replicas: int = field(default=1, validator=ge(1))
    """How many equal HAProxies there are: what one process takes at once is shared out among them, since none knows what the others send.
    While one is away the others do not take its share; requests then wait in their queues."""
    synapse_port: int = field(default=8008, validator=_PORT)
    synapse_health_port: int = field(default=8080, validator=_PORT)
    ports: Ports = Ports()
    listen_address: str = field(default="0.0.0.0")
    """`::` for IPv6 and IPv4."""
    nameservers: tuple[str, ...] = ()
    """`address:port` of DNS servers; empty for those of the pod's resolv.conf."""
    max_connections: int = field(default=20_000, validator=ge(1))
    """Concurrent connections of clients; each holds one for its long poll."""
    threads: int = field(default=2, validator=ge(1))
    logins_per_minute: int = field(default=120, validator=ge(1))
    """Logins and registrations from one address (IPv6: one /64). A whole office may share one."""
    check_seconds: float = field(default=2.0, validator=ge(0.1))
    """How often each HAProxy asks each process whether it lives; after the first no, and after a refused connection, more often."""
    log_successes: bool = True
    grace_seconds: int = field(default=10, validator=ge(0))
    """From SIGUSR1 until HAProxy accepts no more connections: the time that endpoints take to reach the ingress."""
    drain_seconds: int = field(default=120, validator=ge(1))
    """From then until it cuts what is still in flight."""

    @property
    def termination_grace_seconds(self) -> int:
        """What a pod needs between SIGUSR1 and SIGKILL."""
        return self.grace_seconds + self.drain_seconds + 5


@frozen
class _Server:
    name: str
    address: str
    port: int


@frozen
class _Backend:
    name: str
    balance: tuple[str, ...]
    max_connections: int
    queue_timeout_seconds: int
    server_timeout_seconds: int
    servers: tuple[_Server, ...]
    health_port: int | None = None
    """None: that of Synapse."""
    health_path: str | None = None
    """None: `/health`."""
    pods: int = 1
    """The addresses of each server's name."""


def configuration(spec: HAProxySpec) -> dict[str, str]:
    """HAProxy's files by name; haproxy.cfg finds the others beside itself.

    Raises ValueError for routes that cannot be told apart from others by their start, and for fallbacks that take no requests.
    """
    routed = {pool.worker.name: pool for pool in spec.pools if _routes(pool.worker, spec.federation)}
    fallbacks = {name: pool.worker.fallback for name, pool in routed.items() if pool.worker.fallback}
    for name, fallback in fallbacks.items():
        if fallback != _MAIN and fallback not in routed:
            raise ValueError(f"{name}: its fallback {fallback} serves no requests here")
    names = [_MAIN, *(pool.worker.name for pool in spec.pools), *(upstream.name for upstream in spec.upstreams)]
    if len(set(names)) < len(names):
        raise ValueError(f"two backends have one name: {', '.join(names)}")
    main = _Backend(
        _MAIN, _BALANCE[Balance.NONE], _share(spec.main_max_connections, spec), 60, 180, (_Server("main-0", spec.main, spec.synapse_port),)
    )
    return {
        "haproxy.cfg": rendered(
            __package__,
            "haproxy.cfg",
            spec=spec,
            bind=f"[{spec.listen_address}]" if ip_address(spec.listen_address).version == 6 else spec.listen_address,
            bind_options=" v4v6" if spec.listen_address == "::" else "",
            believed=" ".join(dict.fromkeys((*spec.ingress_peers, *spec.trusted_proxies))),
            trusted_proxies=" ".join(spec.trusted_proxies),
            hops=_TRUSTED_HOPS,
            ring_weight=_RING_WEIGHT,
            fallback_depth=max((_depth(name, fallbacks) for name in fallbacks), default=0),
            access_log=_ACCESS_LOG,
            errors=_ERRORS,
            well_known={path: file_of(path) for path in spec.well_known.documents} if spec.well_known else {},
            personal=[pool.worker.name for pool in routed.values() if pool.worker.balance is Balance.USER],
            pools=[main, *(_backend(pool, spec) for pool in routed.values())],
            upstreams=list(map(_upstream, spec.upstreams)),
        ),
        "routes.map": _routes_map(spec),
        "fallbacks.map": "".join(f"{name} {fallback}\n" for name, fallback in fallbacks.items()),
        "subjects.map": "".join(rf"{pattern} \1" + "\n" for pattern in _SUBJECTS),
        **{f"{status}.http": error.response for status, error in _ERRORS.items()},
        **({"whose.lua": text(__package__, "whose.lua")} if spec.whose else {}),
        **(spec.well_known.files if spec.well_known else {}),
    }


@frozen
class _Error:
    status: int
    reason: str
    code: str
    message: str
    retry_seconds: int | None = None

    @property
    def response(self) -> str:
        """The whole response, with the body that Matrix demands (https://spec.matrix.org/latest/client-server-api/#standard-error-response)."""
        retry = {} if self.retry_seconds is None else {"retry_after_ms": self.retry_seconds * 1000}
        body = json.dumps({"errcode": self.code, "error": self.message, **retry})
        headers = {
            "Content-Type": "application/json",
            "Content-Length": len(body),
            "Cache-Control": "no-store",
            "Access-Control-Allow-Origin": "*",
            **({} if self.retry_seconds is None else {"Retry-After": self.retry_seconds}),
        }
        return "\r\n".join([f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in headers.items()), "", body])


_ERRORS = {
    400: _Error(400, "Bad Request", "M_UNKNOWN", "Not a request that this server understands"),
    403: _Error(403, "Forbidden", "M_FORBIDDEN", "Not open to the public"),
    404: _Error(404, "Not Found", "M_UNRECOGNIZED", "Unrecognized request"),
    408: _Error(408, "Request Timeout", "M_UNKNOWN", "The request took too long to arrive"),
    413: _Error(413, "Content Too Large", "M_TOO_LARGE", "Upload request body is too large"),
    429: _Error(429, "Too Many Requests", "M_LIMIT_EXCEEDED", "Too many requests", retry_seconds=60),
    500: _Error(500, "Internal Server Error", "M_UNKNOWN", "Internal server error"),
    502: _Error(502, "Bad Gateway", "M_UNKNOWN", "The server stopped while it answered"),
    # Counted and logged as 503; but clients, and networks in front of a site, know of a 429 that and when to ask again.
    503: _Error(429, "Too Many Requests", "M_LIMIT_EXCEEDED", "The server is overloaded, or restarts", retry_seconds=5),
    504: _Error(504, "Gateway Timeout", "M_UNKNOWN", "The server took too long to answer"),
}
"""What HAProxy itself answers, by the status that it has in mind."""


def _routes(worker: WorkerType, federation: bool) -> tuple[Route, ...]:
    return tuple(route for route in worker.routes if federation or not route.federation)


def _routes_map(spec: HAProxySpec) -> str:
    """The route table, first match first. A key is searched in `METHOD:condition:...:/path`."""
    lines = ["# <regular expression for METHOD:conditions:/path> <pool>"]
    lines += [f"{_key(route)} {upstream.name}" for upstream in spec.upstreams for route in upstream.routes]
    lines += [f"{_key(route)} {pool.worker.name}" for pool in spec.pools for route in _routes(pool.worker, spec.federation)]
    return "\n".join(lines) + "\n"


def _key(route: Route) -> str:
    if not route.pattern.startswith("^/") or re.search(r"\s", route.pattern):
        raise ValueError(f"the route {route.pattern!r} does not start with ^/, or has a space")
    methods = f"^(?:{'|'.join(route.methods)}):" if route.methods else "^"
    condition = f"[^/]*{_CONDITIONS[route.when]}" if route.when else ""
    return f"{methods}{condition}[^/]*{route.pattern[1:]}"


def _depth(name: str, fallbacks: Mapping[str, str]) -> int:
    """How many fallbacks there are from here until none is left, or until they come round to where they have been."""
    seen: list[str] = []
    while name in fallbacks and name not in seen:
        seen.append(name)
        name = fallbacks[name]
    return len(seen)


def _upstream(upstream: Upstream) -> _Backend:
    server = _Server(f"{upstream.name}-0", upstream.domain, upstream.port)
    path = None if upstream.health_path == "/health" else upstream.health_path
    balance = _BALANCE[Balance.NONE]
    return _Backend(upstream.name, balance, upstream.max_connections, 60, 180, (server,), upstream.health_port, path, upstream.pods)


def _share(connections: int, spec: HAProxySpec) -> int:
    """What each of the proxies may send at once, rounded up."""
    return -(-connections // spec.replicas)


def _backend(pool: Pool, spec: HAProxySpec) -> _Backend:
    worker = pool.worker
    return _Backend(
        worker.name,
        _BALANCE[worker.balance],
        _share(worker.max_connections, spec),
        worker.queue_timeout_seconds,
        worker.server_timeout_seconds,
        tuple(_Server(name, f"{name}.{pool.domain}", spec.synapse_port) for name in worker.instances(pool.ceiling)),
    )
