"""What a server name says of itself under `/.well-known/`, and by what files HAProxy answers it.

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
    where people log in; None where the homeserver itself logs them in. `content_scanner`: the base URL of that; None without one.
    """

    homeserver: str
    support: Support = field(factory=Support)
    delegated_to: str | None = None
    livekit_service_url: str | None = None
    issuer: str | None = None
    content_scanner: str | None = None
    client: Settings = field(factory=Settings)
    """What the site says to clients besides."""

    @property
    def documents(self) -> dict[str, Document]:
        """Path below `/.well-known/` to what is there; what would be empty is absent. Raises OptionError for what is set twice."""
        documents: dict[str, Document] = {"matrix/client": {"m.homeserver": {"base_url": self.homeserver}}}
        if self.livekit_service_url:
            foci = [{"type": "livekit", "livekit_service_url": self.livekit_service_url}]
            # MSC4143; clients that ask the homeserver itself (/rtc/transports) do not need it.
            documents["matrix/client"]["org.matrix.msc4143.rtc_foci"] = foci
        if self.issuer:
            # MSC2965 in its first form; clients that ask the homeserver itself (/auth_metadata) do not need it.
            documents["matrix/client"]["org.matrix.msc2965.authentication"] = {"issuer": self.issuer, "account": f"{self.issuer}account/"}
        documents["matrix/client"] = with_extra(documents["matrix/client"], self.client, "well_known.client", _USE)
        if self.delegated_to:
            documents["matrix/server"] = {"m.server": self.delegated_to}
        contacts = [*_contact("m.role.admin", self.support.admin), *_contact("m.role.security", self.support.security)]
        support: Document = {"contacts": contacts} if contacts else {}
        if self.support.page:
            support["support_page"] = self.support.page
        if support:
            documents["matrix/support"] = support
        if self.content_scanner:
            # Element X reads it (features/wellknown: ElementWellKnown), and its editions that have files scanned ask there.
            documents["element/element.json"] = {"content_scanner_url": self.content_scanner}
        return documents

    @property
    def folders(self) -> tuple[str, ...]:
        """The paths of which there is something."""
        return tuple(sorted({f"/.well-known/{path.partition('/')[0]}" for path in self.documents}, reverse=True))

    @property
    def files(self) -> dict[str, str]:
        """File to the text of the answer."""
        return {file_of(path): json.dumps(document, indent=2) + "\n" for path, document in self.documents.items()}


def file_of(path: str) -> str:
    """The file that answers at a path below `/.well-known/`."""
    return f"well-known-{path.rpartition('/')[2].removesuffix('.json')}.json"


def _contact(role: str, who: Contact) -> list[Document]:
    """Somebody to write to, as the document has it, if there is an address."""
    addresses = {"email_address": who.email, "matrix_id": who.matrix_id}
    given = {name: value for name, value in addresses.items() if value}
    return [{"role": role} | given] if given else []
