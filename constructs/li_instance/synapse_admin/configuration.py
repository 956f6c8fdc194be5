"""Ketesa's config.json (https://github.com/etkecc/ketesa/blob/main/docs/config.md)."""

import json

from kit.network import Host


def client_config(host: Host) -> str:
    """It speaks to its own host alone, which leads to the proxy: browsers give no client certificate to another one."""
    config = {"restrictBaseUrl": f"https://{host.name}", "wellKnownDiscovery": False}
    return json.dumps(config, indent=2) + "\n"
