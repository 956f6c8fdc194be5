"""Redis that others run: what the platform has of it is the proxy, which follows the primary and speaks TLS."""

from infrastructure.redis.configuration import ProxySettings, external_proxy_files
from infrastructure.redis.options import REDIS, ExternalRedisOptions
from infrastructure.redis.proxy import proxy
from kit.component import Component, Priority
from kit.installation import Installation
from kit.network import External
from kit.place import Place
from kit.pods import Mount, SecretFiles
from kit.secrets import Change, Form, Given, SecretSpec

_AUTHORITY = "/secrets/redis-ca"
NEW_PASSWORD = Change(
    "Let the servers take both for a while: who has one that they do not know is refused.",
    "Restart `external-redis-proxy` and Synapse, with calls also LiveKit and lk-jwt-service, together: users notice.",
)


class ExternalRedis(Component):
    """Clients ask the proxy in the clear, within the cluster; it speaks TLS with the servers, whose certificates it verifies."""

    directory = "02-redis"
    config_directory = "redis"
    priority = Priority.DATA

    def __init__(self, installation: Installation, place: Place, options: ExternalRedisOptions) -> None:
        super().__init__(installation, "external-redis", place)
        given = Given("Password of the Redis of redis.external", Form.PLAIN)
        self.password = self.secret(SecretSpec(self.name, self.namespace, {"password": given}), {"password": NEW_PASSWORD})
        settings = ProxySettings()
        written = external_proxy_files(options, settings, f"{_AUTHORITY}/ca.crt")
        files = self.config(f"{self.name}-proxy", written, stored={name: f"proxy/{name}" for name in written})
        authority = Mount(SecretFiles(options.ca_secret, items=(("ca.crt", "ca.crt"),)), _AUTHORITY)
        ports = tuple(sorted({int(address.rpartition(":")[2]) for address in (*options.servers, *options.sentinels)}))
        servers = External(REDIS, ports, options.cidrs)
        self.primary = proxy(
            self,
            "proxy-service.yaml",
            settings,
            files,
            "start-external.sh",
            self.password,
            servers,
            mounts=(authority,),
            # As with the platform's own, so that dashboards show it.
            job="redis-proxy",
        )
