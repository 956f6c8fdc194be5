"""Alertmanager as configuration: whom it tells, how often, and which alerts are but the effect of another one. Pure functions."""

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from kit.monitoring import Alert
from monitoring.options import AlertOptions, Mail, Webhook

WATCHDOG = "Watchdog"
"""The alert that is always on: when it does not arrive, alerting is broken."""
SECRET = "alert-receivers"
"""The Secret that the site's operator fills."""
SECRETS = f"/secrets/{SECRET}"
PASSWORD, WEBHOOK_URL, WATCHDOG_URL = "smtp-password", "webhook-url", "watchdog-url"
AUTHORITIES, AUTHORITY = "/secrets/authorities", "ca.crt"
"""Where the authorities of receivers are, each in a folder called like its Secret."""
_SUBMISSION = 587


@frozen
class AlertmanagerSpec:
    """`told`: who hears of `alerts`."""

    told: AlertOptions
    alerts: tuple[Alert, ...]


def secret_keys(told: AlertOptions) -> dict[str, str]:
    """The keys of the Secret that the site's operator fills, and what each is."""
    keys = {}
    if told.mail and told.mail.user:
        keys[PASSWORD] = f"The password of {told.mail.user} on the mail server {told.mail.server}."
    if told.webhook:
        keys[WEBHOOK_URL] = f"The URL to which alerts are posted, on {told.webhook.server}."
    if told.watchdog:
        keys[WATCHDOG_URL] = f"The URL to which something is posted every minute, on {told.watchdog.server}."
    return keys


def authorities(told: AlertOptions) -> tuple[str, ...]:
    """The Secrets with authorities of those who are told, each once."""
    receivers = (told.mail, told.webhook, told.watchdog)
    return tuple(dict.fromkeys(receiver.ca_secret for receiver in receivers if receiver and receiver.ca_secret))


def address(server: str, usual: int) -> tuple[str, int]:
    """Host and port of a server."""
    host, _, port = server.partition(":")
    return host, int(port or usual)


def configuration(spec: AlertmanagerSpec) -> dict[str, Any]:
    """alertmanager.yaml."""
    told = spec.told
    people: dict[str, Any] = {"name": "people"}
    if told.mail:
        people["email_configs"] = [_email(told.mail)]
    if told.webhook:
        people["webhook_configs"] = [_webhook(told.webhook, WEBHOOK_URL, resolved=True)]
    watchdog: dict[str, Any] = {"name": "watchdog"}
    if told.watchdog:
        watchdog["webhook_configs"] = [_webhook(told.watchdog, WATCHDOG_URL, resolved=False)]
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": "people",
            "group_by": ["alertname", "namespace"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "24h",
            "routes": [
                {
                    "matchers": [f'alertname="{WATCHDOG}"'],
                    "receiver": "watchdog",
                    "group_wait": "0s",
                    # It posts again when it looks at a group and this much is over since its last post was answered (notify/dedup_stage.go), so
                    # every second time: once a minute.
                    "group_interval": "30s",
                    "repeat_interval": "45s",
                },
                {"matchers": ['severity="critical"'], "receiver": "people", "repeat_interval": "4h"},
            ],
        },
        "inhibit_rules": [_inhibition(alert) for alert in spec.alerts if alert.causes],
        "receivers": [people, watchdog],
    }


def _inhibition(alert: Alert) -> dict[str, Any]:
    return {
        "source_matchers": [f'alertname="{alert.name}"'],
        "target_matchers": [f'alertname=~"{_any(alert.causes)}"'],
        # What one instance lacks is no reason for what another does.
        "equal": ["namespace"],
    }


def _any(names: Iterable[str]) -> str:
    return "|".join(names)


def _email(mail: Mail) -> dict[str, Any]:
    host, port = address(mail.server, _SUBMISSION)
    login = {"auth_username": mail.user, "auth_password_file": f"{SECRETS}/{PASSWORD}"} if mail.user else {}
    return {
        "to": ", ".join(mail.to),
        "from": mail.sender,
        "smarthost": f"{host}:{port}",
        "require_tls": True,
        "send_resolved": True,
        **login,
        **_tls(mail.ca_secret),
    }


def _webhook(hook: Webhook, key: str, *, resolved: bool) -> dict[str, Any]:
    # A redirection would lead past the policy, and would take what is secret in the URL along.
    http = {"follow_redirects": False, **_tls(hook.ca_secret)}
    return {"url_file": f"{SECRETS}/{key}", "send_resolved": resolved, "http_config": http}


def _tls(ca_secret: str | None) -> dict[str, Any]:
    return {"tls_config": {"ca_file": f"{AUTHORITIES}/{ca_secret}/{AUTHORITY}"}} if ca_secret else {}
