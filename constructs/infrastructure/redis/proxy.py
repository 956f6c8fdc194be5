"""The proxy before Redis: one address that is always the primary, for clients that know neither Sentinels nor TLS."""

from infrastructure.redis.configuration import ProxySettings
from kit.component import Component
from kit.images import image
from kit.network import Endpoint, External, Port
from kit.pods import ConfigMap, Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import SecretSpec

PROXIES = 2
FILES = "/etc/haproxy"


def proxy(
    component: Component,
    service_file: str,
    settings: ProxySettings,
    files: ConfigMap,
    script: str,
    password: SecretSpec,
    *peers: Endpoint | External,
    mounts: tuple[Mount, ...] = (),
    job: str = "",
) -> Endpoint:
    """Deploy it as a part of a component: where Redis is found from then on. `script`: which of the files starts it; `peers`: whom it calls.

    `job`: what its series are called by, if not like its pods.
    """
    health = Port("metrics", settings.health_port)
    container = Container(
        name="haproxy",
        image=image("haproxy"),
        command=("/bin/sh", f"{FILES}/{script}"),
        ports=(Port("redis", settings.port), health),
        mounts=(
            Mount(files, FILES),
            Mount(SecretFiles(password.name, items=(("password", "password"),)), "/secrets/redis"),
            *mounts,
        ),
        # Longer than a failover: the proxy holds new connections meanwhile, which it could not do if it were taken out.
        readiness=Probe.http("/ready", "metrics", period_seconds=5, failures=4),
        # Without a primary for ten minutes it starts anew, and looks the addresses of the pods up again.
        liveness=Probe.http("/ready", "metrics", period_seconds=60, failures=10),
        pre_stop=("sleep", "5"),
        resources=Resources(millicores(20), mib(48), mib(128)),
    )
    name = f"{component.name}-proxy"
    pod = PodSpec(containers=(container,), grace_seconds=15)
    proxies = component.deployment("proxy-deployment.yaml", name, pod, part="proxy", replicas=PROXIES)
    service = component.service(service_file, f"{component.name}-primary", proxies, {"redis": settings.port}, part="proxy")
    component.connect(proxies.pods, *peers)
    component.offers_metrics(proxies.pods, health, series=2_000, job=job or name)
    return service.endpoint("redis")
