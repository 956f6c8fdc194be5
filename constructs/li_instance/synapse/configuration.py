"""The configuration of the lawful-intercept instance's Synapse: main's, less all that speaks to others or changes something.

What services/li_sync/README.md asks of it ("LI's Synapse"), from main's own topology: a row of a stream names the instance that wrote it.
"""

from kit.quantities import Resources
from main_instance.synapse.configuration import Config, HomeserverSpec, homeserver_config, monolith_config
from main_instance.synapse.topology import MASTER, Topology
from main_instance.synapse.worker_type import Duty, Stream

MAIN_PROCESS = "main-master"
"""What main's main process is called here, where `master` is this instance's own."""
RESERVED_PREFIX = "li-"
"""How the names of officers' accounts begin, which exist on this instance alone."""
FOLLOWED = (Stream.EVENTS, Stream.RECEIPTS, Stream.ACCOUNT_DATA, Stream.PUSH_RULES, Stream.QUARANTINED_MEDIA)
"""The streams of main that are shown here. The others are this instance's own."""
_NOBODY = "nobody"
_NOWHERE = {"host": "127.0.0.1", "port": 1}


def li_config(spec: HomeserverSpec, main: Topology, resources: Resources) -> Config:
    """One file with all of it. `main`: who writes what on the main instance. `resources`: of the process."""
    alone = monolith_config(spec, resources, stores_media=False)
    writers = {stream.value: [MAIN_PROCESS if name == MASTER else name for name in main.writers[stream]] for stream in FOLLOWED}
    names = dict.fromkeys(name for of in writers.values() for name in of)
    return {
        **homeserver_config(spec),
        **alone,
        "presence": {"enabled": False},
        "push": {"enabled": False},
        # What main has censored is censored here too, since it is replicated: see homeserver.redaction_retention.
        "redaction_retention_period": None,
        # A repeated initial /sync would be answered from it for two minutes.
        "caches": {**alone["caches"], "sync_response_cache_duration": "0s"},
        "enable_set_displayname": False,
        "enable_set_avatar_url": False,
        # A writer of main has no address that answers, so that nothing here ever writes through main.
        "instance_map": {"main": _NOWHERE, **dict.fromkeys(names, _NOWHERE)},
        "stream_writers": writers,
        **{duty.value: [_NOBODY] if duty.takes_list else _NOBODY for duty in Duty},
    }
