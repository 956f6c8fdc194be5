"""What configuration files promise, line by line and option by option, each with what is lost without it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, of_kind, structured, title
from tests.manifests.rules.paths import find

File = tuple[str, str]
"""ConfigMap, without the hash of its name, and file."""

PUBLIC = ("/_matrix/", "/_synapse/client/", "/.well-known/matrix/", "/.well-known/element/")
"""What anybody may ask for: the administration is not below these."""

LINES: Mapping[File, Mapping[str, str]] = {
    ("haproxy", "haproxy.cfg"): {
        "global: default-path config": "the maps and error files would be looked for elsewhere",
        "global: stats socket ipv4@127.0.0.1:1999 level operator": "the runtime API would be open to other pods",
        "resolvers cluster: hold nx 10s": "a pod that is gone would go on getting requests",
        "resolvers cluster: hold other 600s": "DNS that is down would take every pod out",
        "resolvers cluster: hold refused 600s": "DNS that is down would take every pod out",
        "resolvers cluster: hold timeout 600s": "DNS that is down would take every pod out",
        "defaults http: timeout http-request 10s": "who sends half a request would hold a connection for ever",
        "defaults http: timeout client 900s": "long polls and uploads would be cut",
        "defaults http: option redispatch 1": "a request would wait for a pod that is gone",
        "defaults http: retry-on conn-failure empty-response": "a request would be repeated that has had its effect, or none at all",
        "defaults http: http-reuse safe": "a request could be lost with a connection that Synapse is about to close",
        "defaults http: hash-type consistent crc32 avalanche": "a new pod would move every user to another one, whose caches are cold",
        "defaults http: option httpchk GET /health": "a process that hangs would get requests",
        "defaults http: http-check expect status 200": "a process that says no would get requests",
        "defaults http: option dontlognull": "the log would be full of probes",
        "defaults synapse: http-request set-header X-Forwarded-For %[src]": "Synapse would believe the address that a client has made up",
        "defaults synapse: http-request set-header X-Forwarded-Proto http unless { var(txn.trusted) -m found }": "a client could pretend TLS",
        "defaults synapse: http-request set-header X-Request-ID %[unique-id]": "a request could not be followed through the logs",
        "defaults synapse: http-request deny deny_status 400 unless { url_beg / http:// https:// }": "Synapse would pass requests on",
        "defaults synapse: http-request deny deny_status 404 if { path_reg ^/([^/]*/){0,2}[^/]*% }": "an encoded path would pass the rules",
        "defaults synapse: http-request disable-l7-retry unless { method GET HEAD }": "a message could be sent twice",
        "defaults synapse: http-request set-var(txn.user) http_auth_bearer": "a user would be spread over all workers",
        f"frontend public: acl public path_beg {' '.join(PUBLIC)}": "other paths would be public, or fewer",
        "frontend public: http-request deny deny_status 403 if { path_beg /_synapse/ } !public": "the administration would be public",
        "frontend public: http-request deny deny_status 404 if !public !{ path /health }": "whatever Synapse has else would be public",
        "frontend public: http-request deny deny_status 404 if { path_beg /.well-known/ }": "Synapse would answer for the server name",
        "frontend public: http-request track-sc0 src,ipmask(32,64) if login METH_POST": "passwords could be guessed without end",
        "frontend public: http-request deny deny_status 429 if login METH_POST { sc0_http_req_rate gt 120 }": "passwords could be guessed",
        'frontend operations: http-request return status 503 content-type text/plain string "stopping" if { path /ready } { stopping }': (
            "requests would come to a pod that is about to stop"
        ),
        "frontend operations: http-request use-service prometheus-exporter if { path /metrics }": "there would be no metrics",
        "frontend operations: http-request deny deny_status 404": "other paths would be answered",
    },
    ("redis-proxy", "haproxy.cfg"): {
        "defaults: mode tcp": "clients speak Redis",
        "frontend redis: option clitcpka": "a client whose node has died would hold its connection for an hour",
        "frontend redis: clitcpka-idle 30s": "a client whose node has died would hold its connection for hours",
        "backend primary: option srvtcpka": "a server whose node has died would hold its connections for an hour",
        "backend primary: retries 40": "a client would be cut in a failover instead of waiting for it",
        "backend primary: option redispatch 1": "a client would wait for the old primary",
        "backend primary: server wait 127.0.0.1:1 backup no-check": "a client would be cut in a failover instead of waiting for it",
        'backend primary: tcp-check expect min-recv 0 comment "it is the primary" string role:master': "writes would go to a replica",
        'backend primary: tcp-check expect string "200 OK" comment "most Sentinels name it"': "writes would go to a primary that is replaced",
        "frontend votes: bind 127.0.0.1:8405": "others could ask the proxy's loopback port",
        "frontend votes: http-request return status 503": "a server without a majority would be offered",
        "frontend health: http-request return status 503 if { path /ready }": "a proxy without a primary would be ready",
    },
    ("redis-sentinel", "server.conf"): {
        "protected-mode yes": "a server without its password would answer anybody",
        "save 300 1": "a planned restart of all pods would lose what LiveKit keeps",
        "appendonly no": "an fsync that waits for a slow volume would stop all of Synapse's replication",
        "stop-writes-on-bgsave-error no": "a full volume would stop all of Synapse's replication",
        "maxmemory-policy volatile-lru": "what LiveKit keeps would be dropped, or writes refused",
        "min-replicas-to-write 1": "a primary that has been replaced would take writes that are lost",
        "min-replicas-max-lag 10": "a primary that has been replaced would take writes that are lost",
        "timeout 0": "idle subscribers would be cut",
        'rename-command FLUSHALL ""': "a client could empty the databases",
        'rename-command FLUSHDB ""': "a client could empty its database",
    },
    ("redis-sentinel", "sentinel.conf"): {
        "sentinel down-after-milliseconds primary 3000": "a failover would take half a minute longer",
        "sentinel failover-timeout primary 10000": "a failover that did not succeed would be tried again after minutes",
        "sentinel parallel-syncs primary 1": "several replicas would be away at a time after a failover",
    },
    ("coturn", "turnserver.conf"): {
        "use-auth-secret": "anybody could have packets relayed",
        "stale-nonce=600": "an old nonce could be used again",
        "unauthorized-ratelimit": "who has no password could use coturn to flood others",
        "no-tcp-relay": "a user could open TCP connections from a node",
        "no-multicast-peers": "a user could send to all of a network",
        "denied-peer-ip=10.0.0.0-10.255.255.255": "a user could reach the cluster",
        "denied-peer-ip=127.0.0.0-127.255.255.255": "a user could reach the node itself",
        "denied-peer-ip=169.254.0.0-169.254.255.255": "a user could reach where clouds hand out credentials",
        "denied-peer-ip=172.16.0.0-172.31.255.255": "a user could reach private networks",
        "denied-peer-ip=192.168.0.0-192.168.255.255": "a user could reach private networks",
        "denied-peer-ip=100.64.0.0-100.127.255.255": "a user could reach private networks",
        "denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "a user could reach private networks",
        "denied-peer-ip=::1": "a user could reach the node itself",
        "user-quota=12": "one user could take every relay",
        "prometheus": "there would be no metrics",
        "log-file=stdout": "coturn would write to the root file system, which is read-only",
        "pidfile=/run/coturn/turnserver.pid": "coturn would write to the root file system, which is read-only",
        "userdb=/run/coturn/turndb": "coturn would write to the root file system, which is read-only",
    },
    ("element-web", "nginx.conf"): {
        "daemon off;": "the container would end at once",
        "pid /tmp/nginx.pid;": "nginx would write to the root file system, which is read-only",
        "access_log /dev/stdout refused if=$refused;": "the log would hold login tokens of single sign-on",
        "error_log stderr crit;": "the log would hold login tokens of single sign-on",
        "keepalive_timeout 180s;": "it would close connections that the ingress is about to use",
        "client_max_body_size 1k;": "it would take what nobody sends to it",
        '"~^/i18n/"                     "no-cache";': "browsers would show texts of an old version",
        "server_tokens off;": "answers would say which version runs",
        """add_header Content-Security-Policy "frame-ancestors 'self'; base-uri 'self'; object-src 'none'" always;""": "others could embed it",
        "add_header X-Frame-Options SAMEORIGIN always;": "others could embed it",
        "add_header X-Content-Type-Options nosniff always;": "a browser could take a file for a script",
        "add_header Referrer-Policy no-referrer always;": "others would learn which room a link was followed from",
        'add_header X-Robots-Tag "noindex, nofollow" always;': "search engines would list it",
        "add_header Cache-Control $cache_control;": "browsers would run an old version",
        'default                        "no-cache";': "browsers would run an old version",
    },
}
"""In files with sections (HAProxy's), a line stands behind the name of its section."""

SETTINGS: Mapping[File, Mapping[str, tuple[Any, str]]] = {
    ("synapse-homeserver", "homeserver.yaml"): {
        "redis.enabled": (True, "the workers would hear nothing of one another"),
        "report_stats": (False, "a site would report itself to others"),
        "serve_server_wellknown": (False, "HAProxy answers for the server name"),
        "enable_registration": (False, "people could sign up without a token"),
        "allow_guest_access": (False, "anybody could have an account"),
        "require_auth_for_profile_requests": (True, "anybody could ask who there is"),
        "push.include_content": (False, "Apple and Google would read messages (docs/01-DEPLOYMENT-GUIDE.md, Push)"),
        "enable_media_repo": (False, "every worker would take uploads, on no disk"),
        "url_preview_enabled": (False, "the server would call whatever address a message names"),
        "enable_metrics": (True, "there would be no metrics"),
        "redaction_retention_period": ("7d", "what people have taken back would be kept"),
    },
    # The workers' agree with it (processes.main_problems).
    ("synapse-main", "kind.yaml"): {
        "database.args.sslmode": ("verify-full", "who can redirect the connection could be the database"),
        "database.args.keepalives": (1, "a connection to a node that has died would hang for minutes"),
        "database.args.keepalives_idle": (10, "a connection to a node that has died would hang for minutes"),
        "database.args.keepalives_interval": (10, "a connection to a node that has died would hang for minutes"),
        "database.args.keepalives_count": (3, "a connection to a node that has died would hang for minutes"),
        "database.args.tcp_user_timeout": (30_000, "a query that was sent to a node that has died would hang for a quarter of an hour"),
        "database.args.connect_timeout": (10, "a connection to a node that has died would be tried for two minutes"),
    },
    ("synapse-homeserver", "log.yaml"): {
        'loggers."synapse.storage.SQL".level': ("WARNING", "access tokens would be in the log"),
        "root.level": ("INFO", "the log would be silent, or say too much"),
    },
    ("synapse-media-repository", "kind.yaml"): {
        "enable_media_repo": (True, "nobody would take uploads"),
        "media_storage_providers[].store_synchronous": (True, "an upload could be answered and then be lost with the pod"),
        "media_storage_providers[].store_local": (True, "uploads would be in the pod's cache alone"),
        "media_storage_providers[].store_remote": (True, "copies of other servers' media would be in the pod's cache alone"),
    },
    ("content-scanner-config", "config.yaml"): {
        "scan.temp_directory": ("/tmp/scan", "what is decrypted would be on a disk"),
        "result_cache.exit_codes_to_ignore": ([0, 1, 2], "a verdict would outlive the signatures that it was found with"),
        "result_cache.max_file_size": ("1", "files would be kept"),
        "download.base_homeserver_url": (
            "http://haproxy.matrix.svc.cluster.local:8008",
            "by the internal port it could ask for what is the administration's",
        ),
    },
    ("livekit", "config.yaml"): {
        "room.auto_create": (False, "anybody with a token could have a room made"),
        "rtc.use_external_ip": (False, "a server of strangers would be asked for the node's address"),
        "turn.enabled": (False, "it would relay for users beside coturn, with none of its limits"),
        "redis.db": (1, "it would share a database with Synapse"),
    },
    ("sygnal", "sygnal.yaml"): {
        "log.access.x_forwarded_for": (False, "the log would believe the address that a caller has made up"),
        "metrics.prometheus.enabled": (True, "there would be no metrics"),
    },
}

_HASH = "-[0-9a-z]{10}"


def configuration_problems(objects: Objects) -> list[str]:
    """Configuration files that say otherwise than is promised. A file that is not there promises nothing."""
    found = []
    for name, file, where, text in _files(objects, LINES):
        lines = set(_lines(text))
        for line, why in LINES[name, file].items():
            if line not in lines:
                found.append(f"{where} {file} does not say {line!r}: {why}")
    for name, file, where, text in _files(objects, SETTINGS):
        settings = structured(file, text)
        for path, (wanted, why) in SETTINGS[name, file].items():
            values = find(settings, path)
            if not values or any(value != wanted for value in values):
                found.append(f"{where} {file}: {path} is {values or 'not there'}, not {wanted}: {why}")
    return found


def _files(objects: Objects, promised: Mapping[File, Any]) -> Iterator[tuple[str, str, str, str]]:
    """ConfigMap without its hash, file, title and text of each file of which something is promised."""
    for o in of_kind(objects, "ConfigMap"):
        for name, file in promised:
            if re.fullmatch(f"{re.escape(name)}({_HASH})?", o["metadata"]["name"]) and file in o.get("data", {}):
                yield name, file, title(o), o["data"][file]


def _lines(text: str) -> Iterator[str]:
    """The lines of a file without their indentation, and once more behind the name of the section for those below one."""
    section = ""
    for line in text.splitlines():
        yield line.strip()
        if line[:1].isalpha():
            section = re.sub(r" from \w+$", "", line)
        elif section:
            yield f"{section}: {line.strip()}"
