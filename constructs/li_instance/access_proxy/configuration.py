"""The configuration of the proxy in front of the lawful-intercept instance."""

from attrs import frozen

from kit.files import rendered, text
from kit.network import Endpoint

HOMESERVER, CASES, OPERATIONS = 8008, 8009, 8405

SESSIONS = (
    "GET /_matrix/client/versions",
    "GET /_matrix/client/v3/login",
    "POST /_matrix/client/v3/login",
    "POST /_matrix/client/v3/logout",
    "GET /_matrix/client/v3/account/whoami",
    "GET /_matrix/client/v3/capabilities",
    "GET /_matrix/client/v3/pushrules/",
    "GET /_matrix/client/v3/sync",
    "GET /_synapse/admin/v1/server_version",
)
"""What needs no case: an officer's own session. Nobody else has one here, since passwords and tokens of main's users stay on main and
nobody can log in as a user, so that nothing of anybody else is in their answers."""


@frozen
class AccessProxySpec:
    """Whom it calls: the homeserver and where that says how it is, two ports of the vault, and the status page of the synchronisation."""

    synapse: Endpoint
    health: Endpoint
    officers: Endpoint
    access: Endpoint
    status: Endpoint


def configuration(spec: AccessProxySpec) -> dict[str, str]:
    """Its files by name."""
    settings = rendered(
        __package__,
        "haproxy.cfg",
        homeserver=HOMESERVER,
        cases=CASES,
        operations=OPERATIONS,
        synapse=spec.synapse,
        health=spec.health,
        vault=spec.officers,
        access=spec.access,
        status=spec.status,
    )
    return {
        "haproxy.cfg": settings,
        "access.lua": text(__package__, "access.lua"),
        "sessions.lst": "".join(f"{line}\n" for line in SESSIONS),
    }
