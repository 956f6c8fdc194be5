"""What the guides show of site.yaml works when it is pasted."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cdk8s import App
from ruamel.yaml import YAML

from app.platform import assemble
from app.settings import SettingsError, parse_site
from app.site import Site
from kit.options import Section
from overlays import profiles
from tests.kustomize import ROOT
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
