"""Run by the Python that has Synapse: what Synapse's own parser makes of the command line of each process.

Each line of standard input is JSON, process name to arguments, and is answered by a line of standard output: process name to
`{"error": text}` or to what Synapse understood. One process reads them all: starting Synapse takes ten times as long as reading its files.
"""

import contextlib
import json
import sys
from typing import Any

from synapse.config._base import ConfigError
from synapse.config.homeserver import HomeServerConfig


def read(arguments: list[str]) -> dict[str, Any]:
    """Do what `python -m synapse.config` does, then say which role the process has."""
    try:
        config = HomeServerConfig.load_config("", arguments)
    except (ConfigError, SystemExit, TypeError) as error:
        return {"error": str(error)}
    worker = config.worker
    listeners = worker.worker_listeners if worker.worker_app else config.server.listeners
    return {
        "name": worker.instance_name,
        "ports": sorted(listener.port for listener in listeners),
        "media": config.media.can_load_media_repo,
        "calls_servers": worker.instance_name in worker.outbound_federation_restricted_to,
        "federates": config.federation.is_domain_allowed_according_to_federation_whitelist("other.example"),
        "instance_map": {name: (location.host, location.port) for name, location in worker.instance_map.items()},
        "writes": [stream for stream in vars(worker.writers) if worker.instance_name in getattr(worker.writers, stream)],
        "duties": [
            duty
            for duty, done in {
                "federation_sender_instances": worker.send_federation,
                "pusher_instances": worker.start_pushers,
                "run_background_tasks_on": worker.run_background_tasks,
                "notify_appservices_from_worker": worker.should_notify_appservices,
                "update_user_directory_from_worker": worker.should_update_user_directory,
            }.items()
            if done
        ],
    }


if __name__ == "__main__":
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # warnings of the parser
            answers = {name: read(arguments) for name, arguments in json.loads(line).items()}
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()
