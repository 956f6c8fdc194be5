"""The tasks in Celery: what runs when, and what two queues keep apart.

The broker only carries names of tasks: no argument, no result. A task that is lost with it comes again with the schedule, one that comes twice
finds the first at work. What a run has done stands in its checkpoint.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.utils.log import get_task_logger

from services.li_sync.postgres import TASKS, Busy
from services.li_sync.run import explain, run_task
from services.li_sync.settings import Settings, read_settings
from services.li_sync.watch import NotPrepared

SETTINGS_VARIABLE = "LI_SYNC_SETTINGS"
DATABASE_QUEUE, MEDIA_QUEUE = "database", "media"
_MEDIA = ("mirror_media", "mirror_new_media")
_LONGEST_SECONDS = 7 * 24 * 3600

log = get_task_logger(__name__)


class Failed(Exception):  # noqa: N818 - what became of a task
    """A task has failed; what of stands in its checkpoint and in the log."""


def queue(task: str) -> str:
    """The queue of a task: hours of copying media hold up nothing else."""
    return MEDIA_QUEUE if task in _MEDIA else DATABASE_QUEUE


def beat_schedule(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """When each task comes by itself. One that has waited for longer than its interval is dropped: the next is there."""
    found: dict[str, Mapping[str, Any]] = {}
    for task in ("watch", "prepare", "verify", "mirror_new_media", "mirror_media"):
        seconds = getattr(settings.schedule, task)
        if seconds is not None:
            found[task] = {"task": name(task), "schedule": seconds, "options": {"queue": queue(task), "expires": seconds}}
    if settings.schedule.refresh is not None:
        when = crontab(*settings.schedule.refresh.split())
        found["refresh"] = {"task": name("refresh"), "schedule": when, "options": {"queue": queue("refresh"), "expires": 3600}}
    return found


def name(task: str) -> str:
    """What Celery calls a task."""
    return f"li_sync.{task}"


def make_app(settings: Settings) -> Celery:
    """The application. It reads the broker's password."""
    app = Celery("li_sync", broker=settings.broker.url())
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_default_queue=DATABASE_QUEUE,
        task_routes={name(task): {"queue": queue(task)} for task in TASKS},
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=1000,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Redis gives a message that is not acknowledged to another worker after this time: longer than any run.
        broker_transport_options={
            "visibility_timeout": _LONGEST_SECONDS,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
        },
        timezone="UTC",
        beat_schedule=beat_schedule(settings),
        beat_schedule_filename=str(settings.state / "beat"),
    )
    for task in TASKS:
        # Celery would give it to every other application of this process too, with these settings.
        app.task(name=name(task), shared=False)(_body(app, settings, task))
    return app


def _body(app: Celery, settings: Settings, task: str) -> Callable[[], None]:
    def body() -> None:
        try:
            facts = run_task(settings, task)
        except Busy as busy:
            log.info("%s", busy)
        except NotPrepared as missing:
            # A new instance: main may not be ready for it yet, so it is tried as often as is looked.
            app.send_task(name("prepare"), queue=queue("prepare"), expires=60, retry=False)
            log.info("%s", missing)
        except Exception as error:
            log.error("%s failed: %s", task, explain(error))
            # Not the error itself, whose text Celery would log.
            raise Failed(task) from None
        else:
            log.info("%s: %s", task, facts)

    body.__name__ = task
    return body


def app_of_environment() -> Celery:
    """The application by the settings that $LI_SYNC_SETTINGS names. Raises InvalidSettings."""
    return make_app(read_settings(Path(os.environ[SETTINGS_VARIABLE])))
