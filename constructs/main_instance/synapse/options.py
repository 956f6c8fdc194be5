"""What a site chooses of its homeserver."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import frozen

from kit.formats import FileSize, MediaAge, ServerName
from kit.options import When, option
from kit.quantities import mib


@frozen(kw_only=True)
class FederationOptions:
    """Which other Matrix servers may talk to this one."""

    allowed_domains: tuple[ServerName, ...] = option((), "Server names. Empty: every server.")


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
    removal_dry_run: bool = option(False, "Whether that only logs what it would remove.", only_with=When("media.remove_deleted", True))


@frozen(kw_only=True)
class RegistrationOptions:
    """How accounts come to be."""

    enabled: bool = option(
        False, "Whether people may sign up themselves, with a registration token. Administrators can always create accounts."
    )


@frozen(kw_only=True)
class HomeserverOptions:
    """How the homeserver behaves towards its users."""

    presence: bool = option(True, "Whether users see who is online: the one most expensive feature.")
    search_all_users: bool = option(True, "Whether the user directory finds everybody, or only people in public or shared rooms.")
    push_message_content: bool = option(
        False, "Whether push notifications carry the text of unencrypted messages to the push gateways of Apple and Google."
    )
    redaction_retention: MediaAge = option("7d", "How long the original of a message is kept that somebody has taken back.")
    message_lifetime: MediaAge | None = option(None, "Age at which messages are deleted.", otherwise="kept for ever")
