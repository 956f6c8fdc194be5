"""The status page, its API, and the metrics: what the checkpoints say and how the replication is at this moment. It changes nothing.

Everything that it shows may be read by whoever may see the page: no names of people, no contents, no secrets.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from attrs import define, field, frozen
from flask import Flask, Response, jsonify, render_template
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.li_sync.checkpoint import Checkpoint, Checkpoints
from services.li_sync.postgres import TASKS, connect, tasks_at_work, value
from services.li_sync.run import explain
from services.li_sync.settings import InvalidSettings, Settings, read_settings
from services.li_sync.subscription import Slot, Subscription, read_slot, read_subscription

_FRESH_SECONDS = 5.0
_SIZES = {
    "kept_bytes": "Log that main keeps for LI",
    "lag_bytes": "Log that LI has not confirmed",
    "safe_bytes": "What main may still write before the slot is lost",
}


@frozen
class Observation:
    """Both databases at one moment. None: could not be asked."""

    subscription: Subscription | None
    slot: Slot | None
    main_position: str | None
    at_work: frozenset[str] | None
    problems: tuple[str, ...]


@define
class Observer:
    """Asks the databases, not more often than every few seconds, however often it is asked."""

    settings: Settings
    lock: threading.Lock = field(factory=threading.Lock)
    last: Observation | None = None
    at: float = 0.0

    def observe(self) -> Observation:
        """The last observation, if it is fresh, or a new one."""
        with self.lock:
            if self.last is None or time.monotonic() - self.at > _FRESH_SECONDS:
                self.last, self.at = observe(self.settings), time.monotonic()
            return self.last


def observe(settings: Settings) -> Observation:
    """Ask both databases now."""
    subscription, slot, position, at_work, problems = None, None, None, None, []
    try:
        with connect(settings.li.owner, statement_seconds=5, read_only=True) as li:
            subscription = read_subscription(li, settings.subscription.name)
        at_work = frozenset(tasks_at_work(settings))
        if subscription is None:
            problems.append("LI has no subscription: run prepare")
        elif not subscription.enabled:
            problems.append("LI's subscription is off")
        elif not subscription.working:
            problems.append("LI's subscription has no worker")
    except (psycopg.Error, InvalidSettings) as error:
        problems.append(f"LI's database: {explain(error)}")
    try:
        with connect(settings.main.replication, statement_seconds=5, read_only=True) as main:
            position = str(value(main, "SELECT pg_current_wal_lsn()::text"))
            slot = read_slot(main, subscription.slot) if subscription and subscription.slot else None
        if subscription and slot is None:
            problems.append("main has no replication slot for LI: run rebuild")
        elif slot and slot.lost:
            problems.append("LI's replication slot on main is lost: run rebuild")
    except (psycopg.Error, InvalidSettings) as error:
        problems.append(f"main's database: {explain(error)}")
    return Observation(subscription, slot, position, at_work, tuple(problems))


def task_status(name: str, checkpoint: Checkpoint | None, at_work: frozenset[str] | None) -> dict[str, Any]:
    """One task for the API."""
    if checkpoint is None:
        return {"task": name, "state": "never run", "error": "", "step": "", "succeeded_at": None, "seconds": None, "facts": {}}
    interrupted = checkpoint.state == "running" and at_work is not None and name not in at_work
    return {
        "task": name,
        "state": "interrupted" if interrupted else checkpoint.state,
        "error": checkpoint.error if checkpoint.state == "failed" else "",
        "step": checkpoint.step,
        "started_at": _time(checkpoint.started),
        "finished_at": _time(checkpoint.finished),
        "succeeded_at": _time(checkpoint.succeeded),
        "seconds": checkpoint.seconds,
        "runs": checkpoint.runs,
        "failures": checkpoint.failures,
        "interruptions": checkpoint.interruptions,
        "facts": dict(checkpoint.facts),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def status(settings: Settings, seen: Observation) -> dict[str, Any]:
    """Everything, for the API."""
    tasks = [task_status(task, Checkpoints(settings.state).read(task), seen.at_work) for task in TASKS]
    problems = [*seen.problems, *(f"{task['task']}: {task['error']}" for task in tasks if task["state"] == "failed")]
    problems += [f"{task['task']} was interrupted" for task in tasks if task["state"] == "interrupted"]
    replication: dict[str, Any] = {"main_position": seen.main_position}
    if seen.subscription:
        replication |= {
            "enabled": seen.subscription.enabled,
            "working": seen.subscription.working,
            "apply_errors": seen.subscription.apply_errors,
            "copy_errors": seen.subscription.copy_errors,
            "conflicts": seen.subscription.conflicts,
            "tables": seen.subscription.tables,
            "tables_copying": seen.subscription.tables_copying,
        }
    if seen.slot:
        replication |= {
            "slot": seen.subscription.slot if seen.subscription else None,
            "slot_active": seen.slot.active,
            "slot_wal_status": seen.slot.wal_status,
            "slot_failover": seen.slot.failover,
            "confirmed_position": seen.slot.confirmed,
            "lag_bytes": seen.slot.lag_bytes,
            "kept_bytes": seen.slot.kept_bytes,
            "safe_bytes": seen.slot.safe_bytes,
        }
    return {"well": not problems, "problems": problems, "replication": replication, "tasks": tasks}


def metrics(settings: Settings, seen: Observation) -> Iterator[Metric]:
    """The same as metrics."""
    gauges: dict[str, tuple[str, float]] = {"up_li_database": ("Whether LI's database answers", float(seen.at_work is not None))}
    gauges["up_main_database"] = ("Whether main's database answers", float(seen.main_position is not None))
    if seen.subscription:
        gauges["subscription_enabled"] = ("Whether LI's subscription is on", float(seen.subscription.enabled))
        gauges["subscription_working"] = ("Whether its worker runs", float(seen.subscription.working))
        gauges["subscription_tables_copying"] = ("Tables whose initial copy is not whole", float(seen.subscription.tables_copying))
    if seen.slot:
        gauges["slot_active"] = ("Whether LI is connected to its slot on main", float(seen.slot.active))
        gauges["slot_lost"] = ("Whether main has thrown away what LI needs", float(seen.slot.lost))
        gauges |= {f"slot_{name}": (what, float(getattr(seen.slot, name))) for name, what in _SIZES.items()}
    for name, (what, number) in gauges.items():
        yield GaugeMetricFamily(f"li_sync_{name}", what, number)
    if seen.subscription:
        errors = CounterMetricFamily("li_sync_subscription_errors", "Errors of the subscription", labels=["kind"])
        for kind, count in (
            ("apply", seen.subscription.apply_errors),
            ("copy", seen.subscription.copy_errors),
            ("conflict", seen.subscription.conflicts),
        ):
            errors.add_metric([kind], count)
        yield errors
    yield from _task_metrics({task: Checkpoints(settings.state).read(task) for task in TASKS}, seen.at_work)


def _task_metrics(found: Mapping[str, Checkpoint | None], at_work: frozenset[str] | None) -> Iterator[Metric]:
    failed = GaugeMetricFamily("li_sync_task_failed", "Whether the last run failed or was interrupted", labels=["task"])
    running = GaugeMetricFamily("li_sync_task_running", "Whether it is at work", labels=["task"])
    succeeded = GaugeMetricFamily("li_sync_task_success_timestamp_seconds", "When it last succeeded", labels=["task"])
    seconds = GaugeMetricFamily("li_sync_task_duration_seconds", "How long that took", labels=["task"])
    counts = {
        "runs": CounterMetricFamily("li_sync_task_runs", "Runs that have begun", labels=["task"]),
        "failures": CounterMetricFamily("li_sync_task_failures", "Runs that have failed", labels=["task"]),
        "interruptions": CounterMetricFamily("li_sync_task_interruptions", "Runs that were killed", labels=["task"]),
    }
    for task, checkpoint in found.items():
        running.add_metric([task], float(task in (at_work or ())))
        if checkpoint:
            interrupted = checkpoint.state == "running" and at_work is not None and task not in at_work
            failed.add_metric([task], float(checkpoint.state == "failed" or interrupted))
            if checkpoint.succeeded is not None:
                succeeded.add_metric([task], checkpoint.succeeded)
                seconds.add_metric([task], checkpoint.seconds or 0.0)
            for name, family in counts.items():
                family.add_metric([task], getattr(checkpoint, name))
    yield from (failed, running, succeeded, seconds, *counts.values())
    if (verified := found.get("verify")) and "delay_seconds" in verified.facts:
        yield GaugeMetricFamily(
            "li_sync_replication_delay_seconds", "How long LI took to reach main's position", verified.facts["delay_seconds"]
        )
    if (mirrored := found.get("mirror_media")) and "objects" in mirrored.facts:
        yield GaugeMetricFamily("li_sync_media_objects", "Objects that LI has", mirrored.facts["objects"])
        yield GaugeMetricFamily("li_sync_media_bytes", "Their size", mirrored.facts["bytes"])


class _Collector:
    def __init__(self, settings: Settings, observer: Observer) -> None:
        self.settings, self.observer = settings, observer

    def collect(self) -> Iterator[Metric]:
        return metrics(self.settings, self.observer.observe())


def make_site(settings: Settings) -> Flask:
    """The WSGI application. It has no route that changes anything."""
    site, observer, registry = (
        Flask("li_sync", static_folder=None, template_folder=str(Path(__file__).parent)),
        Observer(settings),
        CollectorRegistry(),
    )
    registry.register(_Collector(settings, observer))

    @site.get("/")
    def page() -> str:
        return render_template("status.html", status=status(settings, observer.observe()))

    @site.get("/api/v1/status")
    def api() -> Response:
        return jsonify(status(settings, observer.observe()))

    @site.get("/metrics")
    def scrape() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    @site.get("/healthz")
    def health() -> Response:
        return Response("ok\n", content_type="text/plain")

    @site.get("/openapi.json")
    def description() -> Response:
        return jsonify(OPENAPI)

    @site.after_request
    def harden(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return site


def site_of(settings: str) -> Flask:
    """For gunicorn: the application by a settings file. Raises InvalidSettings."""
    return make_site(read_settings(Path(settings)))


_TASK_SCHEMA = {
    "type": "object",
    "required": ["task", "state", "error", "step", "succeeded_at", "seconds", "facts"],
    "properties": {
        "task": {"type": "string", "enum": list(TASKS)},
        "state": {"type": "string", "enum": ["never run", "running", "succeeded", "failed", "interrupted"]},
        "error": {"type": "string"},
        "step": {"type": "string"},
        "succeeded_at": {"type": ["string", "null"]},
        "seconds": {"type": ["number", "null"]},
        "facts": {"type": "object"},
    },
}
OPENAPI: Mapping[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "LI synchronisation", "version": "1", "description": "Read only."},
    "paths": {
        "/api/v1/status": {
            "get": {
                "summary": "How the replication is, and what each task has done",
                "responses": {
                    "200": {
                        "description": "The status",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["well", "problems", "replication", "tasks"],
                                    "properties": {
                                        "well": {"type": "boolean"},
                                        "problems": {"type": "array", "items": {"type": "string"}},
                                        "replication": {"type": "object"},
                                        "tasks": {"type": "array", "items": _TASK_SCHEMA},
                                    },
                                }
                            }
                        },
                    }
                },
            }
        },
        "/healthz": {
            "get": {"summary": "Whether the server runs", "responses": {"200": {"description": "It does", "content": {"text/plain": {}}}}}
        },
    },
}
