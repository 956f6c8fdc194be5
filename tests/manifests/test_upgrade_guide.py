"""docs/08-UPGRADES.md: every command of it can be pasted, and what it names is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli import main
from kit.rendering import ObjectId
from tests.kustomize import ROOT
from tests.manifests.rules.objects import Objects

GUIDE = (ROOT / "docs" / "08-UPGRADES.md").read_text()
SIZE = "1000-ccu"
SHORT = {"cluster": "Cluster", "statefulset": "StatefulSet", "deployment": "Deployment"}
# What operators add to their pods, and what they make.
OF_OPERATORS = {"cnpg.io/cluster": "postgresql-main", "cnpg.io/instanceRole": ""}
VERBS = {"apply", "delete", "drain", "exec", "get", "rollout", "scale", "uncordon", "wait"}


def commands(guide: str) -> Iterator[list[str]]:
    """The commands of the blocks for a shell, as words."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", guide, re.DOTALL | re.MULTILINE):
        yield from (shlex.split(line) for line in block.splitlines())


COMMANDS = list(commands(GUIDE))


@pytest.fixture(scope="module")
def objects(built: dict[str, Objects]) -> Objects:
    return built[SIZE]


def problem(words: list[str], objects: Objects) -> str:
    """What is wrong with a command, or nothing."""
    words = words[: words.index("||")] if "||" in words else words
    match words:
        case [".venv/bin/python", "-m", "app", name, *arguments]:
            command = main.commands.get(name)
            if command is None:
                return f"there is no command {name}"
            with CliRunner().isolation():
                try:
                    command.make_context(name, list(arguments))
                except click.ClickException as error:
                    return error.format_message()
            return ""
        case ["make", target]:
            return "" if re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) else f"there is no target {target}"
        case ["sh", script]:
            return "" if (ROOT / script).is_file() else f"there is no {script}"
        case ["git", "fetch" | "merge", *_]:
            return ""
        case ["kubectl", *rest]:
            return _kubectl(rest, objects)
    return f"nobody knows {words[0]}"


def _kubectl(words: list[str], objects: Objects) -> str:
    namespace = words[1] if words[0] == "-n" else ""
    words = words[2:] if namespace else words
    if words[0] not in VERBS:
        return f"kubectl has no {words[0]}"
    there = {ObjectId.of(o) for o in objects}
    if "-k" in words:
        return "" if (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file() else "there is no such overlay"
    if words[0] == "exec" and words[words.index("-c") + 1] != "postgres":
        return "no such container"
    named = [re.sub("-1$", "", word.partition("/")[2] or word) for word in words if word.startswith(("postgresql-", "cluster/postgresql-"))]
    wrong = [name for name in named if ObjectId("Cluster", namespace, name) not in there]
    if wrong:
        return f"there is no {wrong[0]}"
    labels = dict(word.split("=") for word in words if re.fullmatch(r"[a-z./]+/[A-Za-z]+=\S+", word) and not word.startswith("--"))
    for label, value in labels.items():
        if label not in OF_OPERATORS and not any(_labels(o).get(label) == value for o in objects):
            return f"nothing has {label}={value}"
    return ""


def _labels(o: dict) -> dict[str, str]:  # type: ignore[type-arg]
    own: dict[str, str] = o["metadata"].get("labels") or {}
    return own


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words)[:60] for words in COMMANDS])
def test_a_command_of_the_guide_can_be_pasted(words: list[str], objects: Objects) -> None:
    assert problem(words, objects) == ""


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        (".venv/bin/python -m app plann 1000-ccu 5000-ccu", "no command plann"),
        (".venv/bin/python -m app diff 1000-ccu --clutser", "No such option"),
        ("make sinth", "no target sinth"),
        ("kubectl apply --server-side -k dist/overlays/999-ccu", "no such overlay"),
        ("kubectl -n matrix get cluster postgresql-mian", "no postgresql-mian"),
        ("kubectl -n matrix delete pods -l app.kubernetes.io/name=minio", "nothing has"),
        ("kubectl -n matrix exec postgresql-main-1 -c postgresql -- psql", "no such container"),
        ("helm upgrade", "nobody knows helm"),
    ],
)
def test_a_command_that_could_not_be_pasted_is_noticed(line: str, mention: str, objects: Objects) -> None:
    assert mention in problem(shlex.split(line), objects)


def test_what_it_says_it_was_followed_by_is_there() -> None:
    named = re.findall(r"`(tests/\S+?\.py)`", GUIDE)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_its_links_lead_to_something() -> None:
    for text, path, anchor in re.findall(r"\[([^]]+)\]\((?!https)([^)#]*)#?([^)]*)\)", GUIDE):
        page = (ROOT / "docs" / path) if path else ROOT / "docs" / "08-UPGRADES.md"
        assert page.is_file(), (text, path)
        assert not anchor or anchor in _anchors(page), (text, anchor)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
