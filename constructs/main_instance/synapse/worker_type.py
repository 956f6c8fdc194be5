"""What a type of Synapse worker is: the one record from which its configuration, routes and workload are derived."""

from enum import Enum
from typing import Any

from attrs import field, frozen


class Scaling(Enum):
    """How the number of instances of a worker type may change."""

    SINGLE = "single"
    """Exactly one: the software allows no second."""
    SHARDED = "sharded"
    """A static list: the shared configuration names each instance, so a change of the number is a change of every process."""
    ELASTIC = "elastic"
    """Free: nothing but the proxy knows the instances, so an autoscaler may change the number."""


class Stream(Enum):
    """The replication streams that a worker can write: the keys of Synapse's `stream_writers` (synapse/config/workers.py, WriterLocations)."""

    EVENTS = "events"
    TYPING = "typing"
    TO_DEVICE = "to_device"
    ACCOUNT_DATA = "account_data"
    RECEIPTS = "receipts"
    PRESENCE = "presence"
    PUSH_RULES = "push_rules"
    DEVICE_LISTS = "device_lists"
    QUARANTINED_MEDIA = "quarantined_media_changes"

    @property
    def single_writer(self) -> bool:
        """Whether Synapse refuses to start with more than one writer of this stream."""
        return self in {Stream.TYPING, Stream.TO_DEVICE, Stream.ACCOUNT_DATA, Stream.PRESENCE, Stream.PUSH_RULES}


class Duty(Enum):
    """Work that the shared configuration gives to named instances: the value is Synapse's configuration key."""

    SEND_FEDERATION = "federation_sender_instances"
    PUSH = "pusher_instances"
    BACKGROUND_TASKS = "run_background_tasks_on"
    APPLICATION_SERVICES = "notify_appservices_from_worker"
    USER_DIRECTORY = "update_user_directory_from_worker"
    MEDIA_BACKGROUND_JOBS = "media_instance_running_background_jobs"

    @property
    def takes_list(self) -> bool:
        """Whether the key holds a list of instances (sharded) or the name of one."""
        return self in {Duty.SEND_FEDERATION, Duty.PUSH}


class Listener(Enum):
    """The resources of a worker's public HTTP listener that a route needs (Synapse's listener resource names)."""

    CLIENT = "client"
    FEDERATION = "federation"
    MEDIA = "media"


class Balance(Enum):
    """Which requests of a worker type must meet on one instance."""

    NONE = "none"
    """Any instance: the least loaded one."""
    USER = "user"
    """All requests of a user (their access token)."""
    ROOM = "room"
    """All requests about a room: room id in the path; the user where the path names none."""
    CLIENT_ADDRESS = "client_address"
    """All requests from a client's address, as the trusted ingress reports it: for federation, the sending server."""
    URI = "uri"
    """Identical requests, so that an expensive answer is computed once."""
    MEDIA = "media"
    """All requests for a piece of media (server name and media id)."""


class When(Enum):
    """A condition on a request's query that a path pattern cannot express."""

    INITIAL_SYNC = "no since, or full_state=true"
    INITIAL_EVENTS = "no from"


class Work(Enum):
    """What some homeservers do and others do not: the worker types that are there for it alone are deployed with it."""

    FEDERATION = "federation"
    SINGLE_SIGN_ON = "single sign-on"
    """By Synapse itself."""
    AUTHENTICATION_SERVICE = "the Matrix Authentication Service"
    APPLICATION_SERVICES = "application services"
    NOTIFICATIONS = "push notifications and e-mails"


class Load(Enum):
    """How heavy an instance is beside the others: the scaling profile says what each class gets."""

    LIGHT = "light"
    MEDIUM = "medium"
    HEAVY = "heavy"


@frozen
class Route:
    """Requests that a worker type serves: a regular expression that is searched in the path, anchored where it says so.

    `methods`: empty for all. `federation`: only routed on a site that federates.
    """

    pattern: str
    methods: tuple[str, ...] = ()
    when: When | None = None
    federation: bool = False


@frozen
class WorkerType:
    """One type of worker. Everything that has to agree about it is derived from this record and from nothing else."""

    name: str
    """Also the StatefulSet's suffix: the instances of `receipts` are called `receipts-0`, `receipts-1`, ..."""
    summary: str
    """One sentence for the documentation's table."""
    scaling: Scaling
    writes: tuple[Stream, ...] = ()
    duties: tuple[Duty, ...] = ()
    routes: tuple[Route, ...] = ()
    """Searched in the order of `WORKER_TYPES`, then in this order; the first match wins."""
    only_for: Work | None = None
    """What it is there for; None: every homeserver has it."""
    listeners: tuple[Listener, ...] = (Listener.CLIENT,)
    balance: Balance = Balance.NONE
    fallback: str | None = None
    """The worker type (or `main`) that takes this one's requests while no instance is alive; None: the proxy answers 503 at once,
    because no other process could serve them (a writer's routes are exclusive)."""
    load: Load = Load.LIGHT
    settings: dict[str, Any] = field(factory=dict, hash=False)
    """Top-level keys of this worker's own configuration file, beyond its name and listeners."""
    max_connections: int = 500
    """Concurrent requests that all proxies together send to one instance; more wait in their queues."""
    grows: bool = True
    """Whether more users make so much more work that an autoscaler is of use, where the type is elastic."""
    queue_timeout_seconds: int = 60
    server_timeout_seconds: int = 180
    termination_grace_seconds: int = 60

    def __attrs_post_init__(self) -> None:
        for stream in self.writes:
            if stream.single_writer and self.scaling is not Scaling.SINGLE:
                raise ValueError(
                    f"{self.name}: Synapse allows one writer of the stream {stream.value}, so the type must be {Scaling.SINGLE.name}"
                )
        if self.scaling is Scaling.ELASTIC and (self.writes or self.duties):
            raise ValueError(f"{self.name}: the shared configuration names its instances, so an autoscaler must not change their number")

    @property
    def autoscaled(self) -> bool:
        """Whether an autoscaler sets the number of its instances."""
        return self.scaling is Scaling.ELASTIC and self.grows

    @property
    def replicates(self) -> bool:
        """Whether other processes call its instances: it then has a replication listener and entries in `instance_map`.

        They call senders of federation to have requests to other servers passed on, which come in at any listener (synapse/http/site.py).
        """
        return bool(self.writes) or Duty.SEND_FEDERATION in self.duties

    def instances(self, count: int) -> tuple[str, ...]:
        """The names of `count` instances: worker name, pod name and instance name are one."""
        return tuple(f"{self.name}-{ordinal}" for ordinal in range(count))
