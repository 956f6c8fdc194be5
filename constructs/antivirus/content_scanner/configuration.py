"""The settings of matrix-content-scanner."""

from typing import Any

from kit.network import Port

HTTP = Port("http", 8080)
SECRETS, FILES = "/secrets/content-scanner", "/tmp/scan"


def settings(homeserver: str) -> dict[str, Any]:
    """Options: https://github.com/element-hq/matrix-content-scanner-python/blob/main/config.sample.yaml (1.4.1).

    `homeserver`: the URL of which files are downloaded.
    """
    return {
        "web": {"host": "0.0.0.0", "port": HTTP.number},
        "scan": {"script": "/usr/local/bin/scan", "temp_directory": FILES},
        "download": {"base_homeserver_url": homeserver},
        "crypto": {"request_secret_path": f"{SECRETS}/key"},
        # It keeps nothing: by default verdicts and files themselves, for a week, whatever signatures say meanwhile.
        "result_cache": {"exit_codes_to_ignore": [0, 1, 2], "max_size": 1, "ttl": "1s", "max_file_size": "1"},
    }
