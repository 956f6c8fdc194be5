"""Prometheus' own programs, and what the tests' site would give to Prometheus."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve, fields
from cdk8s import App

from app.platform import assemble
from app.settings import read_site
from app.site import Features, Site
from kit.installation import Installation
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.programs import chosen, installed


def debian(package: str, program: str) -> str:
    """A program of a newer Debian."""
    folder = ROOT / ".tools" / "debian" / package
    return chosen(
        program.upper().replace("-", "_"), [folder / "usr" / "bin" / program], f"{program}: tools/debian-program forky {package} {folder}"
    )


def promtool() -> str:
    """Prometheus' tool for its configuration and rules."""
    return debian("prometheus", "promtool")


def amtool() -> str:
    """Alertmanager's tool for its configuration."""
    return debian("prometheus-alertmanager", "amtool")


def in_a_root(program: Path, mounts: Iterable[tuple[Path, str, bool]], *options: str) -> list[str | Path]:
    """What runs a program of `debian` in a root of its own, with what is mounted there: a file or folder, where, and whether it may be written."""
    words = ["--die-with-parent", "--proc", "/proc", "--dev", "/dev", *options]
    for folder in ("/usr", "/lib", "/lib64", "/sys", str(program.parents[2]) if program.parents[2].name else "/usr"):
        words += ["--ro-bind-try", folder, folder]
    # Programs ask for what they share by its usual path.
    words += ["--ro-bind", str(program.parents[1] / "share"), "/usr/share"]
    for here, there, writable in mounts:
        words += ["--bind" if writable else "--ro-bind", str(here), there]
    return [installed("bwrap"), *words, program]


def watched_site() -> Site:
    """The tests' site with every feature on, in which every component that has alerts is."""
    example = read_site(ROOT / "tests" / "site.yaml")
    return evolve(example, features=Features(**{field.name: True for field in fields(Features)}))


def installation(site: Site) -> Installation:
    """The smallest size of a site, as it is declared."""
    return assemble(App(), site, profiles()[0])


def monitoring_files(installation: Installation, folder: Path) -> Path:
    """Write the files of Prometheus and Alertmanager to a folder, as their pods have them."""
    rendering = installation.rendering()
    for name in ("prometheus", "alertmanager"):
        ((_, files),) = (
            found for (_, config_map), files in rendering.config_maps.items() if config_map == name for found in [(name, files)]
        )
        for key, path in files.items():
            (folder / key).write_text(rendering.files[path])
    return folder


def rules(folder: Path) -> dict[str, Any]:
    """Name of an alert to its rule, of all files with rules."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("alerts-*.yaml"))]
    return {rule["alert"]: rule for document in documents for group in document["groups"] for rule in group["rules"]}
