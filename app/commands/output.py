"""How commands speak: with colours and lines on a terminal, plain when piped, and as JSON where a machine reads."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from app.inspection.changes import Change
    from app.inspection.tasks import Task

as_json = click.option("--json", "json_wanted", is_flag=True, help="For programs: one JSON document on standard output.")


def print_json(value: Any) -> None:
    """A value as JSON, and nothing else on standard output."""
    click.echo(json.dumps(value, indent=2, default=str))


def table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    """Rows below headers: with lines on a terminal, in plain columns otherwise."""
    if not sys.stdout.isatty():
        from tabulate import tabulate

        click.echo(tabulate(rows, headers, tablefmt="plain", disable_numparse=True))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(*headers, header_style="bold")
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    Console().print(shown)


def heading(text: str) -> None:
    """A line that begins a part: bold on a terminal."""
    click.secho(text, bold=True)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """A moving line on standard error while something takes long, where that is a terminal; nothing otherwise."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def change_data(change: "Change", *, with_values: bool = True) -> dict[str, Any]:
    """A change as JSON has it."""
    fields = [{"path": field.path, **({"before": field.before, "after": field.after} if with_values else {})} for field in change.fields]
    return {
        "kind": change.identity.kind,
        "namespace": change.identity.namespace,
        "name": change.identity.name,
        "component": change.component,
        "wave": change.wave,
        "action": change.action.value,
        "effect": change.effect.value,
        "refused": str(change.refused) if change.refused else None,
        "fields": fields,
    }


def task_data(task: "Task") -> dict[str, Any]:
    """A task as JSON has it."""
    return {"what": task.what, "commands": list(task.commands), "page": task.page or None}


def say_task(task: "Task", mark: str = "") -> None:
    """A task as text: what it is and where the rest is said, then its commands."""
    click.echo(f"   {mark}{task.what}{f' ({task.page})' if task.page else ''}")
    for command in task.commands:
        click.echo(f"      {command}")
