"""What a site chooses of its homeserver."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import frozen

from kit.formats import Cidr, FileSize, MediaAge, Name, ServerName
from kit.options import When, option
from kit.quantities import mib

FEDERATION, WEB_PAGES = "federation", "web-pages"
"""The ways out of the cluster that these options open."""


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
    url_previews: bool = option(
        False,
        "Whether a message shows what is behind its links: media workers fetch those pages, from ports 80 and 443 of the internet. What users "
        "of rooms that are not encrypted link to, the server then reads.",
        opens=(WEB_PAGES,),
    )
    redaction_retention: MediaAge = option("7d", "How long the original of a message is kept that somebody has taken back.")
    message_lifetime: MediaAge | None = option(None, "Age at which messages are deleted.", otherwise="kept for ever")
