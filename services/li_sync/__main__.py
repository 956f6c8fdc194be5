"""The commands: `python -m services.li_sync COMMAND`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from services.li_sync.alive import announce_beat, announce_worker
from services.li_sync.follow import follow as feed
from services.li_sync.officers import add_officer, remove_officer
from services.li_sync.postgres import TASKS, Busy
from services.li_sync.run import explain, run_task, stopping
from services.li_sync.settings import InvalidSettings, Settings, read_settings
from services.li_sync.tasks import DATABASE_QUEUE, MEDIA_QUEUE, SETTINGS_VARIABLE, make_app, name, queue

FAILED, BUSY = 1, 3


def _read(path: Path) -> Settings:
    os.environ[SETTINGS_VARIABLE] = str(path)
    try:
        return read_settings(path)
    except InvalidSettings as error:
        raise click.ClickException(str(error)) from None


_settings = click.option(
    "--settings", "path", type=click.Path(path_type=Path), envvar=SETTINGS_VARIABLE, required=True, help="The settings file."
)


@click.group(help=__doc__)
def main() -> None:
    """All commands."""


@main.command()
@_settings
@click.argument("task", type=click.Choice(TASKS))
def run(path: Path, task: str) -> None:
    """Run a task here and now. Exit codes: 0 done, 1 failed, 3 another run is at work."""
    try:
        click.echo(json.dumps(run_task(_read(path), task), indent=1))
    except Busy as busy:
        click.echo(str(busy), err=True)
        sys.exit(BUSY)
    except Exception as error:
        click.echo(f"FAILED: {explain(error)}", err=True)
        sys.exit(FAILED)


@main.command()
@_settings
@click.argument("task", type=click.Choice(TASKS))
def send(path: Path, task: str) -> None:
    """Let the workers run a task as soon as one is free."""
    make_app(_read(path)).send_task(name(task), queue=queue(task), retry=False)
    click.echo(f"{task} is in the queue {queue(task)}")


@main.command(name="add-officer")
@_settings
@click.argument("name")
def add(path: Path, name: str) -> None:
    """Give an officer an account on LI, or a new password, whose hash is read from standard input: what Synapse's hash_password prints."""
    _officer(lambda settings: add_officer(settings, name, sys.stdin.readline().strip()), path, "may log in to LI")


@main.command(name="remove-officer")
@_settings
@click.argument("name")
def remove(path: Path, name: str) -> None:
    """Take an officer's account on LI away. Sessions that LI's Synapse has in memory end with the next refresh."""
    _officer(lambda settings: remove_officer(settings, name), path, "is gone")


def _officer(change: Callable[[Settings], str], path: Path, what: str) -> None:
    try:
        click.echo(f"{change(_read(path))} {what}")
    except Exception as error:
        click.echo(f"FAILED: {explain(error)}", err=True)
        sys.exit(FAILED)


@main.command()
@_settings
@click.option("--queues", default=f"{DATABASE_QUEUE},{MEDIA_QUEUE}", show_default=True, help="Which queues to take tasks from.")
@click.option("--concurrency", default=3, show_default=True, help="How many tasks at once.")
def worker(path: Path, queues: str, concurrency: int) -> None:
    """Run tasks as they come (Celery)."""
    announce_worker()
    options = ["--loglevel=INFO", f"--queues={queues}", f"--concurrency={concurrency}", "--without-gossip", "--without-mingle"]
    make_app(_read(path)).worker_main(["worker", *options])


@main.command()
@_settings
def beat(path: Path) -> None:
    """Send each task when it is time (Celery). Exactly one at a time."""
    settings = _read(path)
    settings.state.mkdir(parents=True, exist_ok=True)
    announce_beat()
    make_app(settings).start(["beat", "--loglevel=INFO", "--pidfile="])


@main.command()
@_settings
def follow(path: Path) -> None:
    """Feed LI's Synapse what the replication brings, until told to end."""
    feed(_read(path).follow, stopping())


@main.command()
@_settings
@click.option("--bind", default="0.0.0.0:8080", show_default=True, help="Address and port to listen on.")
def serve(path: Path, bind: str) -> None:
    """Serve the status page, its API and the metrics."""
    _read(path)
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        f"--bind={bind}",
        "--workers=1",
        "--threads=4",
        "--timeout=60",
        "--graceful-timeout=5",
        "--no-control-socket",
    ]
    os.execv(sys.executable, [*command, f"services.li_sync.status:site_of({str(path)!r})"])


if __name__ == "__main__":
    main()
