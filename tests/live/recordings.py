"""What alerts and panels ask of programs, and what of it a recorded exposition has and a fresh one has not."""

import contextlib
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from attrs import frozen

from monitoring.grafana.board import Source
from monitoring.grafana.dashboards import BOARDS
from tests.live.expressions import Choice, Series, choices, needs, series
from tests.live.monitoring import installation, watched_site
from tests.live.processes import wait_for
from tests.live.test_dashboards import filled

EXPOSITIONS = Path(__file__).with_name("expositions")


@cache
def asked() -> Mapping[str, set[str]]:
    """Metric to the labels by which an alert or a panel asks for it."""
    expressions = [alert.expression for _, alert in installation(watched_site()).declared.alerts]
    panels = [panel for board in BOARDS for panel in board.panels if panel.source is Source.METRICS]
    anything = {variable.name: ".+" for board in BOARDS for variable in board.variables}
    expressions += [filled(query.expression, anything) for panel in panels for query in panel.queries]
    found: dict[str, set[str]] = {}
    for expression in expressions:
        for metric, labels in needs(expression).items():
            found.setdefault(metric, set()).update(labels)
    return found


@cache
def chosen() -> tuple[Choice, ...]:
    """Every value by which an alert chooses."""
    alerts = (alert for _, alert in installation(watched_site()).declared.alerts)
    return tuple(dict.fromkeys(choice for alert in alerts for choice in choices(alert.expression)))


def changes(recording: str, fresh: str) -> list[str]:
    """What is asked for, is in a recording, and is not told any more."""
    old, new = series((EXPOSITIONS / f"{recording}.txt").read_text()), series(fresh)
    known = old.keys() & asked().keys()
    assert known, f"nobody asks for anything of {recording}"
    gone = [f"{metric} is gone" for metric in sorted(known - new.keys())]
    labels = {metric: (old[metric].keys() & asked()[metric]) - new[metric].keys() for metric in known & new.keys()}
    gone += [f"{metric} has no {', '.join(sorted(lost))}" for metric, lost in sorted(labels.items()) if lost]
    return gone + [f"{choice} is gone" for choice in chosen() if _told(choice, old) and choice.metric in new and not _told(choice, new)]


def _told(choice: Choice, said: Series) -> bool:
    return choice.among(said.get(choice.metric, {}).get(choice.label, ()))


@frozen
class Remaining:
    """Changes that are looked for again and again."""

    look: Callable[[], list[str]]

    def after(self, seconds: float) -> list[str]:
        """None as soon as there are none; what there still are after so many seconds."""
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not self.look(), seconds, "no change")
            return []
        return self.look()


def told(url: str) -> str:
    """What a program says at an address."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())
