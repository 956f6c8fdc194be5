"""What a server name says of itself under `/.well-known/matrix/`, and by what files HAProxy answers it.

Formats: https://spec.matrix.org/latest/client-server-api/#well-known-uris and
https://spec.matrix.org/latest/server-server-api/#getwell-knownmatrixserver
"""

import json
from typing import Any

from attrs import frozen

Document = dict[str, Any]


@frozen
class Contact:
    """Somebody to write to. `role`: `m.role.admin` or `m.role.security`. One of the two addresses must be there."""

    role: str
    email_address: str | None = None
    matrix_id: str | None = None

    def __attrs_post_init__(self) -> None:
        if not (self.email_address or self.matrix_id):
            raise ValueError(f"a contact for {self.role} needs an e-mail address or a Matrix id")

    @property
    def document(self) -> Document:
        """As the document has it."""
        addresses = {"email_address": self.email_address, "matrix_id": self.matrix_id}
        return {"role": self.role} | {name: value for name, value in addresses.items() if value}


@frozen
class WellKnown:
    """What is published of one server name.

    `homeserver`: the base URL for clients. `delegated_to`: `host:port` for other servers; None where none may come.
    `livekit_service_url`: where clients get their token for calls; None without calls. `issuer`: the URL of the OAuth 2.0 server
    where people log in; None where the homeserver itself logs them in.
    """

    homeserver: str
    delegated_to: str | None = None
    livekit_service_url: str | None = None
    issuer: str | None = None
    contacts: tuple[Contact, ...] = ()
    support_page: str | None = None

    @property
    def documents(self) -> dict[str, Document]:
        """Name below `/.well-known/matrix/` to what is there; what would be empty is absent."""
        documents: dict[str, Document] = {"client": {"m.homeserver": {"base_url": self.homeserver}}}
        if self.livekit_service_url:
            foci = [{"type": "livekit", "livekit_service_url": self.livekit_service_url}]
            # MSC4143; clients that ask the homeserver itself (/rtc/transports) do not need it.
            documents["client"]["org.matrix.msc4143.rtc_foci"] = foci
        if self.issuer:
            # MSC2965 in its first form; clients that ask the homeserver itself (/auth_metadata) do not need it.
            documents["client"]["org.matrix.msc2965.authentication"] = {"issuer": self.issuer, "account": f"{self.issuer}account/"}
        if self.delegated_to:
            documents["server"] = {"m.server": self.delegated_to}
        support: Document = {"contacts": [contact.document for contact in self.contacts]} if self.contacts else {}
        if self.support_page:
            support["support_page"] = self.support_page
        return documents | ({"support": support} if support else {})

    @property
    def files(self) -> dict[str, str]:
        """Name below `/.well-known/matrix/` to the text of the answer."""
        return {name: json.dumps(document, indent=2) + "\n" for name, document in self.documents.items()}
