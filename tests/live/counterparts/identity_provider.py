"""An identity provider (oidc-provider-mock) over TLS: `python -m tests.live.counterparts.identity_provider`, with what it needs as JSON.

It takes any client by itself; here it takes one, by its secret.
"""

import json
import sys
import tempfile
from pathlib import Path

from flask import Response, request
from oidc_provider_mock import User, app


def main() -> None:
    """Serve until the end. Given are `port`, `certificate` and `key` (PEM), `client` and `secret`, and `people`: sub to claims."""
    given = json.load(sys.stdin)
    folder = Path(tempfile.mkdtemp())
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_text(given["certificate"])
    key.write_text(given["key"])
    provider = app(user_claims=[User(sub=name, claims=claims) for name, claims in given["people"].items()])

    def know_the_client() -> Response | None:
        if request.path != "/oauth2/token":
            return None
        said = request.authorization
        known = said is not None and (said.username, said.password) == (given["client"], given["secret"])
        print(f"token request of {said.username if said else 'nobody'}: {'known' if known else 'unknown'}", flush=True)
        return None if known else Response('{"error": "invalid_client"}', 401, content_type="application/json")

    provider.before_request(know_the_client)
    print("ready", flush=True)
    provider.run("0.0.0.0", given["port"], ssl_context=(str(certificate), str(key)), use_reloader=False)


if __name__ == "__main__":
    main()
