"""Configuration files keep what they promise: each line and option of rules/configuration.py, which is missed when it goes or changes."""

import json
from typing import Any

import pytest
import yaml

from tests.manifests.rules.configuration import LINES, SETTINGS, File, configuration_problems
from tests.manifests.rules.leaves import another
from tests.manifests.rules.mutation import assert_noticed, pick
from tests.manifests.rules.objects import Objects, assert_kept, structured
from tests.manifests.rules.paths import parse

FILES = sorted(LINES.keys() | SETTINGS.keys())


def test_every_configuration_file_keeps_its_promises(trees: dict[str, Objects]) -> None:
    assert_kept(configuration_problems, trees)


@pytest.mark.parametrize("file", FILES, ids="/".join)
def test_every_file_of_which_something_is_promised_is_there(file: File, everything: Objects) -> None:
    config_map, name = file
    assert name in pick(everything, "ConfigMap", config_map)["data"]


@pytest.mark.parametrize(("file", "line"), [(file, line) for file, lines in LINES.items() for line in lines], ids=str)
def test_a_line_that_is_gone_is_missed(file: File, line: str, everything: Objects) -> None:
    config_map, name = file

    def drop(objects: Objects) -> None:
        data = pick(objects, "ConfigMap", config_map)["data"]
        data[name] = without_line(data[name], line)

    assert_noticed(configuration_problems, [pick(everything, "ConfigMap", config_map)], drop, LINES[file][line])


def without_line(text: str, line: str) -> str:
    """A file without a line, named as in LINES."""
    *section, wanted = line.split(": ", 1) if "\ndefaults" in text else [line]
    kept, inside = [], not section
    for each in text.splitlines():
        if section and each[:1].isalpha():
            inside = each.partition(" from ")[0] == section[0]
        if not (inside and each.strip() == wanted):
            kept.append(each)
    assert len(kept) < len(text.splitlines()), f"{line} is not there"
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize(("file", "path"), [(file, path) for file, paths in SETTINGS.items() for path in paths], ids=str)
def test_an_option_that_is_changed_is_noticed(file: File, path: str, everything: Objects) -> None:
    config_map, name = file

    def change(objects: Objects) -> None:
        data = pick(objects, "ConfigMap", config_map)["data"]
        settings = json.loads(json.dumps(structured(name, data[name])))
        *outer, last = [0 if key == "[]" else key for key in parse(path)]
        place: Any = settings
        for key in outer:
            place = place[key]
        place[last] = another(place[last])
        data[name] = yaml.safe_dump(settings)

    assert_noticed(configuration_problems, [pick(everything, "ConfigMap", config_map)], change, SETTINGS[file][path][1])
