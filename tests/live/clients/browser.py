"""A person who logs in at an identity provider: `python -m tests.live.clients.browser`, with what it needs as JSON on standard input.

Given are `base` and `host` of the homeserver, `provider` (by the homeserver's id for it), `sub` (who the person is there) and `authority` (PEM).
Prints, as JSON, the status and the text of the homeserver's last answer and, where the person was let in, the session.
"""

import html
import json
import re
import sys
import tempfile
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

APP = "https://app.example.com/"


def openid_connect(page: str, person: str, authority: str) -> tuple[str, str, dict[str, Any]]:
    """What the provider makes a browser ask of the homeserver then: the provider leads back by a redirect."""
    said = requests.post(page, data={"sub": person}, allow_redirects=False, timeout=30, verify=authority)
    return "GET", said.headers["Location"], {}


def saml(page: str, person: str, authority: str) -> tuple[str, str, dict[str, Any]]:
    """As `openid_connect`; here by a form that a browser sends off."""
    said = requests.get(page, params={"name": person}, timeout=30, verify=authority).text
    (address,) = re.findall(r'<form action="([^"]+)"', said)
    return (
        "POST",
        html.unescape(address),
        {name: html.unescape(value) for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', said)},
    )


def main() -> None:
    """See the module's own words."""
    given = json.load(sys.stdin)
    base, headers = given["base"], {"Host": given["host"], "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    redirect = f"{base}/_matrix/client/v3/login/sso/redirect/{given['provider']}"
    start = requests.get(redirect, params={"redirectUrl": APP}, headers=headers, allow_redirects=False, timeout=60)
    headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in start.cookies.items())
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(given["authority"])
        file.flush()
        by = saml if given["provider"] == "saml" else openid_connect
        method, address, form = by(start.headers["Location"], given["sub"], file.name)
    back = urlsplit(address)
    assert f"{back.scheme}://{back.netloc}" == f"https://{given['host']}", address
    page = requests.request(method, f"{base}{back.path}?{back.query}", data=form, headers=headers, allow_redirects=False, timeout=60)
    session = None
    if link := next((part for part in page.text.split('"') if part.startswith(f"{APP}?")), None):
        (token,) = parse_qs(urlsplit(link.replace("&amp;", "&")).query)["loginToken"]
        body = {"type": "m.login.token", "token": token}
        session = requests.post(f"{base}/_matrix/client/v3/login", json=body, headers=headers, timeout=60).json()
    print(json.dumps({"status": page.status_code, "session": session, "page": page.text}))


if __name__ == "__main__":
    main()
