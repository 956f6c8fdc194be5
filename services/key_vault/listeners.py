"""Which caller a request is from, and whether it came by the hop that this caller is trusted on.

The listener is told by the port of the socket that took the connection, which no header can change. Each has a token that its one caller holds:
without it nothing is answered but health. Who an officer is stands in the header that the authenticating proxy sets. It is believed when the
proxy's token came in the same request, the header stands there once, and the name is on the list of officers.
"""

import hmac
import time
from collections.abc import Callable

from attrs import frozen
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string

from services.key_vault import logs, metrics, operations
from services.key_vault.cases import Officer, RefusedError
from services.key_vault.configuration import Service, service

PROXY_TOKEN_HEADER = "X-Key-Vault-Proxy-Token"  # a header's name
LARGEST_BODY = 64 * 1024

_CSP = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    # Not `no-referrer`: browsers then send `Origin: null` with forms, which would be refused as forged.
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@frozen
class Listener:
    """A port: its name, what it serves, and the header and value of its token (None: it needs none)."""

    name: str
    urlconf: str
    token_header: str = ""
    token: str | None = None

    def trusts(self, request: HttpRequest) -> bool:
        """Whether the request carries the token; compared in constant time."""
        given = request.headers.get(self.token_header, "") if self.token is not None else ""
        return self.token is None or hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode("ascii"))


def listeners(settings: Service) -> dict[int, Listener]:
    """Port to listener."""
    urls = "services.key_vault.urls"
    return {
        settings.ports.intake: Listener("intake", f"{urls}.intake", "Authorization", f"Bearer {settings.intake_token}"),
        settings.ports.officer: Listener("officer", f"{urls}.officer", PROXY_TOKEN_HEADER, settings.proxy_token),
        settings.ports.access: Listener("access", f"{urls}.access", "Authorization", f"Bearer {settings.access_token}"),
        settings.ports.metrics: Listener("metrics", f"{urls}.metrics"),
    }


def claimed_officer(request: HttpRequest) -> str:
    """What the proxy says of whoever asks; '' if it says nothing, or more than one thing: WSGI joins repeated headers by commas."""
    claimed = request.headers.get(service().officer_header, "").strip()
    return "" if "," in claimed else claimed


def known_officer(request: HttpRequest) -> Officer | None:
    """Whoever asks, if the vault knows them. The request came by a trusted hop: the middleware lets no other through."""
    return service().officers.get(claimed_officer(request))


def acting_officer(request: HttpRequest) -> Officer:
    """Whoever asks. Raises RefusedError if the vault does not know them; the middleware lets nobody else through."""
    officer = known_officer(request)
    if officer is None:
        raise RefusedError("unknown-officer", "You are not an officer of this vault.")
    return officer


class Listeners:
    """The outermost middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._listeners = listeners(service())
        self._public_host = service().public_url.removeprefix("https://")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request, or let it through to what its listener serves."""
        started = time.monotonic()
        listener = self._listeners.get(int(request.META["SERVER_PORT"]))
        if listener is None:
            return _plain(request, 404, "not-found", "Nothing is served here.")
        response: HttpResponseBase | None = self._refusal(request, listener)
        if response is None:
            request.urlconf = listener.urlconf  # Django reads it from there.
            response = self._get_response(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        metrics.answered(listener.name, response.status_code, time.monotonic() - started)
        return response

    def _refusal(self, request: HttpRequest, listener: Listener) -> HttpResponse | None:
        if request.path_info.startswith("/health/"):
            return None
        if not listener.trusts(request):
            # Not into the audit log: whoever reaches the port could fill it.
            metrics.untrusted(listener.name)
            logs.event(f"a request to the {listener.name} listener came without its token")
            return _plain(request, 401, "untrusted", "This request did not come by the way that this service trusts.")
        if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_BODY:
            return _plain(request, 413, "too-large", f"The body is larger than {LARGEST_BODY} bytes.")
        if listener.name != "officer":
            return None
        # The proxy passes the browser's Host on: a page that was reached under another name could be another site's.
        if request.META.get("HTTP_HOST", "") != self._public_host:
            return _plain(request, 421, "misdirected", "This service has another name.")
        if request.method not in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return _plain(request, 403, "cross-site", "This request was made by another site's page.")
        if known_officer(request) is None:
            claimed = claimed_officer(request)
            if claimed:
                operations.unknown_officer(claimed, request.path_info)
            return _plain(request, 403, "unknown-officer", "You are logged in, but you are not an officer of this vault.")
        return None


def _plain(request: HttpRequest, status: int, code: str, text: str) -> HttpResponse:
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponse(render_to_string("key_vault/refused.html", {"text": text}), status=status)
    return JsonResponse({"code": code, "detail": text}, status=status)
