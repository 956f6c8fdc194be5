"""Sygnal's configuration file. Options: https://github.com/element-hq/sygnal/blob/main/sygnal.yaml.sample (0.17)."""

from collections import Counter
from typing import Any

from attrs import frozen

Config = dict[str, Any]

PORT = 5000
METRICS_PORT = 8000
CONFIG_FOLDER = "/etc/sygnal"
SECRETS_FOLDER = "/secrets/sygnal"
APNS_KEY = "apns.p8"


@frozen
class ApnsApp:
    """An app for Apple's devices. `topic`: its bundle id. `sandbox`: a development build, which Apple reaches by other servers."""

    app_id: str
    topic: str
    sandbox: bool = False


@frozen
class Apns:
    """The key by which a team pushes to its apps: `key_id` of ten characters, whose private half is the file `APNS_KEY`."""

    key_id: str
    team_id: str
    apps: tuple[ApnsApp, ...]


@frozen
class FcmApp:
    """An app that Firebase Cloud Messaging reaches. `project`: Firebase's project id, whose service account is in a file of its own."""

    app_id: str
    project: str

    @property
    def key_file(self) -> str:
        """The JSON key of the project's service account."""
        return f"fcm-{self.project}.json"


@frozen
class PushSpec:
    """The apps of a site. Raises ValueError without any, since Sygnal does not start then, and for an app id that comes twice."""

    apns: Apns | None = None
    fcm: tuple[FcmApp, ...] = ()

    def __attrs_post_init__(self) -> None:
        ids = [*(app.app_id for app in (self.apns.apps if self.apns else ())), *(app.app_id for app in self.fcm)]
        if not ids:
            raise ValueError("features.push: give at least one app in push.apns.apps, push.apns.sandbox_apps or push.fcm_apps")
        twice = sorted(app for app, count in Counter(ids).items() if count > 1)
        if twice:
            raise ValueError(f"push: {', '.join(twice)}: an app id stands for one app, on one platform")

    @property
    def key_files(self) -> dict[str, str]:
        """Name of each file in `SECRETS_FOLDER` to what it holds."""
        apns = {APNS_KEY: "Authentication key for the Apple Push Notification service: the .p8 file of push.apns.key_id"}
        fcm = {app.key_file: f"Key of a service account of the Firebase project {app.project}: a JSON file" for app in self.fcm}
        return (apns if self.apns and self.apns.apps else {}) | fcm


def sygnal_config(spec: PushSpec) -> Config:
    """sygnal.yaml. The credentials are in files of their own."""
    apps: Config = {}
    if spec.apns:
        for app in spec.apns.apps:
            apps[app.app_id] = {
                "type": "apns",
                "keyfile": f"{SECRETS_FOLDER}/{APNS_KEY}",
                "key_id": spec.apns.key_id,
                "team_id": spec.apns.team_id,
                "topic": app.topic,
                "platform": "sandbox" if app.sandbox else "production",
            }
    for fcm in spec.fcm:
        # Google no longer takes the keys of Sygnal's default, the legacy API.
        account = f"{SECRETS_FOLDER}/{fcm.key_file}"
        apps[fcm.app_id] = {"type": "gcm", "api_version": "v1", "project_id": fcm.project, "service_account_file": account}
    return {
        "http": {"bind_addresses": ["0.0.0.0"], "port": PORT},
        "metrics": {"prometheus": {"enabled": True, "address": "0.0.0.0", "port": METRICS_PORT}},
        "log": {
            "setup": {
                "version": 1,
                "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
                "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
                "root": {"level": "INFO", "handlers": ["console"]},
                "disable_existing_loggers": False,
            },
            "access": {"x_forwarded_for": False},
        },
        "apps": apps,
    }
