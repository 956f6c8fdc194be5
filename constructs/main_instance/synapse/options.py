"""What a site chooses of its homeserver."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import Cidr, FileSize, Image, Line, MediaAge, Name, RoomAlias, ServerName
from kit.options import Entries, Free, Number, Section, Settings, Text, When, option, required, section
from kit.quantities import mib

PerSecond = Annotated[float, Number("a number of times a second", 0, 1000, "0.5", fraction=True)]
Burst = Annotated[int, Number("a number of times", 1, 100_000, "10")]
PerMinute = Annotated[int, Number("a number of times a minute", 1, 1_000_000, "600")]
PasswordLength = Annotated[int, Number("a number of characters", 1, 512, "12")]
AccountName = Annotated[str, Text("the name of an account", "[a-z0-9._=/+-]{1,100}", "notices")]
ProcessName = Annotated[str, Text("main, or a worker type", "[a-z][-a-z]*", "client-reader")]
_ELSEWHERE = "write `homeserver: {extra_secret: true}`, and put it into that Secret"
SynapseSettings = Annotated[Settings, Free("options of Synapse", "max_avatar_size: 10M", _ELSEWHERE)]
ModuleSettings = Annotated[
    Settings,
    Free(
        "what the module calls its config",
        "mode: strict",
        "let the module read it from a file (`secret`), or give all modules in `extra_secret`",
    ),
]

FEDERATION, WEB_PAGES = "federation", "web-pages"
"""The ways out of the cluster that these options open."""

SINGLE_SIGN_ON = frozenset({"cas_config", "saml2_config"})
"""Options of Synapse, for `extra`, by which it sends people to somebody else to log in."""
OF_OWN_LOGINS = SINGLE_SIGN_ON | {
    *("enable_registration_captcha", "jwt_config", "login_via_existing_session", "nonrefreshable_access_token_lifetime"),
    *("password_providers", "refresh_token_lifetime", "session_lifetime", "user_consent"),
}
"""Those that it refuses where the Matrix Authentication Service logs people in (synapse/config/mas.py)."""


@frozen(kw_only=True)
class FederationOptions:
    """Which other Matrix servers may talk to this one, and where they are."""

    allowed_domains: tuple[ServerName, ...] = option((), "Server names. Empty: every server.")
    internet: bool = option(True, "Whether servers on the internet are called.", opens=(FEDERATION,))
    networks: tuple[Cidr, ...] = option(
        (), "Networks of other servers that are called as well: those of partners, which may be private.", opens=(FEDERATION,)
    )
    ca_secret: Name | None = option(
        None,
        "Secret with `ca.crt`, one certificate: the authority of all other servers' certificates. Public ones are not trusted then.",
        otherwise="public authorities",
        only_with=When("federation.internet", False),
    )
    key_servers: tuple[ServerName, ...] = option(
        (), "Servers that are asked for the keys of others, and so can vouch for one that is away. Empty: each is asked for its own."
    )


@frozen(kw_only=True)
class MediaOptions:
    """Files that users send."""

    max_upload_size: FileSize = option(mib(100), "Largest upload.")
    local_lifetime: MediaAge | None = option(
        None, "Age since last access at which media of own users are deleted.", otherwise="kept for ever"
    )
    remote_lifetime: MediaAge | None = option(
        None, "Age since last access at which copies of other servers' media are deleted.", otherwise="kept for ever"
    )
    remove_deleted: bool = option(
        True,
        "Whether what the homeserver has deleted (by age, by an administrator, with its user) is removed from the bucket too, at night. "
        "`false`: it stays there for ever.",
    )
    keep_removed_days: Annotated[int, Number("a number of days", 1, 365, "7")] | None = option(
        None,
        "How many days the bucket still has what was removed from it, so that a mistake can be undone: docs/05-BACKUP-RESTORE.md. It counts "
        "against the room for media.",
        otherwise="it is gone at once",
    )
    removal_dry_run: bool = option(False, "Whether that only logs what it would remove.", only_with=When("media.remove_deleted", True))


@frozen(kw_only=True)
class RegistrationOptions:
    """How accounts come to be."""

    enabled: bool = option(
        False, "Whether people may sign up themselves, with a registration token. Administrators can always create accounts."
    )


class Encryption(StrEnum):
    """Which new rooms are encrypted, whatever the client says."""

    OFF = "off"
    INVITE = "invite"
    ALL = "all"


@frozen(kw_only=True)
class RateLimit:
    """How often something may be done: so often at once, and then so often a second."""

    per_second: PerSecond = required("How often in the long run.")
    burst: Burst = required("How often at once.")


@frozen(kw_only=True)
class RateLimitOptions:
    """How often people may do things. Each process counts for itself."""

    logins_per_minute: PerMinute = option(
        120, "Logins and registrations from one address, at the proxy: all people behind one NAT share it."
    )
    messages: RateLimit | None = option(None, "Messages of a user.", otherwise="5 a second, 30 at once")
    logins_per_address: RateLimit | None = option(None, "Logins from an address, at Synapse.", otherwise="5 a second, 100 at once")
    logins_per_account: RateLimit | None = option(None, "Logins to an account.", otherwise="0.2 a second, 10 at once")
    failed_logins: RateLimit | None = option(None, "Failed logins to an account.", otherwise="0.15 a second, 5 at once")
    joins: RateLimit | None = option(None, "Joins of a user.", otherwise="1 a second, 50 at once")
    invites_per_user: RateLimit | None = option(None, "Invitations to a user.", otherwise="0.1 a second, 30 at once")


@frozen(kw_only=True)
class PasswordPolicy:
    """What a new password must have. With the Matrix Authentication Service: `passwords.minimum_complexity` in `authentication_service.extra`."""

    minimum_length: PasswordLength = option(8, "Characters.")
    digit: bool = option(False, "Whether it needs a digit.")
    symbol: bool = option(False, "Whether it needs a sign that is neither letter nor digit.")
    lower_case: bool = option(False, "Whether it needs a lower-case letter.")
    upper_case: bool = option(False, "Whether it needs an upper-case letter.")


@frozen(kw_only=True)
class ServerNotices:
    """Notices of the server to its users, in a room of each."""

    account: AccountName = option("notices", "The name of the account that they come from.")
    display_name: Line = option("Server notices", "What it is called.")
    room_name: Line = option("Server notices", "What the room is called.")


@frozen(kw_only=True)
class ModuleOptions:
    """A module of Synapse, which must be in its image (`homeserver.image`)."""

    path: Annotated[str, Text("the Python path of a class", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", "synapse_module.Module")] = required(
        "Where its class is."
    )
    config: ModuleSettings = option(Settings(), "Its configuration.", otherwise="`{}`")
    processes: tuple[ProcessName, ...] = option((), "Where it is loaded: `main`, and worker types.", otherwise="everywhere")
    secret: bool = option(
        False, "Whether it reads secrets: the Secret `synapse-module-<name>` is then in the folder `/secrets/modules/<name>`."
    )


Modules = Annotated[
    tuple[tuple[str, ModuleOptions], ...],
    Entries(key=Text("a name", "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", "invites", mend=str.lower), value=Section(ModuleOptions)),
]


@frozen(kw_only=True)
class HomeserverOptions:
    """How the homeserver behaves towards its users."""

    presence: bool = option(True, "Whether users see who is online: the one most expensive feature.")
    search_all_users: bool = option(True, "Whether the user directory finds everybody, or only people in public or shared rooms.")
    push_message_content: bool = option(
        False, "Whether push notifications carry the text of unencrypted messages to the push gateways of Apple and Google."
    )
    url_previews: bool = option(
        False,
        "Whether a message shows what is behind its links: media workers fetch those pages, from ports 80 and 443 of the internet. What users "
        "of rooms that are not encrypted link to, the server then reads.",
        opens=(WEB_PAGES,),
    )
    redaction_retention: MediaAge = option("7d", "How long the original of a message is kept that somebody has taken back.")
    message_lifetime: MediaAge | None = option(None, "Age at which messages are deleted.", otherwise="kept for ever")
    encryption: Encryption = option(
        Encryption.OFF, "Rooms that are encrypted from the start though the client asks for none: `invite`, those that are not public."
    )
    auto_join_rooms: tuple[RoomAlias, ...] = option((), "Rooms that new users are in, made where they do not exist.")
    password_policy: PasswordPolicy | None = option(None, "What a new password must have.", otherwise="nothing")
    server_notices: ServerNotices | None = option(None, "Notices of the server to its users, which administrators send.")
    rate_limits: RateLimitOptions = section(RateLimitOptions)
    modules: Modules = option((), "Modules that Synapse loads, each by a name, in the order in which they are asked.", otherwise="none")
    image: Image | None = option(
        None, "Your own image of Synapse, made from the platform's: with modules, or templates.", otherwise="the platform's"
    )
    extra: SynapseSettings = option(
        Settings(), "Further options of Synapse: any that the platform does not set, in the sections that it sets too.", otherwise="`{}`"
    )
    extra_secret: bool = option(
        False,
        "Whether you give further options with secrets in them: `extra.yaml` in the Secret `synapse-extra`, whose sections replace all others.",
    )
