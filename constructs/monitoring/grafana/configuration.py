"""Grafana as configuration: how it behaves, where it asks, and where its dashboards are. Pure functions.

Options: conf/defaults.ini of Grafana, and https://grafana.com/docs/grafana/latest/administration/provisioning/
"""

from collections.abc import Mapping
from typing import Any

from monitoring.grafana.board import Source
from monitoring.loki.configuration import PLATFORM, TENANT_HEADER

DASHBOARDS = "/etc/dashboards"
SECRETS = "/secrets/grafana"
PORT = 3000


def grafana_ini(host: str | None) -> str:
    """grafana.ini. `host`: under which it is published; without one it is reached through a forwarded port."""
    sections: dict[str, dict[str, str]] = {
        "server": {"http_port": str(PORT), "root_url": f"https://{host}/" if host else f"http://localhost:{PORT}/"},
        "security": {
            "admin_user": "admin",
            "admin_password": f"$__file{{{SECRETS}/password}}",
            "secret_key": f"$__file{{{SECRETS}/secret-key}}",
            "cookie_secure": "true" if host else "false",
            "cookie_samesite": "strict",
            "content_security_policy": "true",
            # It would ask a server of others for the pictures of people.
            "disable_gravatar": "true",
        },
        "auth.anonymous": {"enabled": "false"},
        "users": {"allow_sign_up": "false", "allow_org_create": "false"},
        "dashboards": {"default_home_dashboard_path": f"{DASHBOARDS}/system-overview.json"},
        # Alertmanager tells people; what Grafana would be told to watch would be gone with its pod.
        "unified_alerting": {"enabled": "false"},
        # Nothing leaves the cluster, and nothing is fetched.
        "analytics": {
            "reporting_enabled": "false",
            "check_for_updates": "false",
            "check_for_plugin_updates": "false",
            "feedback_links_enabled": "false",
        },
        "news": {"news_feed_enabled": "false"},
        "plugins": {"preinstall_disabled": "true", "plugin_admin_enabled": "false"},
        "snapshots": {"external_enabled": "false"},
        "public_dashboards": {"enabled": "false"},
        "metrics": {"enabled": "true"},
        "log": {"mode": "console", "level": "warn"},
        "log.console": {"format": "json"},
    }
    return "\n".join(_section(name, options) for name, options in sections.items())


def _section(name: str, options: Mapping[str, str]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())


def datasources(prometheus: str, loki: str, interval_seconds: int) -> dict[str, Any]:
    """The provisioned datasources. `interval_seconds`: between two measurements, from which Grafana tells how far back a rate must look."""
    metrics: dict[str, Any] = {"timeInterval": f"{interval_seconds}s", "httpMethod": "POST"}
    # The tenant of audits has no datasource.
    logs: dict[str, Any] = {"httpHeaderName1": TENANT_HEADER, "maxLines": 1000}
    return {
        "apiVersion": 1,
        "prune": True,
        "datasources": [
            _datasource("Prometheus", Source.METRICS, prometheus, isDefault=True, jsonData=metrics),
            # No secret: who can reach Loki can say whose lines it wants.
            _datasource("Loki", Source.LOGS, loki, jsonData=logs, secureJsonData={"httpHeaderValue1": PLATFORM}),
        ],
    }


def _datasource(name: str, source: Source, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": source.value, "uid": source.value, "access": "proxy", "url": url, "editable": False, **more}


def dashboard_provider() -> dict[str, Any]:
    """Where the dashboards are: nobody changes them in Grafana."""
    provider = {
        "name": "matrix",
        "type": "file",
        "folder": "Matrix",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "options": {"path": DASHBOARDS},
    }
    return {"apiVersion": 1, "providers": [provider]}
