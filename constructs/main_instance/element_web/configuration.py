"""The files of Element Web: its config.json, and the nginx.conf by which its static files are served. Written for Element Web 1.12.

Options: https://github.com/element-hq/element-web/blob/develop/docs/config.md, apps/web/src/IConfigOptions.ts and SdkConfig.ts (defaults).
"""

import json
from typing import Any

from attrs import frozen

from kit.files import rendered
from kit.merging import with_extra
from kit.network import Host
from main_instance.element_web.options import ElementOptions, Theme
from main_instance.synapse.options import RegistrationOptions

Config = dict[str, Any]

INTERCEPTION = "LAWFUL INTERCEPTION"
# https://github.com/element-hq/element-web/blob/develop/docs/theming.md, Custom Themes
INTERCEPTION_THEME: Config = {
    "name": INTERCEPTION,
    "is_dark": True,
    "colors": {
        "accent-color": "#ffd000",
        "primary-color": "#ffd000",
        "warning-color": "#ff5b55",
        "sidebar-color": "#5c0a0a",
        "roomlist-background-color": "#7a1010",
        "roomlist-text-color": "#ffffff",
        "roomlist-text-secondary-color": "#ffd9d9",
        "roomlist-highlights-color": "#5c0a0a",
        "roomlist-separator-color": "#a33a3a",
        "timeline-background-color": "#2b0505",
        "timeline-text-color": "#ffffff",
        "timeline-text-secondary-color": "#ffd9d9",
        "timeline-highlights-color": "#4a0909",
    },
}
_USE = {
    "brand": "element.brand",
    "default_theme": "element.theme",
    "disable_custom_urls": "element.custom_homeservers",
    "element_call": "features.calls",
    "help_url": "element.help_url",
    "setting_defaults.UIFeature.registration": "registration.enabled",
    "setting_defaults.UIFeature.voip": "features.calls",
}
"""Options of Element Web to the option of the site that sets each."""

FOLDER = "/etc/element-web"
PORT = 8080


@frozen
class ElementWebSpec:
    """What Element Web must know of its site, at whose `host` it is.

    `homeserver`: base URL of the client API. `registration`: whether people may sign up at the homeserver. `login_elsewhere`: accounts are
    managed by another service.
    """

    options: ElementOptions
    host: Host
    homeserver: str
    server_name: str
    registration: RegistrationOptions
    federation: bool = False
    calls: bool = False
    login_elsewhere: bool = False
    interception: bool = False
    """Whether it is the client of officers, which nobody may take for that of users."""
    mail: bool = False
    """Whether the homeserver sends mail, so that people can have addresses there."""


def client_config(spec: ElementWebSpec) -> Config:
    """config.json: nothing is reported to, or fetched from, anybody but the homeserver.

    Raises OptionError when the site's own options set what is set here.
    """
    options = spec.options
    config: Config = {
        # No `m.identity_server`: nobody is told of users' addresses.
        "default_server_config": {"m.homeserver": {"base_url": spec.homeserver, "server_name": spec.server_name}},
        "brand": options.brand,
        "disable_custom_urls": not options.custom_homeservers,
        "disable_guests": True,
        # Without mail the homeserver knows no addresses to log in by.
        "disable_3pid_login": not spec.mail,
        # Unset, these would be Element's integration manager.
        "integrations_ui_url": None,
        "integrations_rest_url": None,
        # Unset, these too would lead to Element, to shops of apps and to Jitsi.
        "branding": {"logo_link_url": f"https://{spec.host.name}"},
        "jitsi": {"preferred_domain": spec.host.name},
        "desktop_builds": {"available": False},
        "mobile_builds": {"ios": None, "android": None, "fdroid": None},
        **dict.fromkeys(("help_url", "help_encryption_url", "help_key_storage_url"), options.help_url or f"https://{spec.host.name}"),
        "element_call": {"use_exclusively": True} if spec.calls else {"disable": True},
        "features": {"feature_group_calls": spec.calls},
        "setting_defaults": _settings(spec),
    }
    if spec.interception:
        config |= {"brand": INTERCEPTION, "default_theme": f"custom-{INTERCEPTION}"}
    elif options.theme is not Theme.SYSTEM:
        config["default_theme"] = options.theme.value
    if not spec.federation:
        # Links to rooms and people stay here, instead of going by matrix.to.
        config["permalink_prefix"] = f"https://{spec.host.name}"
    return with_extra(config, options.config, "element.config", _USE)


def _settings(spec: ElementWebSpec) -> Config:
    own_accounts = not spec.login_elsewhere
    return {
        # Without calls, neither those between two nor Jitsi's (meet.element.io) are offered.
        "UIFeature.voip": spec.calls,
        "UIFeature.registration": spec.registration.enabled and own_accounts,
        "UIFeature.passwordReset": spec.mail and own_accounts,
        "UIFeature.deactivate": own_accounts,
        "UIFeature.identityServer": False,
        "UIFeature.thirdPartyId": spec.mail and own_accounts,
        # Reports of bugs and opinions go to Element; maps come from MapTiler; the others are other companies' networks.
        "UIFeature.feedback": False,
        "UIFeature.locationSharing": False,
        "UIFeature.shareSocial": False,
        # The theme of the device goes before `default_theme` (ThemeWatcher.ts).
        **({} if spec.options.theme is Theme.SYSTEM and not spec.interception else {"use_system_theme": False}),
        **({"custom_themes": [INTERCEPTION_THEME]} if spec.interception else {}),
    }


def files(spec: ElementWebSpec) -> dict[str, str]:
    """The files in `FOLDER` by name."""
    theme = {"custom-theme.json": json.dumps(INTERCEPTION_THEME, indent=2) + "\n"} if spec.interception else {}
    banner = INTERCEPTION if spec.interception else ""
    return {
        "config.json": json.dumps(client_config(spec), indent=2) + "\n",
        "nginx.conf": rendered(__package__, "nginx.conf", folder=FOLDER, port=PORT, banner=banner),
        **theme,
    }
