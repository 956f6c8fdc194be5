"""The mail server of a site."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Cidr, Delay, Line, Mailbox, MailServer, Name
from kit.options import option, required

MAIL = "mail"
"""The way out of the cluster to it."""


class MailTls(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"


_PORTS = {MailTls.STARTTLS: 587, MailTls.TLS: 465}


@frozen(kw_only=True)
class MailOptions:
    """The server to which mail is handed: for new passwords, to confirm addresses, and about messages that nobody has read."""

    server: MailServer = required("Its host name, with its port if that is not 587, or 465 with `tls`.")
    tls: MailTls = option(
        MailTls.STARTTLS,
        "`starttls`: the connection is encrypted as it begins. `tls`: it is from its first byte. Without, no mail is sent.",
    )
    sender: Mailbox = required("Whom mail comes from.")
    user: Line | None = option(
        None, "Who logs in there. The password goes into the Secret `mail`, as `password`.", otherwise="nobody logs in"
    )
    networks: tuple[Cidr, ...] = option((), "Its addresses, which may be private. Empty: any on the internet.", opens=(MAIL,))
    ca_secret: Name | None = option(
        None,
        "Secret with `ca.crt`: authorities that may have signed its certificate, beside the public ones.",
        otherwise="public ones alone",
    )
    notifications: bool = option(True, "Whether people may have mail about messages that they have not read.")
    notify_after: Delay = option("10m", "How long such a message waits to be read.")

    @property
    def host(self) -> str:
        """Its name alone."""
        return self.server.partition(":")[0]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.partition(":")[2] or _PORTS[self.tls])
