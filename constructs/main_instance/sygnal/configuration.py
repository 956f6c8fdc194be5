"""Sygnal's configuration file. Options: https://github.com/element-hq/sygnal/blob/main/sygnal.yaml.sample (0.17)."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kit.options import OptionError
from main_instance.sygnal.options import Apns, PushOptions

Config = dict[str, Any]

PORT = 5000
METRICS_PORT = 8000
CONFIG_FOLDER = "/etc/sygnal"
SECRETS_FOLDER = "/secrets/sygnal"
APNS_KEY = "apns.p8"


def key_files(options: PushOptions) -> dict[str, str]:
    """Name of each file in `SECRETS_FOLDER` to what it holds."""
    apns = {APNS_KEY: "Authentication key for the Apple Push Notification service: the .p8 file of push.apns.key_id"}
    fcm = {_fcm_key(project): f"Key of a service account of the Firebase project {project}: a JSON file" for _, project in options.fcm_apps}
    return (apns if options.apns and (options.apns.apps or options.apns.sandbox_apps) else {}) | fcm


def sygnal_config(options: PushOptions) -> Config:
    """sygnal.yaml. The credentials are in files of their own.

    Raises OptionError without any app, since Sygnal does not start then, and for an app id that comes twice.
    """
    apps = [*_apns_apps(options.apns), *_fcm_apps(options)]
    if not apps:
        raise OptionError("features.push", "give at least one app in push.apns.apps, push.apns.sandbox_apps or push.fcm_apps")
    twice = sorted(app for app, count in Counter(app for app, _ in apps).items() if count > 1)
    if twice:
        raise OptionError("push", f"{', '.join(twice)}: an app id stands for one app, on one platform")
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
        "apps": dict(apps),
    }


def _apns_apps(apns: Apns | None) -> Iterator[tuple[str, Config]]:
    if apns is None:
        return
    for platform, apps in (("production", apns.apps), ("sandbox", apns.sandbox_apps)):
        for app, topic in apps:
            yield (
                app,
                {
                    "type": "apns",
                    "keyfile": f"{SECRETS_FOLDER}/{APNS_KEY}",
                    "key_id": apns.key_id,
                    "team_id": apns.team_id,
                    "topic": topic,
                    "platform": platform,
                },
            )


def _fcm_apps(options: PushOptions) -> Iterator[tuple[str, Config]]:
    for app, project in options.fcm_apps:
        # Google no longer takes the keys of Sygnal's default, the legacy API.
        account = f"{SECRETS_FOLDER}/{_fcm_key(project)}"
        yield app, {"type": "gcm", "api_version": "v1", "project_id": project, "service_account_file": account}


def _fcm_key(project: str) -> str:
    """The file with the JSON key of a project's service account."""
    return f"fcm-{project}.json"
