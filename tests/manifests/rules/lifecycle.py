"""How pods start, how long they may be silent, and how they end: what is promised of each program, in seconds."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from tests.manifests.rules.objects import Objects, Workload, mounted_texts, of_kind, title, workloads


@frozen
class Check:
    """A probe: what it asks, and after how many seconds without a good answer it has its effect."""

    asks: str
    seconds: int


@frozen
class Life:
    """What is promised of a container. `grace`: seconds of its pod between the wish to stop and SIGKILL; `before_stop`: what happens first."""

    grace: int
    readiness: Check
    liveness: Check
    startup: Check | None = None
    before_stop: str = ""


_HEALTH = "GET health/health"
_WORKER = Life(
    # What Synapse has promised to others (a stream's positions, transactions) is written in these seconds.
    grace=60,
    # It waits for its database, Redis and main for a week, neither ready nor killed; Synapse itself has a time limit (--start-seconds).
    startup=Check(_HEALTH, 600_000),
    readiness=Check(_HEALTH, 16),
    # Synapse's own answer once it serves. While it starts again with another list of writers, it is not taken for one that hangs.
    liveness=Check("GET alive/alive", 48),
)

_CELERY = Check("sh -c find /tmp/li-sync-alive -mmin -2 | grep -q .", 90)

LIVES: Mapping[str, Life] = {
    "synapse/synapse": _WORKER,
    "media-repository/media-cache": Life(
        60,
        Check("sh -c find /media/.looked -mmin -10 | grep -q .", 180),
        Check("sh -c find /media/.looked -mmin -10 | grep -q .", 180),
    ),
    # Ten seconds in which /ready says that it stops, two minutes for what is in flight, and five to spare. It is out at the first no.
    "haproxy/haproxy": Life(135, Check("GET metrics/ready", 2), Check("GET metrics/live", 15), Check("GET metrics/live", 30)),
    "element-web/nginx": Life(30, Check("GET http/health", 15), Check("GET http/health", 30), before_stop="sleep 5"),
    "sygnal/sygnal": Life(30, Check("GET http/health", 15), Check("GET http/health", 30), Check("GET http/health", 120), "sleep 5"),
    # After the signal it finishes its requests for up to a minute. No restart mends a database that is away, so that liveness asks the port.
    "matrix-authentication-service/matrix-authentication-service": Life(
        75, Check("GET internal/health", 15), Check("connect to internal", 30), Check("connect to internal", 300), "wait 5"
    ),
    # A server waits for a majority of Sentinels before it starts: half an hour, not a crash loop on top of an outage.
    "redis/server": Life(
        60,
        Check("sh /etc/redis/check.sh server ready", 15),
        Check("sh /etc/redis/check.sh server alive", 60),
        Check("sh /etc/redis/check.sh server alive", 1800),
        "sh /etc/redis/stop-server.sh",
    ),
    "redis/sentinel": Life(
        60,
        Check("sh /etc/redis/check.sh sentinel ready", 15),
        Check("sh /etc/redis/check.sh sentinel alive", 60),
        Check("sh /etc/redis/check.sh sentinel alive", 1800),
    ),
    # It holds new connections through a failover, which it could not if it were taken out; without a primary for ten minutes it starts anew.
    "redis-proxy/haproxy": Life(15, Check("GET metrics/ready", 20), Check("GET metrics/ready", 600), before_stop="sleep 5"),
    # docs/01-DEPLOYMENT-GUIDE.md, "Calls": five hours for the last participant, three minutes without Redis.
    "livekit/livekit": Life(18_000, Check("GET http/", 30), Check("GET http/", 180)),
    "coturn/coturn": Life(3600, Check("GET metrics/", 30), Check("GET metrics/", 60), before_stop="sh /etc/coturn/stop.sh"),
    # It listens when it has signatures; alive is who waits for the first. While it loads new ones it may be silent for minutes.
    "clamav/clamd": Life(
        60,
        Check("connect to clamd", 15),
        Check("sh -c [ ! -e /var/lib/clamav/platform.hsb ] || clamdscan --config-file=/etc/clamav/clamd.conf --ping 3:1", 300),
    ),
    "clamav/freshclam": Life(
        60,
        Check("sh -c find /tmp/.looked -mmin -60 | grep -q .", 180),
        Check("sh -c find /tmp/.looked -mmin -60 | grep -q .", 180),
    ),
    "signature-mirror/mirror": Life(30, Check("GET http/health", 30), Check("GET http/health", 30)),
    # A file may be scanned for a minute (MaxScanTime), and senders are slow.
    "scan-worker/scan-worker": Life(90, Check("GET http/health", 15), Check("GET http/health", 30), before_stop="wait 5"),
    "content-scanner/content-scanner": Life(
        90,
        Check("GET http/_matrix/media_proxy/unstable/public_key", 15),
        Check("GET http/_matrix/media_proxy/unstable/public_key", 30),
        before_stop="wait 5",
    ),
    "redis/exporter": Life(60, Check("GET metrics/health", 30), Check("GET metrics/health", 30)),
    # Not whether Loki or the API server answer: starting anew would mend neither.
    "alloy/alloy": Life(30, Check("GET http/-/ready", 15), Check("connect to http", 90)),
    "grafana/grafana": Life(30, Check("GET http/api/health", 15), Check("GET http/api/health", 90), Check("GET http/api/health", 300)),
    # It reads its write-ahead log before it answers, and puts what it has into the bucket before it ends.
    "loki/loki": Life(300, Check("GET http/ready", 15), Check("connect to http", 90), Check("GET http/ready", 900)),
    "alertmanager/alertmanager": Life(30, Check("GET http/-/ready", 15), Check("GET http/-/healthy", 30)),
    "kube-state-metrics/kube-state-metrics": Life(30, Check("GET own/readyz", 30), Check("GET http/livez", 30)),
    "node-exporter/node-exporter": Life(30, Check("GET http/", 30), Check("GET http/", 30)),
    # It reads its write-ahead log before it answers, and writes what it has in memory before it ends.
    "prometheus/prometheus": Life(120, Check("GET http/-/ready", 15), Check("GET http/-/healthy", 60), Check("GET http/-/ready", 600)),
    # It finishes what it is asked when the signal comes, after those in front have looked elsewhere.
    "key-vault/key-vault": Life(
        30, Check("GET metrics/health/ready", 30), Check("GET metrics/health/live", 30), Check("GET metrics/health/live", 120), "wait 5"
    ),
    # The first time it waits until all of main's database is copied: a day, of which a restart would be no help.
    "synapse-li/synapse": Life(30, Check(_HEALTH, 16), Check(_HEALTH, 48), Check(_HEALTH, 86_400)),
    "li-proxy/haproxy": Life(30, Check("GET metrics/live", 15), Check("GET metrics/live", 15), Check("GET metrics/live", 30), "wait 5"),
    "element-web-li/nginx": Life(30, Check("GET http/health", 15), Check("GET http/health", 30), before_stop="sleep 5"),
    "synapse-admin/ketesa": Life(30, Check("GET http/health", 15), Check("GET http/health", 30)),
    "synapse-admin-li/ketesa": Life(30, Check("GET http/health", 15), Check("GET http/health", 30)),
    "valkey-li/valkey": Life(30, Check("connect to redis", 15), Check("connect to redis", 30)),
    "li-sync-broker/valkey": Life(30, Check("connect to redis", 15), Check("connect to redis", 30)),
    # A task that is ended finds out in its next run what is missing.
    "li-sync/worker": Life(60, _CELERY, _CELERY),
    "li-sync/follow": Life(60, Check("GET follow/metrics", 30), Check("GET follow/metrics", 30)),
    "li-sync/status": Life(60, Check("GET http/healthz", 30), Check("GET http/healthz", 30)),
    "li-sync-beat/beat": Life(30, _CELERY, _CELERY),
    "lk-jwt-service/lk-jwt-service": Life(30, Check("GET http/healthz", 30), Check("GET http/healthz", 60)),
}


def promised(workload: Workload, container: Mapping[str, Any]) -> Life | None:
    """What is promised of a container; None of one that nobody has thought of."""
    known = LIVES.get(f"{workload.name}/{container['name']}")
    if known is None and workload.labels.get("app.kubernetes.io/name") == "synapse" and container["name"] == "synapse":
        return _WORKER
    return known


def lifecycle_problems(objects: Objects) -> list[str]:
    """Containers that run for ever otherwise than is promised, or of which nothing is."""
    found = []
    for workload in workloads(objects):
        for container in workload.serving if workload.runs_for_ever else ():
            life = promised(workload, container)
            problems = _differences(workload, container, life) if life else ["nothing is promised of it in rules/lifecycle.py"]
            found += [f"{workload}: {container['name']}: {problem}" for problem in problems]
    return found


def _differences(workload: Workload, container: Mapping[str, Any], life: Life) -> Iterator[str]:
    if (grace := workload.pod.get("terminationGracePeriodSeconds")) != life.grace:
        yield f"its pod may take {grace} seconds to end, not {life.grace}"
    for name, wanted in (("startupProbe", life.startup), ("readinessProbe", life.readiness), ("livenessProbe", life.liveness)):
        probe = container.get(name)
        if (check := _check(probe) if probe else None) != wanted:
            yield f"its {name} is {check}, not {wanted}"
        if probe and not 2 <= probe.get("timeoutSeconds", 1) <= 12:
            yield f"its {name} waits for {probe.get('timeoutSeconds', 1)} seconds: a busy program is slow, and a dead one silent"
    if (before := _before_stop(container)) != life.before_stop:
        yield f"before it stops: {before or 'nothing'}, not {life.before_stop or 'nothing'}"


def _check(probe: Mapping[str, Any]) -> Check:
    seconds = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
    if get := probe.get("httpGet"):
        return Check(f"GET {get.get('port')}{get.get('path')}", seconds)
    if socket := probe.get("tcpSocket"):
        return Check(f"connect to {socket.get('port')}", seconds)
    return Check(_command(probe.get("exec", {})), seconds)


def _before_stop(container: Mapping[str, Any]) -> str:
    first = container.get("lifecycle", {}).get("preStop", {})
    return f"wait {first['sleep']['seconds']}" if "sleep" in first else _command(first.get("exec", {}))


def _command(action: Mapping[str, Any]) -> str:
    """A command as it is typed, without the folder of the shell. A script of a ConfigMap needs the shell: it is not executable."""
    return " ".join(action.get("command", [])).replace("/bin/sh ", "sh ", 1)


def proxy_stop_problems(objects: Objects) -> list[str]:
    """HAProxies whose pod is killed before their own settings let them end."""
    found = []
    for workload in workloads(objects):
        for text in _proxy_settings(workload, objects):
            seconds = sum(_seconds(line.split()[1]) for line in text if line.split()[:1] in (["grace"], ["hard-stop-after"]))
            if workload.pod.get("terminationGracePeriodSeconds", 30) < seconds:
                found.append(f"{workload} may take {workload.pod.get('terminationGracePeriodSeconds', 30)} seconds, and HAProxy {seconds}")
    return found


def _proxy_settings(workload: Workload, objects: Objects) -> Iterator[list[str]]:
    for container in workload.serving:
        for path, text in mounted_texts(workload, container, objects).items():
            if path.endswith("/haproxy.cfg"):
                yield text.splitlines()


def _seconds(text: str) -> float:
    """A time of HAProxy: milliseconds where no unit stands."""
    number = float(text.rstrip("smh"))
    return number / 1000 if text.endswith("ms") or text.isdigit() else number * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def autoscaling_problems(objects: Objects) -> list[str]:
    """Autoscalers that scale by something else than 0.7 core, or 0.7 of its time, per pod, or take pods away too fast for their users."""
    found = []
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "700m"}}}
    shrink = {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        if spec.get("metrics") != [metric]:
            found.append(f"{title(scaler)} scales by {spec.get('metrics')}")
        if spec.get("behavior") != {"scaleDown": shrink}:
            found.append(f"{title(scaler)} takes pods away by {spec.get('behavior')}")
        if spec["scaleTargetRef"].get("apiVersion") != "apps/v1" or "minReplicas" not in spec:
            found.append(f"{title(scaler)} does not say of what group its target is, or how few there may be")
    for scaler in of_kind(objects, "ScaledObject"):
        spec, namespace, name = scaler["spec"], scaler["metadata"]["namespace"], scaler["metadata"]["name"]
        query = f'sum(rate(python_twisted_reactor_tick_time_sum{{namespace="{namespace}",job="{name}"}}[2m]))'
        asked = {"query": query, "threshold": "0.7", "ignoreNullValues": "false"}
        (trigger,) = spec["triggers"]
        if trigger | {"metadata": None} != {"type": "prometheus", "metricType": "AverageValue", "metadata": None}:
            found.append(f"{title(scaler)} scales by {trigger}")
        if trigger["metadata"].keys() != asked.keys() | {"serverAddress"} or not asked.items() <= trigger["metadata"].items():
            found.append(f"{title(scaler)} asks for {trigger['metadata']}")
        if trigger["metadata"].get("serverAddress") not in PROMETHEUS:
            found.append(f"{title(scaler)} asks {trigger['metadata'].get('serverAddress')}")
        if spec.get("advanced") != {"horizontalPodAutoscalerConfig": {"name": name, "behavior": {"scaleDown": shrink}}}:
            found.append(f"{title(scaler)} takes pods away by {spec.get('advanced')}")
        if spec["scaleTargetRef"] != {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name} or spec.get("pollingInterval") != 30:
            found.append(f"{title(scaler)} scales {spec['scaleTargetRef']}, every {spec.get('pollingInterval')} seconds")
        if scaler["metadata"].get("annotations", {}).get("scaledobject.keda.sh/transfer-hpa-ownership") != "true":
            found.append(f"{title(scaler)} does not take over the autoscaler that was there before")
        if spec.keys() != {"advanced", "maxReplicaCount", "minReplicaCount", "pollingInterval", "scaleTargetRef", "triggers"}:
            found.append(f"{title(scaler)} says more, or less: {', '.join(spec)}")
    return found


PROMETHEUS = {"http://prometheus.matrix-monitoring.svc.cluster.local:9090", "http://prometheus.monitoring.svc:9090"}
"""Of the tests' sites."""
