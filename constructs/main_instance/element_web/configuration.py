"""The files of Element Web: its config.json, and the nginx.conf by which its static files are served. Written for Element Web 1.12.

Options: https://github.com/element-hq/element-web/blob/develop/docs/config.md, apps/web/src/IConfigOptions.ts and SdkConfig.ts (defaults).
"""

import json
from enum import StrEnum
from typing import Any

from attrs import frozen

from kit.files import rendered

Config = dict[str, Any]

FOLDER = "/etc/element-web"
PORT = 8080


class Theme(StrEnum):
    """What users see who have chosen no theme; `system`: what their device prefers."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@frozen
class ClientSpec:
    """What Element Web must know of its site.

    `url`: where it is itself; `homeserver`: base URL of the client API; `help_url`: None for Element's own pages.
    `custom_homeservers`: whether people may use it with other homeservers. `login_elsewhere`: accounts are managed by another service.
    """

    url: str
    homeserver: str
    server_name: str
    brand: str = "Element"
    theme: Theme = Theme.SYSTEM
    help_url: str | None = None
    custom_homeservers: bool = False
    registration: bool = False
    federation: bool = False
    calls: bool = False
    login_elsewhere: bool = False


def client_config(spec: ClientSpec) -> Config:
    """config.json: nothing is reported to, or fetched from, anybody but the homeserver."""
    config: Config = {
        # No `m.identity_server`: nobody is told of users' addresses.
        "default_server_config": {"m.homeserver": {"base_url": spec.homeserver, "server_name": spec.server_name}},
        "brand": spec.brand,
        "disable_custom_urls": not spec.custom_homeservers,
        "disable_guests": True,
        # The homeserver sends no e-mail, so it knows no addresses to log in by.
        "disable_3pid_login": True,
        # Unset, these would be Element's integration manager.
        "integrations_ui_url": None,
        "integrations_rest_url": None,
        "element_call": {"use_exclusively": True} if spec.calls else {"disable": True},
        "features": {"feature_group_calls": spec.calls},
        "setting_defaults": _settings(spec),
    }
    if spec.theme is not Theme.SYSTEM:
        config["default_theme"] = spec.theme.value
    if spec.help_url:
        config |= dict.fromkeys(("help_url", "help_encryption_url", "help_key_storage_url"), spec.help_url)
    if not spec.federation:
        # Links to rooms and people stay here, instead of going by matrix.to.
        config["permalink_prefix"] = spec.url
    return config


def _settings(spec: ClientSpec) -> Config:
    own_accounts = not spec.login_elsewhere
    return {
        # Without calls, neither those between two nor Jitsi's (meet.element.io) are offered.
        "UIFeature.voip": spec.calls,
        "UIFeature.registration": spec.registration and own_accounts,
        # It would be by e-mail.
        "UIFeature.passwordReset": False,
        "UIFeature.deactivate": own_accounts,
        "UIFeature.identityServer": False,
        "UIFeature.thirdPartyId": False,
        # Reports of bugs and opinions go to Element; maps come from MapTiler; the others are other companies' networks.
        "UIFeature.feedback": False,
        "UIFeature.locationSharing": False,
        "UIFeature.shareSocial": False,
        # The theme of the device goes before `default_theme` (ThemeWatcher.ts).
        **({} if spec.theme is Theme.SYSTEM else {"use_system_theme": False}),
    }


def files(spec: ClientSpec) -> dict[str, str]:
    """The files in `FOLDER` by name."""
    return {
        "config.json": json.dumps(client_config(spec), indent=2) + "\n",
        "nginx.conf": rendered(__package__, "nginx.conf", folder=FOLDER, port=PORT),
    }
