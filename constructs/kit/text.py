"""Data as text: the one way in which YAML is written, for manifests and for configuration files alike."""

import re
from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.CSafeDumper):
    """Block style throughout: no anchors, and text of several lines as a literal block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks for each value
        return True


# Texts that PyYAML would leave bare and that Kustomize, kubectl and Synapse would not all read as text: `y` and `n` are booleans
# in YAML 1.1, `1e3` and `0o7` are numbers in YAML 1.2.
_AMBIGUOUS = re.compile(r"[yYnN]|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+")


def _string(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if _AMBIGUOUS.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def yaml_text(document: Any) -> str:
    """One YAML document. Keys keep their order; lines are not folded."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=4096, allow_unicode=True))


def yaml_documents(documents: Iterable[Any]) -> str:
    """Several YAML documents in one file."""
    return "---\n".join(map(yaml_text, documents))
