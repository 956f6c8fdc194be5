"""The table of components, written by hand: what each may call, publishes, exports and keeps, and what stands in for it in the live tests.

A new component has its row here, or tests/manifests/test_components.py fails. Nothing is derived from the generator: a row says what is meant.
"""

from attrs import frozen


@frozen
class Nothing:
    """A component has none of it, for a reason."""

    because: str


NO_PODS = Nothing("it has no pods")
ENDS = Nothing("it runs once and ends")


@frozen
class Row:
    """One component.

    `calls`: the components that its pods may reach; DNS and pods in the network of their nodes, whom no policy protects, are left out.
    `publishes`: the hosts under which the ingress leads to it, by their key in site.yaml. `metrics`: port and path of each scrape.
    `keeps`: the objects that hold its state. `stand_in`: by which part of an image's name the live node knows its programs, or what it makes
    in place of an operator.
    """

    calls: frozenset[str]
    publishes: frozenset[str]
    metrics: frozenset[str] | Nothing
    keeps: frozenset[str] | Nothing
    stand_in: frozenset[str] | Nothing


def row(
    *,
    calls: str = "",
    publishes: str = "",
    metrics: tuple[str, ...] | Nothing,
    keeps: tuple[str, ...] | Nothing,
    stand_in: tuple[str, ...] | Nothing,
) -> Row:
    """A row; `calls` and `publishes` are words."""
    sets = [value if isinstance(value, Nothing) else frozenset(value) for value in (metrics, keeps, stand_in)]
    return Row(frozenset(calls.split()), frozenset(publishes.split()), *sets)


def without_pods() -> Row:
    """A row of a component that adds objects and runs nothing."""
    return row(metrics=NO_PODS, keeps=NO_PODS, stand_in=NO_PODS)


COMPONENTS = {
    # -- what the instances stand on
    "foundation": without_pods(),
    "operator-access": without_pods(),
    "minio-operator-release": without_pods(),
    "ingress": without_pods(),
    "network-policies": without_pods(),
    "quotas": without_pods(),
    "secret-generator": row(metrics=ENDS, keeps=Nothing("the Secrets are the cluster's"), stand_in=("/synapse:",)),
    "postgresql-main": row(
        calls="minio-main",
        metrics=("9187 /metrics",),
        keeps=("Cluster postgresql-main",),
        stand_in=("substitute/postgresql", "/synapse:"),
    ),
    "postgresql-li": row(
        calls="minio-li postgresql-main",
        metrics=("9187 /metrics",),
        keeps=("Cluster postgresql-li",),
        stand_in=("substitute/postgresql", "/synapse:"),
    ),
    "valkey-li": row(
        metrics=Nothing("Valkey has none without an exporter; what it tells is counted where it is heard"),
        keeps=Nothing("it writes no file"),
        stand_in=("valkey/valkey:",),
    ),
    "redis": row(
        metrics=("8404 /metrics", "9121 /scrape"),
        keeps=("StatefulSet redis",),
        stand_in=("valkey/valkey:", "library/haproxy:", "oliver006/redis_exporter:"),
    ),
    "minio-main": row(metrics=("9000 /minio/v2/metrics/cluster",), keeps=("Tenant minio-main",), stand_in=("substitute/minio",)),
    "minio-main-buckets": row(calls="minio-main", metrics=ENDS, keeps=Nothing("the buckets are the tenant's"), stand_in=("/synapse:",)),
    "minio-li": row(metrics=("9000 /minio/v2/metrics/cluster",), keeps=("Tenant minio-li",), stand_in=("substitute/minio",)),
    "minio-li-buckets": row(calls="minio-li", metrics=ENDS, keeps=Nothing("the buckets are the tenant's"), stand_in=("/synapse:",)),
    # -- the antivirus
    "clamav": row(
        # Its pods are clamd, the mirror of signatures and those that fetch these.
        metrics=Nothing("clamd and freshclam have none; the scan workers say how old signatures are"),
        keeps=("PersistentVolumeClaim signatures",),
        stand_in=("clamav/clamav:", "/scan-worker:"),
    ),
    "scan-worker": row(
        calls="clamav redis",
        metrics=("8080 /metrics",),
        keeps=Nothing("verdicts are in Redis, and found again"),
        stand_in=("/scan-worker:",),
    ),
    "content-scanner": row(
        calls="haproxy scan-worker",
        metrics=Nothing("the program has none"),
        keeps=Nothing("files are in memory while they are scanned"),
        stand_in=("/content-scanner:",),
    ),
    # -- the main instance
    "synapse": row(
        calls="key-vault matrix-authentication-service minio-main postgresql-main redis scan-worker sygnal",
        # By the address of the proxy: see haproxy.
        metrics=("9001 /_synapse/metrics",),
        keeps=Nothing("all is in PostgreSQL and in the bucket; what a media worker has on disk is a copy"),
        stand_in=("/synapse:",),
    ),
    "media-sweep": row(
        calls="minio-main postgresql-main",
        metrics=("8080 /metrics",),
        keeps=Nothing("what it removes is gone, and it has nothing else"),
        stand_in=("/synapse:",),
    ),
    "state-compressor": row(
        calls="postgresql-main",
        metrics=ENDS,
        keeps=Nothing("how far it is stands in the database, with what it has compressed"),
        stand_in=("/state-compressor:",),
    ),
    "haproxy": row(
        calls="content-scanner matrix-authentication-service synapse",
        publishes="matrix admin well_known",
        metrics=("8405 /metrics",),
        keeps=Nothing("sessions find their worker by a hash"),
        stand_in=("library/haproxy:",),
    ),
    "element-web": row(
        publishes="element",
        metrics=Nothing("nginx has none without a module that the image lacks"),
        keeps=Nothing("static files"),
        stand_in=("vectorim/element-web:",),
    ),
    "synapse-admin": row(
        publishes="admin",
        metrics=Nothing("static-web-server has none without an option that its image leaves out"),
        keeps=Nothing("static files"),
        stand_in=("etkecc/ketesa:",),
    ),
    "sygnal": row(metrics=("8000 /metrics",), keeps=Nothing("Synapse sends again"), stand_in=("matrixdotorg/sygnal:",)),
    "matrix-authentication-service": row(
        calls="haproxy postgresql-main",
        publishes="auth admin",
        metrics=("8081 /metrics",),
        keeps=Nothing("all is in PostgreSQL"),
        stand_in=("matrix-authentication-service:",),
    ),
    "lk-jwt-service": row(
        calls="haproxy redis",
        publishes="rtc",
        metrics=Nothing("the program has none (lk-jwt-service 0.6)"),
        keeps=Nothing("all is in Redis"),
        stand_in=("element-hq/lk-jwt-service:",),
    ),
    "key-vault": row(
        # It looks up members of rooms where officers read.
        calls="postgresql-main postgresql-li",
        metrics=("8003 /metrics",),
        keeps=Nothing("all is in PostgreSQL"),
        stand_in=("/key-vault:",),
    ),
    # -- the lawful-intercept instance
    "synapse-li": row(
        calls="minio-li postgresql-li valkey-li",
        metrics=("9001 /_synapse/metrics",),
        keeps=Nothing("all is in PostgreSQL and in the bucket"),
        stand_in=("/synapse:",),
    ),
    "li-proxy": row(
        calls="key-vault li-sync synapse-li",
        publishes="matrix_li element_li admin_li cases_li",
        metrics=("8405 /metrics",),
        keeps=Nothing("who read what is in the vault"),
        stand_in=("library/haproxy:",),
    ),
    "element-web-li": row(
        publishes="element_li",
        metrics=Nothing("nginx has none without a module that the image lacks"),
        keeps=Nothing("static files"),
        stand_in=("vectorim/element-web:",),
    ),
    "synapse-admin-li": row(
        publishes="admin_li",
        metrics=Nothing("static-web-server has none without an option that its image leaves out"),
        keeps=Nothing("static files"),
        stand_in=("etkecc/ketesa:",),
    ),
    "li-sync": row(
        calls="minio-li minio-main postgresql-li postgresql-main synapse-li valkey-li",
        metrics=("8080 /metrics", "9108 /metrics"),
        keeps=("PersistentVolumeClaim checkpoints",),
        stand_in=("/li-sync:", "valkey/valkey:"),
    ),
    # In the network of their nodes, where a policy can tell neither from the other.
    "livekit": row(
        calls="lk-jwt-service redis",
        publishes="rtc",
        metrics=("6789 /metrics",),
        keeps=Nothing("calls end with it"),
        stand_in=("livekit/livekit-server:", "valkey/valkey:"),
    ),
    "coturn": row(
        calls="lk-jwt-service redis", metrics=("9641 /metrics",), keeps=Nothing("calls end with it"), stand_in=("coturn/coturn:",)
    ),
    # -- what watches the rest
    "alertmanager": row(metrics=("9093 /metrics",), keeps=("StatefulSet alertmanager",), stand_in=("prometheus/alertmanager:",)),
    "kube-state-metrics": row(
        metrics=("8080 /metrics",), keeps=Nothing("the API server has it"), stand_in=("kube-state-metrics/kube-state-metrics:",)
    ),
    "node-exporter": row(
        metrics=("9100 /metrics",), keeps=Nothing("it tells what is at the moment"), stand_in=("prometheus/node-exporter:",)
    ),
    "prometheus": row(
        calls="alertmanager alloy grafana haproxy key-vault kube-state-metrics li-proxy li-sync loki matrix-authentication-service media-sweep "
        "minio-li minio-main node-exporter postgresql-li postgresql-main redis scan-worker sygnal synapse synapse-li",
        metrics=("9090 /metrics",),
        keeps=("PersistentVolumeClaim prometheus-data",),
        stand_in=("prometheus/prometheus:",),
    ),
    "grafana": row(
        calls="loki prometheus",
        publishes="grafana",
        metrics=("3000 /metrics",),
        keeps=Nothing("what it shows is provisioned"),
        stand_in=("grafana/grafana:",),
    ),
    "loki": row(calls="minio-main", metrics=("3100 /metrics",), keeps=("StatefulSet loki",), stand_in=("grafana/loki:",)),
    "alloy": row(calls="loki", metrics=("12345 /metrics",), keeps=("StatefulSet alloy",), stand_in=("grafana/alloy:",)),
}

IN_PLACE = {
    "external-postgresql": row(metrics=ENDS, keeps=Nothing("who runs the server keeps it"), stand_in=("/synapse:",)),
    "external-redis": row(
        metrics=("8404 /metrics",), keeps=Nothing("who runs the servers keeps what there is"), stand_in=("library/haproxy:",)
    ),
}
"""What stands in place of a component where a site has it already: of a site with all of these, and the others as above."""
