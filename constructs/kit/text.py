"""Data as text: the one way in which YAML is written, for manifests and for configuration files alike."""

from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.CSafeDumper):
    """Block style throughout: no anchors, and text of several lines as a literal block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks for each value
        return True


# YAML 1.1 knows these as booleans, and Kustomize reads them so; PyYAML does not, and would leave them bare.
_LOOKS_BOOLEAN = frozenset("yYnN")


def _string(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if text in _LOOKS_BOOLEAN else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def yaml_text(document: Any) -> str:
    """One YAML document. Keys keep their order; lines are not folded."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=4096, allow_unicode=True))


def yaml_documents(documents: Iterable[Any]) -> str:
    """Several YAML documents in one file."""
    return "---\n".join(map(yaml_text, documents))
