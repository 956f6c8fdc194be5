"""Ketesa's config.json (https://github.com/etkecc/ketesa/blob/main/docs/config.md)."""

import json
import re
from typing import Any

from attrs import field, frozen

from kit.network import Host
from main_instance.application_services.options import ApplicationServices
from main_instance.login.options import LoginOptions


@frozen
class SynapseAdminSpec:
    """`host`: its own. `login`: how people log in. `application_services`: whose accounts at `server_name` are not for people to change."""

    host: Host
    server_name: str
    login: LoginOptions = field(factory=LoginOptions)
    application_services: ApplicationServices = ()


def client_config(spec: SynapseAdminSpec) -> str:
    """It speaks to its own host alone, under which the homeserver's administration is too: that host alone lets administrators in."""
    config: dict[str, Any] = {"restrictBaseUrl": f"https://{spec.host.name}", "wellKnownDiscovery": False}
    # An OpenID provider it finds by itself, but not who looks passwords up elsewhere (docs/external-auth-provider.md).
    if spec.login.ldap:
        config["externalAuthProvider"] = True
    if managed := [pattern for _, of in spec.application_services for pattern in _accounts(of.bot, of.users, spec.server_name)]:
        config["asManagedUsers"] = managed
    return json.dumps(config, indent=2) + "\n"


def _accounts(bot: str | None, users: tuple[str, ...], server_name: str) -> list[str]:
    """Patterns of the accounts that an application service has."""
    names = [*([re.escape(bot)] if bot else []), *users]
    return [f"^@{name}:{re.escape(server_name)}$" for name in names]
