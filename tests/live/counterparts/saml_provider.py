"""An identity provider that speaks SAML (pysaml2) over TLS: `python -m tests.live.counterparts.saml_provider`, with what it needs as JSON.

Given are `port`, `certificate` and `key` (PEM) of its host, `signing_certificate` and `signing_key` (PEM), `entity` (its id), `url` (of its page),
`partner` (the metadata of who asks it) and `people`: name to attributes. Whoever sends a name to the page is that person.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT
from saml2.config import IdPConfig
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server


def provider(given: dict[str, Any], folder: Path) -> Server:
    """It knows the one who asks, and signs what it answers."""
    for name in ("signing_certificate", "signing_key"):
        (folder / name).write_text(given[name])
    service = {
        "endpoints": {"single_sign_on_service": [(given["url"], BINDING_HTTP_REDIRECT)]},
        "policy": {"default": {"lifetime": {"minutes": 5}}},
    }
    return Server(
        config=IdPConfig().load(
            {
                "entityid": given["entity"],
                "service": {"idp": service},
                "metadata": {"inline": [given["partner"]]},
                "cert_file": str(folder / "signing_certificate"),
                "key_file": str(folder / "signing_key"),
                "xmlsec_binary": "/usr/bin/xmlsec1",
            }
        )
    )


def main() -> None:
    """Serve until the end."""
    given = json.load(sys.stdin)
    folder = Path(tempfile.mkdtemp())
    server, app = provider(given, folder), Flask(__name__)

    @app.get("/sso")
    def page() -> Response:
        asked = server.parse_authn_request(request.args["SAMLRequest"], BINDING_HTTP_REDIRECT)
        name = request.args["name"]
        print(f"{asked.message.issuer.text} asks who {name} is", flush=True)
        to = server.response_args(asked.message)
        to |= {"authn": {"class_ref": PASSWORDPROTECTEDTRANSPORT}, "sign_response": True, "sign_assertion": True}
        who = NameID(format=NAMEID_FORMAT_PERSISTENT, text=name)
        answer = server.create_authn_response(given["people"][name], userid=name, name_id=who, **to)
        form = server.apply_binding(BINDING_HTTP_POST, str(answer), to["destination"], request.args.get("RelayState", ""), response=True)
        return Response(form["data"])

    for name in ("certificate", "key"):
        (folder / name).write_text(given[name])
    print("ready", flush=True)
    app.run("0.0.0.0", given["port"], ssl_context=(str(folder / "certificate"), str(folder / "key")), use_reloader=False)


if __name__ == "__main__":
    main()
