"""What the guides show works when it is pasted: parts of site.yaml, commands, and the names of objects, containers, labels, files and targets."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import frozen
from cdk8s import App
from ruamel.yaml import YAML

from app.cli import main
from app.compiler import render
from app.platform import assemble
from app.settings import SettingsError, parse_site
from app.site import Site
from kit.options import Section
from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules.objects import Objects, workloads
from tests.manifests.test_sites import BASE

OPTIONS = {option.name for option in Section(Site).options}


def examples(guide: str) -> Iterator[str]:
    """The parts of a guide that are parts of site.yaml: blocks of YAML whose keys are its options."""
    for indent, block in re.findall(r"^( *)```yaml\n(.*?)^ *```", guide, re.DOTALL | re.MULTILINE):
        text = re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
        keys = set(YAML(typ="safe").load(text))
        if keys & OPTIONS:
            yield text


SHOWN = [(file.name, text) for file in sorted((ROOT / "docs").glob("0*.md")) for text in examples(Path(file).read_text())]


@pytest.mark.parametrize(("guide", "text"), SHOWN, ids=[f"{guide[:2]}-{text.splitlines()[0][:40]}" for guide, text in SHOWN])
def test_an_example_of_a_guide_compiles_as_it_stands(guide: str, text: str) -> None:
    own = YAML(typ="safe").load(text).keys()
    rest = "".join(line for line in BASE.splitlines(keepends=True) if line.partition(":")[0] not in own)
    assert assemble(App(), parse_site(rest + text, guide), profiles()[0]).rendering().objects


def test_the_guides_show_what_is_most_often_chosen() -> None:
    shown = {key for _, text in SHOWN for key in YAML(typ="safe").load(text)}
    assert {"cluster", "features", "federation", "push", "mail", "homeserver", "object_storage", "secrets"} <= shown


def test_an_example_that_does_not_work_is_noticed() -> None:
    (text,) = examples("```yaml\nfeatures: {federation: true}\nfederation: {interent: false}\n```\n```yaml\nfoo: {}\n```\n")
    with pytest.raises(SettingsError, match='did you mean "internet"'):
        parse_site(BASE + text)


# --- Commands. Words between < and > are the reader's.

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.name: page.read_text().replace("\\\n", " ") for page in PAGES if page.name != "site-reference.md"}


def code(text: str) -> Iterator[str]:
    """Lines that a shell reads: of blocks, and code within a sentence."""
    for language, block, span in re.findall(r"```(\w*)\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        yield from (span or (block if language in ("", "sh") else "")).splitlines()


def commands(text: str, start: str) -> Iterator[str]:
    """What begins with these words, to the end of its own words."""
    for line in code(text):
        for found in re.findall(rf"(?:^|[\s(])(?:\S*/)?({start}.*?)(?: *(?:\||&&|&|>|<<|;|\)|\$\()|$)", line):
            yield found.strip()


def unknown_words(command: str) -> list[str]:
    """What our command line does not know of a command: the command, or an option."""
    words = re.sub(r"<[^>]*>|\.\.\.", "X", command).split()[3:]
    found: click.Command = main
    while words and isinstance(found, click.Group):
        name = words.pop(0)
        if name not in found.commands:
            return [name]
        found = found.commands[name]
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", TEXT)
def test_our_command_line_knows_every_command_and_option_that_a_guide_shows(page: str) -> None:
    assert {command: wrong for command in commands(TEXT[page], "python -m app ") if (wrong := unknown_words(command))} == {}


def test_our_command_line_is_shown_and_a_wrong_option_is_noticed() -> None:
    shown = {command.split()[3] for text in TEXT.values() for command in commands(text, "python -m app ")}
    assert shown >= {name for name in main.commands if name not in ("docs", "synth")}
    assert unknown_words("python -m app bundle make --output x") == ["--output"]
    assert unknown_words("python -m app bundles") == ["bundles"]


def test_make_has_every_target_that_a_guide_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z.][\w./-]*):", makefile, re.MULTILINE)) | set(
        re.findall(r"^((?:[a-z-]+ )+[a-z-]+):", makefile, re.MULTILINE)
    )
    targets = {word for target in targets for word in target.split()}
    lines = [line.partition("#")[0] for text in TEXT.values() for line in code(text)]
    named = {word for line in lines for found in re.findall(r"^ *make ([^&|;]*)", line) for word in found.split() if "=" not in word}
    assert {word for word in named if word not in targets and not word.startswith("<")} == set()
    assert {"synth", "site", "test-cluster"} <= named


def test_every_file_that_a_guide_names_is_there() -> None:
    rooms = "app|bench|constructs|dist|docs|imports|overlays|requirements|services|tests|tools"
    named = {(page, path) for page, text in TEXT.items() for path in re.findall(rf"`((?:{rooms})/[\w./-]+)`", text)}
    made = {
        "dist/argocd",
        "dist/flux",
        "dist/base/config/matrix-authentication-service",
        "constructs/main_instance/status_page/__init__.py",
    }
    """By a site that asks for it, or by who follows the page."""
    missing = {(page, path) for page, path in named if not (ROOT / path).exists() and not path.rstrip("/").startswith(tuple(made))}
    assert missing == set()
    assert len(named) > 30


KINDS = {
    "deploy": "Deployment", "deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "cronjob": "CronJob",
    "resourcequota": "ResourceQuota", "cluster": "Cluster", "scheduledbackup": "ScheduledBackup", "tenant": "Tenant",
}  # fmt: skip
BY_OTHERS = {"Deployment/cert-manager", "Deployment/traefik", "Deployment/cnpg-controller-manager", "Deployment/minio-operator"}
"""What the operators' charts make."""
OF_OPERATORS = {"postgres", "minio", "plugin-barman-cloud"}
"""Containers of databases and of object storage."""
MADE_BY_THE_READER = {"Cluster/beside"}
OF_AN_EXTERNAL_DATABASE = {"app.kubernetes.io/component=check"}


@frozen
class Names:
    """What sites have that a command can name."""

    objects: frozenset[str]
    containers: frozenset[str]
    labels: frozenset[str]


def names_of(objects: Objects) -> Names:
    names = {f"{o['kind']}/{o['metadata']['name']}" for o in objects} | BY_OTHERS | MADE_BY_THE_READER
    pods = [workload.pod for workload in workloads(objects)]
    containers = {container["name"] for pod in pods for container in (*pod["containers"], *pod.get("initContainers", []))}
    labels = {f"{key}={value}" for o in objects for key, value in _labels(o)} | OF_AN_EXTERNAL_DATABASE
    labels |= {f"cnpg.io/cluster={name[8:]}" for name in names if name.startswith("Cluster/")}
    labels |= {f"v1.min.io/tenant={name[7:]}" for name in names if name.startswith("Tenant/")}
    return Names(frozenset(names), frozenset(containers | OF_OPERATORS), frozenset(labels))


def strangers(command: str, known: Names) -> list[str]:
    """What a kubectl command names that no site has: an object, a container, or a label of pods."""
    named = [(kind, name) for kind, name in re.findall(r"(?:^|[ =])([a-z]+)[/ ]([a-z][a-z0-9-]*)(?=[ :]|$)", command) if kind in KINDS]
    found = [f"{kind}/{name}" for kind, name in named if f"{KINDS[kind]}/{name}" not in known.objects]
    pods = re.findall(r" (?:exec|logs|describe pod|get pod|delete pod) (?:-\w+ )*([a-z][a-z-]*)-\d+(?= |$)", command)
    found += [f"{pod}-0" for pod in pods if not {f"StatefulSet/{pod}", f"Cluster/{pod}"} & known.objects]
    containers = re.findall(r" -c ([a-z][a-z0-9-]*)(?= |$)", command.partition(" -- ")[0])
    found += [container for container in containers if container not in known.containers]
    return found + [label for label in re.findall(r" (?:-l|--selector) ([\w./-]+=[\w.-]+)(?= |$)", command) if label not in known.labels]


def _labels(o: dict[str, Any]) -> Iterator[tuple[str, str]]:
    spec = o.get("spec") or {}
    spec = spec.get("jobTemplate", {}).get("spec") or spec
    for place in (o["metadata"], (spec.get("template") or {}).get("metadata", {}) if o["kind"] != "ExternalSecret" else {}):
        yield from place.get("labels", {}).items()


@pytest.fixture(scope="module")
def anywhere(built: dict[str, Objects], everything: Objects) -> Names:
    """What some site has."""
    without_operator = render(parse_site(BASE + "object_storage: {backend: silo}\n"), profiles()[0]).manifests()
    return names_of([*built["100-ccu"], *everything, *map(dict, without_operator)])


@pytest.mark.parametrize("page", TEXT)
def test_every_object_container_and_label_that_a_command_of_kubectl_names_is_one_that_a_site_has(page: str, anywhere: Names) -> None:
    assert {command: wrong for command in commands(TEXT[page], "kubectl ") if (wrong := strangers(command, anywhere))} == {}


@pytest.mark.parametrize(
    "command",
    [
        "kubectl -n matrix logs deployment/haproxi",
        "kubectl -n matrix logs synchrotrons-0 --tail 10",
        "kubectl -n matrix exec redis-0 -c servers -- true",
        "kubectl -n matrix get pods -l app.kubernetes.io/name=redi",
        "kubectl -n matrix create job x --from=cronjob/media-swoop",
    ],
)
def test_a_name_that_no_site_has_is_noticed(command: str, anywhere: Names) -> None:
    assert len(strangers(command, anywhere)) == 1
