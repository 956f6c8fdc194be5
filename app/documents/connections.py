"""docs/reference/connections.md and its diagrams: who calls whom, as the components declare it and the network policies allow it."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from tabulate import tabulate

from app.errors import UserError
from kit.installation import Declarations
from kit.network import Pods

_SECONDS = 120
_TITLES = {
    "matrix": "The main instance",
    "matrix-rtc": "Calls",
    "matrix-li": "Lawful interception",
    "matrix-monitoring": "Monitoring",
    "matrix-backups": "Object storage for backups",
}
"""Of a site whose namespaces have no names of their own."""
_FILLS = {"matrix": "#d7e8fb", "matrix-rtc": "#e6dcf7", "matrix-li": "#fbe3d0", "matrix-monitoring": "#dcf1dd", "matrix-backups": "#f6efc6"}
_ELSEWHERE, _LINE = "#e4e4e4", "#7a8288"
"""Readable on a light page and on a dark one: the background is the page's."""


class DrawingError(UserError):
    """The diagrams could not be drawn."""


@frozen(order=True)
class Box:
    """What stands in a diagram: a component in a namespace of the platform, or who comes from elsewhere, without one."""

    namespace: str
    component: str


def calls(declared: Declarations) -> dict[tuple[Box, Box], list[int]]:
    """Who calls whom on which ports. A component's own pods among themselves are left out."""
    found: dict[tuple[Box, Box], set[int]] = {}
    ends = [(_box(call.source), _box(call.target), call.port) for call in declared.connections]
    ends += [(Box("", "ingress"), _box(exposure.endpoint.pods), exposure.endpoint.target) for exposure in declared.exposures]
    for source, target, port in ends:
        if source != target:
            found.setdefault((source, target), set()).add(port.number)
    return {pair: sorted(found[pair]) for pair in sorted(found)}


def connections_page(declared: Declarations) -> str:
    """Diagrams and the same as a table, for every part of the platform that has a namespace."""
    found = calls(declared)
    parts = [
        "# Who calls whom\n",
        "Everything that is not here is closed by the network policies. All options are on; a site that leaves a part out has less. Grey boxes\n"
        "stand in another namespace, or outside the platform. Prometheus' calls for metrics stand in its own diagram alone. Who calls whom in your\n"
        "site, pod by pod: `python -m app reach`. Who may leave the cluster: [ways-out.md](ways-out.md).\n",
    ]
    for namespace, title in _TITLES.items():
        rows = [
            (source.component, target.component, ", ".join(map(str, ports)))
            for (source, target), ports in _within(found, namespace).items()
        ]
        parts += [
            f"## {title}\n",
            f"![{title}: who calls whom, as in the table below](diagrams/{namespace}.svg)\n",
            tabulate(rows, ["Caller", "Called", "Ports"], tablefmt="pipe", disable_numparse=True) + "\n",
        ]
    return "\n".join(parts)


def diagrams(declared: Declarations) -> dict[str, str]:
    """Namespace to its diagram, as SVG."""
    found = calls(declared)
    return _draw({namespace: _graph(_within(found, namespace), namespace) for namespace in _TITLES})


def _within(found: Mapping[tuple[Box, Box], list[int]], namespace: str) -> dict[tuple[Box, Box], list[int]]:
    """The calls that begin or end in a namespace. What is only measured is no part of how a component works."""
    return {
        (source, target): ports
        for (source, target), ports in found.items()
        if namespace in (source.namespace, target.namespace) and (source.namespace == namespace or source.component != "prometheus")
    }


def _graph(found: Mapping[tuple[Box, Box], Sequence[int]], namespace: str) -> str:
    """In Graphviz' language: https://graphviz.org/doc/info/lang.html."""
    lines = [
        "digraph {",
        'bgcolor=transparent; rankdir=LR; ranksep=0.9; nodesep=0.18; fontname="sans-serif";',
        'node [shape=box, style="rounded,filled", color="#ffffff00", height=0.35, margin="0.25,0.06"];',
        'node [fontname="sans-serif", fontsize=12, fontcolor="#1b1f23"];',
        f'edge [color="{_LINE}", fontcolor="{_LINE}", fontname="sans-serif", fontsize=9, arrowsize=0.6];',
    ]
    boxes: Iterable[Box] = sorted({box for pair in found for box in pair})
    for box in boxes:
        fill = _FILLS[namespace] if box.namespace == namespace else _ELSEWHERE
        lines.append(f'"{box.namespace}/{box.component}" [label="{box.component}", fillcolor="{fill}"];')
    for (source, target), ports in found.items():
        # Long lists stand in the table.
        label = ", ".join(map(str, ports)) if len(ports) < 3 else f"{len(ports)} ports"
        lines.append(f'"{source.namespace}/{source.component}" -> "{target.namespace}/{target.component}" [label="{label}"];')
    return "\n".join([*lines, "}"])


def _box(pods: Pods) -> Box:
    if pods.namespace not in _TITLES:
        return Box("", pods.name)
    return Box(pods.namespace, dict(pods.labels).get("app.kubernetes.io/name", pods.name))


def _draw(graphs: Mapping[str, str]) -> dict[str, str]:
    """Graphviz runs in the Node.js that jsii runs on, so that no machine needs it."""
    command = [os.environ["JSII_NODE"], str(Path(__file__).with_name("draw.mjs"))]
    done = subprocess.run(command, input=json.dumps(graphs), capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode:
        raise DrawingError(f"the diagrams could not be drawn; make setup installs what they need:\n{done.stderr.strip()[-1000:]}")
    drawn: dict[str, str] = json.loads(done.stdout)
    return drawn
