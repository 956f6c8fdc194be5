"""What a server name says of itself under `/.well-known/matrix/`, and by what files HAProxy answers it.

Formats: https://spec.matrix.org/latest/client-server-api/#well-known-uris and
https://spec.matrix.org/latest/server-server-api/#getwell-knownmatrixserver
"""

import json
from typing import Any

from attrs import field, frozen

from kit.merging import with_extra
from kit.options import Settings
from main_instance.haproxy.options import Contact, Support

Document = dict[str, Any]

_USE = {
    "m.homeserver": "hosts.matrix",
    "org.matrix.msc2965.authentication": "features.authentication_service",
    "org.matrix.msc4143.rtc_foci": "features.calls",
}


@frozen
class WellKnown:
    """What is published of one server name.

    `homeserver`: the base URL for clients. `delegated_to`: `host:port` for other servers; None where none may come.
    `livekit_service_url`: where clients get their token for calls; None without calls. `issuer`: the URL of the OAuth 2.0 server
    where people log in; None where the homeserver itself logs them in.
    """

    homeserver: str
    support: Support = field(factory=Support)
    delegated_to: str | None = None
    livekit_service_url: str | None = None
    issuer: str | None = None
    client: Settings = field(factory=Settings)
    """What the site says to clients besides."""

    @property
    def documents(self) -> dict[str, Document]:
        """Name below `/.well-known/matrix/` to what is there; what would be empty is absent. Raises OptionError for what is set twice."""
        documents: dict[str, Document] = {"client": {"m.homeserver": {"base_url": self.homeserver}}}
        if self.livekit_service_url:
            foci = [{"type": "livekit", "livekit_service_url": self.livekit_service_url}]
            # MSC4143; clients that ask the homeserver itself (/rtc/transports) do not need it.
            documents["client"]["org.matrix.msc4143.rtc_foci"] = foci
        if self.issuer:
            # MSC2965 in its first form; clients that ask the homeserver itself (/auth_metadata) do not need it.
            documents["client"]["org.matrix.msc2965.authentication"] = {"issuer": self.issuer, "account": f"{self.issuer}account/"}
        documents["client"] = with_extra(documents["client"], self.client, "well_known.client", _USE)
        if self.delegated_to:
            documents["server"] = {"m.server": self.delegated_to}
        contacts = [*_contact("m.role.admin", self.support.admin), *_contact("m.role.security", self.support.security)]
        support: Document = {"contacts": contacts} if contacts else {}
        if self.support.page:
            support["support_page"] = self.support.page
        return documents | ({"support": support} if support else {})

    @property
    def files(self) -> dict[str, str]:
        """Name below `/.well-known/matrix/` to the text of the answer."""
        return {name: json.dumps(document, indent=2) + "\n" for name, document in self.documents.items()}


def _contact(role: str, who: Contact) -> list[Document]:
    """Somebody to write to, as the document has it, if there is an address."""
    addresses = {"email_address": who.email, "matrix_id": who.matrix_id}
    given = {name: value for name, value in addresses.items() if value}
    return [{"role": role} | given] if given else []
