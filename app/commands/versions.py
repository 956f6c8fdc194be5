"""What comes with another version of this project, beside what pods come to run: its section of CHANGELOG.md, its images, its operators."""

from collections.abc import Iterable
from pathlib import Path

from app.commands.images import build_commands
from app.gitops.operators import Installed, installed
from app.inspection.images import used_images
from app.inspection.tasks import Task, Tasks
from app.layout import Files
from app.releases import is_newer, sections, since, version_in
from app.site import Site
from app.trees import Past, texts
from infrastructure.operators import OPERATORS
from kit.rendering import Manifest

_UPGRADES = "docs/08-UPGRADES.md"


def asked(site: Site, was: Past, dist: Path, before: Iterable[Manifest], after: Iterable[Manifest]) -> Tasks:
    """What it asks of people. `was`: the dist/ that was applied; `before` and `after`: the objects of the profile."""
    operators = operator_tasks(dist / "operators", texts(was.folder / "operators"), texts(dist / "operators"))
    return changelog_tasks(was.revision, version_in(was.beside("pyproject.toml"))) + image_tasks(site, before, after) + operators


def changelog_tasks(revision: str, version: str | None) -> Tasks:
    """What CHANGELOG.md says of the releases since the one that was applied."""
    known = sections()
    if version is None:
        what = f"no pyproject.toml of {revision} says which release its dist/ is of: read CHANGELOG.md from the one that you have"
        return Tasks(before=(Task(what),))
    if is_newer(version, known[0].version):
        what = f"back from {version} to {known[0].version}: an apply undoes nothing of what CHANGELOG.md of {version} says to do before it"
        return Tasks(before=(Task(what, page=f"{_UPGRADES}#a-release-of-this-project"),))
    return Tasks(
        before=tuple(
            Task(f"read {section.version} in CHANGELOG.md; as far as your site has what they name, it says to run", tuple(section.commands))
            if section.commands
            else Task(f"read {section.version} in CHANGELOG.md")
            for section in since(version, known)
        )
    )


def image_tasks(site: Site, before: Iterable[Manifest], after: Iterable[Manifest]) -> Tasks:
    """Images that were not named before: ours are built, others are brought to where the site has a registry of its own."""
    new = [image for image in used_images(after) if image not in set(used_images(before))]
    found = Tasks()
    if commands := tuple(build_commands(site, new)):
        found += Tasks(before=(Task("build these images and push them", commands),))
    others = [image for image in new if site.images.mirror and image.startswith(f"{site.images.mirror}/")]
    if others:
        found += Tasks(before=(Task(f"bring these images into your registry: {', '.join(others)}", page="docs/06-AIR-GAPPED-SETUP.md"),))
    return found


def operator_tasks(folder: Path, before: Files, after: Files) -> Tasks:
    """The operators that are installed otherwise than before, in order, each with its command; and those that are no longer installed from here."""
    was, will, page = installed(before), installed(after), f"{_UPGRADES}#operators"
    noticed = {operator.name: operator.noticed for operator in OPERATORS}
    return Tasks(
        before=tuple(
            Task(_becomes(name, was.get(name), new, noticed.get(name, "")), (f"(cd {folder} && {new.command})",), page)
            for name, new in will.items()
            if new != was.get(name)
        ),
        after=tuple(
            Task(f"operator {name}: it is no longer installed from here, and stays", page=page) for name in was if name not in will
        ),
    )


def _becomes(name: str, was: Installed | None, will: Installed, noticed: str) -> str:
    if was is None:
        return f"operator {name}: {will.version}, which was not installed from here before"
    if was.version == will.version:
        return f"operator {name}: it is told something else"
    return f"operator {name}: {was.version} becomes {will.version}{f'; people notice: {noticed}' if noticed else ''}"
