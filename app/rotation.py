"""What happens when the value of a Secret changes, and what to do then: a line for every value that is kept in its own right."""

import re
from collections.abc import Iterable

from attrs import frozen
from tabulate import tabulate

from kit.secrets import Composed, Copied, Fixed, SecretSpec, Shared


@frozen
class Rotation:
    """One line. `secret` and `key` are regular expressions for whole names: object storage users have a Secret each, of one kind."""

    secret: str
    key: str
    effect: str
    then: str

    def is_of(self, secret: str, key: str) -> bool:
        """Whether the line is about this key of this Secret."""
        return re.fullmatch(self.secret, secret) is not None and re.fullmatch(self.key, key) is not None


ROTATIONS = (
    Rotation(
        "synapse",
        "signing_key",
        "What it signed must stay verifiable: its public half goes into `old_signing_keys`.",
        'As described under "The signing key".',
    ),
    Rotation(
        "synapse",
        "macaroon_secret_key",
        "Guests are logged out; single sign-on that is under way and unsubscribe links in e-mails fail. Other sessions stay.",
        "Restart Synapse.",
    ),
    Rotation("synapse", "form_secret", "Consent links that were sent before fail.", "Restart Synapse."),
    Rotation(
        "synapse",
        "worker_replication_secret",
        "Processes with the old and with the new one refuse each other's requests.",
        "Stop all of Synapse, then start it: users notice.",
    ),
    Rotation(
        "synapse", "registration_shared_secret", "Scripts that register users need the new one.", "Restart the StatefulSet `synapse`."
    ),
    Rotation(
        "redis",
        "password",
        "Redis, its proxy and their clients refuse each other until all have the new one.",
        "Restart `redis`, `redis-proxy` and Synapse, with calls also LiveKit and lk-jwt-service, together: users notice.",
    ),
    Rotation(
        "minio-.*-root",
        "secret-key",
        "The nodes of a tenant authenticate to each other with it: with two of them there is no storage.",
        "Delete all pods of the tenant at once (`-l v1.min.io/tenant=<name>`): media and archiving pause for a minute. Then run the bucket Job.",
    ),
    Rotation(
        "minio-.*-user-.*",
        "secret-key",
        "Old and new are never valid together: from the bucket Job until the client has the new one it is refused.",
        "Run the bucket Job. `media`: restart `media-repository`. `backups`: nothing, the archiver sees it within minutes and tries again.",
    ),
    Rotation(
        "object-storage-user-.*",
        "access-key|secret-key",
        "As your storage has it; let the old pair be valid until the clients have the new one.",
        "`media`: restart `media-repository`. `backups`: nothing, the archiver sees it within minutes.",
    ),
    Rotation(
        "turn",
        "shared_secret",
        "Credentials that clients hold get no new relay; they ask for others when these expire.",
        "Restart coturn, then the StatefulSet `synapse` and the workers that answer `/voip/turnServer`.",
    ),
    Rotation(
        "livekit-api",
        "secret",
        "Tokens that clients hold get into no room; they ask for another at the next call.",
        "Restart LiveKit and lk-jwt-service together.",
    ),
    Rotation(
        "matrix-authentication-service",
        "encryption",
        "Never: what it has encrypted in the database is lost with it.",
        "Only after a leak, with everybody logged in anew.",
    ),
    Rotation(
        "matrix-authentication-service",
        r"rsa\.pem",
        "Tokens that it signed are refused from then on. Sessions stay.",
        "Restart `matrix-authentication-service`.",
    ),
    Rotation(
        "matrix-authentication-service",
        "homeserver",
        "Synapse and the service refuse each other until both have the new one: nobody can log in, sessions that are not cached fail.",
        "Restart `matrix-authentication-service` and Synapse together: users notice.",
    ),
    Rotation(
        "postgresql-main-authentication-service",
        "password",
        "The operator gives the role the new password; open connections stay, new ones with the old password are refused.",
        "Restart `matrix-authentication-service`.",
    ),
    Rotation(
        "matrix-authentication-service-additions", r"config\.yaml", "It is configuration.", "Restart `matrix-authentication-service`."
    ),
    Rotation(
        "push-credentials",
        r"apns\.p8|fcm-.*\.json",
        "As Apple and Google have it: both let two keys be valid at a time.",
        "Restart `sygnal`, then take the old key back at Apple or Google.",
    ),
)


def kept(specs: Iterable[SecretSpec]) -> tuple[tuple[str, str], ...]:
    """Secret and key of every value that does not follow from another one."""
    return tuple(
        dict.fromkeys(
            (spec.name, key) for spec in specs for key, recipe in spec.keys if not isinstance(recipe, Composed | Copied | Fixed | Shared)
        )
    )


def secrets_page() -> str:
    """The page of docs/reference/."""
    rows = [(f"`{_readable(line.secret)}`", f"`{_readable(line.key)}`", line.effect, line.then) for line in ROTATIONS]
    return (
        "# Secrets\n\n"
        "Every value that is kept in its own right. What is composed of it or shared with another namespace follows it; how a value is "
        'changed is in "Rotate a secret" of [the operations guide](../03-OPERATIONS-GUIDE.md).\n\n'
        + tabulate(rows, ["Secret", "Key", "When it changes", "Then"], tablefmt="pipe")
        + "\n"
    )


def _readable(expression: str) -> str:
    """A regular expression as a person writes such names."""
    return expression.replace("\\", "").replace(".*", "<name>").replace("|", "`, `")
