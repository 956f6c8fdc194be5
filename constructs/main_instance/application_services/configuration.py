"""An application service as Synapse knows it: its registration, and the way to it."""

import re
from typing import Any
from urllib.parse import urlsplit

from kit.network import Endpoint, External, Pods, Port
from kit.secrets import Change, Composed, Given, RandomText, Recipe, SecretSpec
from kit.text import yaml_text
from main_instance.application_services.options import APPLICATION_SERVICES, ApplicationServiceOptions

REGISTRATION = "registration.yaml"
"""The key of the Secret, and the name of the file."""
_TOKENS = ("as_token", "hs_token")
_CHANGE = Change("Synapse and the application service refuse each other until both have the new one.", "Restart Synapse, and it.")


def secret_name(name: str) -> str:
    """The Secret of an application service."""
    return f"application-service-{name}"


def registration(name: str, of: ApplicationServiceOptions, server_name: str) -> dict[str, Any]:
    """The registration file (https://spec.matrix.org/latest/application-service-api/#registration), with names of tokens for tokens."""
    host = re.escape(server_name)
    return {
        "id": name,
        "url": of.url,
        **{token: f"<{token}>" for token in _TOKENS},
        "sender_localpart": of.bot,
        "rate_limited": of.rate_limited,
        # Synapse 1.163 knows both names (synapse/config/appservice.py).
        "receive_ephemeral": of.ephemeral,
        "namespaces": {
            "users": [{"exclusive": True, "regex": f"@{pattern}:{host}"} for pattern in of.users],
            "aliases": [{"exclusive": True, "regex": f"#{pattern}:{host}"} for pattern in of.aliases],
            "rooms": [],
        },
    }


def registration_secret(name: str, of: ApplicationServiceOptions, server_name: str, namespace: str) -> tuple[SecretSpec, dict[str, Change]]:
    """The Secret with the registration, and what a change of it does. Nobody has to know the tokens but Synapse and the service."""
    if of.given:
        given = Given(f"The registration file of the application service {name}, which is at {of.url}")
        return SecretSpec(secret_name(name), namespace, {REGISTRATION: given}), {REGISTRATION: _CHANGE}
    text = yaml_text(registration(name, of, server_name)).replace("{", "{{").replace("}", "}}")
    for token in _TOKENS:
        text = text.replace(f"<{token}>", f"{{{token}}}")
    keys: dict[str, Recipe] = {**{token: RandomText(64) for token in _TOKENS}, REGISTRATION: Composed(text)}
    return SecretSpec(secret_name(name), namespace, keys), dict.fromkeys(_TOKENS, _CHANGE)


def pods_of(name: str, of: ApplicationServiceOptions) -> Pods | None:
    """The pods of one that is in the cluster."""
    return Pods(secret_name(name), of.pods.namespace, of.pods.labels) if of.pods else None


def way(name: str, of: ApplicationServiceOptions) -> Endpoint | External:
    """Where it is."""
    url = urlsplit(of.url)
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    pods = pods_of(name, of)
    if pods and of.pods:
        return Endpoint(pods, url.hostname or "", port, Port("http", of.pods.port or port))
    return External(APPLICATION_SERVICES, (port,), of.cidrs, public=not of.cidrs)
