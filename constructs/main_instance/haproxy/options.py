"""What the server name of a site says of itself."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from typing import Annotated

from attrs import frozen

from kit.formats import Email, HttpsUrl, UserId
from kit.options import Free, Settings, When, option, section

_PUBLIC = "everybody reads it: it has no secret; remove it"
ClientSettings = Annotated[Settings, Free("what else it says", "io.element.e2ee: {default: true}", _PUBLIC)]


@frozen(kw_only=True)
class Contact:
    """Somebody to write to."""

    email: Email | None = option(None, "E-mail address.")
    matrix_id: UserId | None = option(None, "Matrix user id.")


@frozen(kw_only=True)
class Support:
    """Whom people of other servers may write to about this one (`/.well-known/matrix/support`); not published without an entry."""

    page: HttpsUrl | None = option(None, "A page that says how to get help.")
    admin: Contact = section(Contact)
    security: Contact = section(Contact)


@frozen(kw_only=True)
class WellKnownOptions:
    """What the server name says of itself: where its homeserver is, and who runs it."""

    publish: bool = option(
        True,
        "Whether the platform answers for `https://<server name>/.well-known/matrix`. If another web server is there, that one must: "
        "docs/01-DEPLOYMENT-GUIDE.md says what.",
    )
    client: ClientSettings = option(
        Settings(), "What else `/.well-known/matrix/client` says.", otherwise="`{}`", only_with=When("well_known.publish", True)
    )
    support: Support = section(Support, only_with=When("well_known.publish", True))
