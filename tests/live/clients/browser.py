"""A person who logs in at an identity provider: `python -m tests.live.clients.browser`, with what it needs as JSON on standard input.

Given are `base` and `host` of the homeserver, `provider` (the name of its entry), `sub` (who the person is there) and `authority` (PEM). Prints,
as JSON, the status of the homeserver's last answer and, where the person was let in, the session.
"""

import json
import sys
import tempfile
from urllib.parse import parse_qs, urlsplit

import requests

APP = "https://app.example.com/"


def main() -> None:
    """See the module's own words."""
    given = json.load(sys.stdin)
    base, headers = given["base"], {"Host": given["host"], "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(given["authority"])
        file.flush()
        redirect = f"{base}/_matrix/client/v3/login/sso/redirect/oidc-{given['provider']}"
        start = requests.get(redirect, params={"redirectUrl": APP}, headers=headers, allow_redirects=False, timeout=60)
        cookies = "; ".join(f"{name}={value}" for name, value in start.cookies.items())
        said = requests.post(start.headers["Location"], data={"sub": given["sub"]}, allow_redirects=False, timeout=30, verify=file.name)
    back = urlsplit(said.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == f"https://{given['host']}", said.headers["Location"]
    page = requests.get(f"{base}{back.path}?{back.query}", headers={**headers, "Cookie": cookies}, allow_redirects=False, timeout=60)
    session = None
    if link := next((part for part in page.text.split('"') if part.startswith(f"{APP}?")), None):
        (token,) = parse_qs(urlsplit(link.replace("&amp;", "&")).query)["loginToken"]
        body = {"type": "m.login.token", "token": token}
        session = requests.post(f"{base}/_matrix/client/v3/login", json=body, headers=headers, timeout=60).json()
    print(json.dumps({"status": page.status_code, "session": session}))


if __name__ == "__main__":
    main()
