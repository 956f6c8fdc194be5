"""Which Redis a site has: the platform's own, or one that exists."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import Cidr, HostName, Name, ServerAddress
from kit.options import Text, When, option, required

REDIS = "redis"
"""The way out of the cluster to a Redis that exists."""

Group = Annotated[str, Text("the name by which Sentinels know a set of servers", "[A-Za-z0-9._-]{1,100}", "mymaster")]


class RedisBackend(StrEnum):
    """Who runs it."""

    VALKEY = "valkey"
    EXTERNAL = "external"


@frozen(kw_only=True)
class ExternalRedisOptions:
    """A Redis or Valkey that exists, with TLS. The password goes into the Secret `external-redis`, as `password`."""

    servers: tuple[ServerAddress, ...] = required(
        "Its servers: one, or all that can be the primary. With `sentinels`, as the Sentinels name them, which may be by addresses."
    )
    sentinels: tuple[ServerAddress, ...] = option(
        (), "Its Sentinels, with TLS too: a server is used while most of them name it, and while it says itself that it is the primary."
    )
    sentinel_group: Group = option("mymaster", "What the Sentinels call the set.")
    sentinel_password: bool = option(True, "Whether the Sentinels ask for the same password.")
    ca_secret: Name = required("Secret with `ca.crt`, the authority of their certificates.")
    certificate_name: HostName | None = option(None, "The name in every certificate.", otherwise="each has the name of its own server")
    cidrs: tuple[Cidr, ...] = required("Addresses at which they are reached.")


@frozen(kw_only=True)
class RedisOptions:
    """What Synapse's processes tell each other by, and where calls are known."""

    backend: RedisBackend = option(
        RedisBackend.VALKEY, "`valkey`: the platform runs it. `external`: a Redis or Valkey that exists.", opens=(REDIS,)
    )
    external: ExternalRedisOptions | None = option(
        None,
        only_with=When("redis.backend", RedisBackend.EXTERNAL),
        needed_with=When("redis.backend", RedisBackend.EXTERNAL),
    )
