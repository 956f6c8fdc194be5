"""The bridges and bots of a site."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

import re
from typing import Annotated

from attrs import frozen

from kit.formats import Cidr, OthersPods, Url
from kit.options import Entries, Section, Text, option, required

APPLICATION_SERVICES = "application-services"
"""What the way out to those of a site is called that are outside the cluster."""


def _pattern(text: str) -> str:
    """A regular expression. Raises ValueError for what is none."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


NamePattern = Annotated[
    str,
    Text(
        "a regular expression of names",
        r"[!-9;-~]{1,200}",
        "telegram_.*",
        mistakes={"[@#].*": "begins with a sign of a user id or alias"},
        read=_pattern,
    ),
]
BotName = Annotated[str, Text("the name of an account", "[a-z0-9._=/+-]{1,100}", "telegrambot")]


@frozen(kw_only=True)
class ApplicationServiceOptions:
    """A bridge or bot."""

    url: Url = required("Where Synapse calls it: in the cluster, the address of its Service.")
    bot: BotName | None = option(None, "The name of its own account.", otherwise="needed, unless its registration is yours to give")
    pods: OthersPods | None = option(
        None, "Where it is in this cluster. It may then call `haproxy` on port 8010: the client API, without a limit of logins."
    )
    cidrs: tuple[Cidr, ...] = option((), "Addresses of one that is elsewhere, without `pods`.", otherwise="any on the internet")
    users: tuple[NamePattern, ...] = option((), "Names of the users whom it alone makes, before the colon.")
    aliases: tuple[NamePattern, ...] = option((), "Names of the room aliases that it alone makes, before the colon.")
    rate_limited: bool = option(False, "Whether its users are held to the limits of people.")
    ephemeral: bool = option(False, "Whether it is told who is typing, has read and is online.")
    given: bool = option(
        False, "Whether you give its registration file whole: `registration.yaml` in the Secret `application-service-<name>`."
    )


ServiceName = Text("a name", "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", "telegram", mend=str.lower)
ApplicationServices = Annotated[
    tuple[tuple[str, ApplicationServiceOptions], ...], Entries(key=ServiceName, value=Section(ApplicationServiceOptions))
]
