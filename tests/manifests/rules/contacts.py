"""Whom a client is told to contact: every host name in what the platform hands out, with what programs put in where a file is silent."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.manifests.rules.objects import strings

# apps/web/src/SdkConfig.ts of Element Web 1.12, DEFAULTS: what it uses where config.json says nothing.
ELEMENT: Mapping[str, Any] = {
    "branding": {"logo_link_url": "https://element.io"},
    "help_url": "https://element.io/help",
    "help_encryption_url": "https://element.io/help#encryption",
    "help_key_storage_url": "https://element.io/help#encryption5",
    "integrations_ui_url": "https://scalar.vector.im/",
    "integrations_rest_url": "https://scalar.vector.im/api",
    "jitsi": {"preferred_domain": "https://meet.element.io"},
    "desktop_builds": {"available": True, "url": "https://element.io/download"},
    "mobile_builds": {"ios": "https://apps.apple.com/", "android": "https://play.google.com/", "fdroid": "https://f-droid.org/"},
    "feedback": {"existing_issues_url": "https://github.com/", "new_issue_url": "https://github.com/"},
}
# pkg/rtcconfig/config.go of github.com/livekit/mediatransportutil, DefaultStunServers.
LIVEKIT = ("global.stun.twilio.com", "stun.l.google.com")

_HOST = re.compile(r"(?:(?:https?|wss?)://|(?:turns?|stun):)([^/:?#\"]+)")


def contacts(files: Mapping[str, str]) -> set[tuple[str, str]]:
    """File and host. `files`: what is rendered, by its path below `dist/base`."""
    return {(path, host) for path, text in files.items() for host in _named(path, text)}


def _named(path: str, text: str) -> Iterator[str]:
    folder, _, name = path.removeprefix("config/").partition("/")
    if folder == "element-web" and name == "config.json":
        yield from _hosts(_effective(json.loads(text)))
    elif folder == "haproxy" and name.startswith("well-known-"):
        answer = json.loads(text)
        yield from _hosts({key: value for key, value in answer.items() if key != "m.server"})
        if "m.server" in answer:
            yield answer["m.server"].partition(":")[0]
    elif folder == "synapse" and name == "homeserver.yaml":
        config = yaml.safe_load(text)
        yield from _hosts({key: config.get(key) for key in ("public_baseurl", "turn_uris", "matrix_rtc")})
    elif folder == "livekit" and name == "config.yaml":
        rtc = yaml.safe_load(text)["rtc"]
        asked = [*(server["host"] for server in rtc.get("turn_servers", ())), *rtc.get("stun_servers", ())]
        yield from (server.partition(":")[0] for server in asked or LIVEKIT)
    elif folder == "matrix-authentication-service" and name == "config.yaml":
        yield from _hosts({key: yaml.safe_load(text)["http"].get(key) for key in ("public_base", "issuer")})


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """Element's configuration with its defaults, without what is switched off."""
    found = {key: {**value, **(config.get(key) or {})} if isinstance(value, dict) else value for key, value in ELEMENT.items()}
    found |= {key: value for key, value in config.items() if not isinstance(ELEMENT.get(key), dict)}
    if not found["desktop_builds"].pop("available"):
        del found["desktop_builds"]
    if not config["setting_defaults"]["UIFeature.feedback"]:
        del found["feedback"]
    domain = found["jitsi"]["preferred_domain"]
    found["jitsi"] = domain if "://" in domain else f"https://{domain}"
    return found


def _hosts(value: Any) -> Iterator[str]:
    for _, text in strings(value):
        yield from _HOST.findall(text)
