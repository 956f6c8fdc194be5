"""What people do beside an apply, as the releases ask for it that come with it: before, after, and instead of an apply that must not be made."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen

from app.inspection.changes import Change, identity_of
from app.inspection.images import release, version
from app.inspection.kept import kept, left_behind
from app.inspection.steps import left, superseded, unclaimed
from kit.rendering import Manifest, ObjectId

Version = tuple[int, ...]


@frozen
class Tables:
    """What releases of Synapse from `since` on make of the database (synapse/storage/schema/__init__.py).

    `version`: SCHEMA_VERSION. `needed`: SCHEMA_COMPAT_VERSION; a release whose own version is less refuses to start (prepare_database.py).
    """

    since: Version
    version: int
    needed: int


TABLES = (Tables((1, 129), 92, 84), Tables((1, 143), 93, 84), Tables((1, 151), 94, 84))
TABLES_KNOWN_UNTIL: Version = (1, 163)
"""The last release whose tables were looked at: that of images.toml."""

_BACKUP = "docs/05-BACKUP-RESTORE.md#look-whether-backups-are-there"
_UPGRADES = "docs/08-UPGRADES.md"


@frozen
class Task:
    """Something to do, the commands for it in order, and the page that has the rest."""

    what: str
    commands: tuple[str, ...] = ()
    page: str = ""


@frozen
class Tasks:
    """`instead`: why the apply must not be made as it is, though nothing would refuse it."""

    instead: tuple[Task, ...] = ()
    before: tuple[Task, ...] = ()
    after: tuple[Task, ...] = ()

    def __add__(self, other: "Tasks") -> "Tasks":
        return Tasks(self.instead + other.instead, self.before + other.before, self.after + other.after)


def tasks(changes: Sequence[Change]) -> Tasks:
    """Those that follow from what pods come to run."""
    main = [change for change in changes if change.component == "synapse"]
    found = _synapse(next(iter(_other_release(main, "containers[synapse].image")), None))
    for change in changes:
        if change.identity.kind == "Cluster" and change.refused is None:
            for was, will in _other_release([change], "spec.imageName"):
                found += _postgresql(change, was, will)
    if not found.before:
        return found
    if found.after and any(change.component == "synapse-li" for change in changes):
        found += Tasks(after=(Task("lawful interception follows", page="docs/07-LI-OPERATIONS.md#upgrade-synapse"),))
    return Tasks(before=(Task("take a backup by hand", page=_BACKUP),)) + found


def removals(before: Sequence[Manifest], after: Sequence[Manifest], changes: Sequence[Change], *, named: bool) -> Tasks:
    """How what an apply leaves is taken away. `named`: generated objects have the names of those in the cluster."""
    stays = left_behind(kept(before), {ObjectId.of(o) for o in after})
    held, whole = {one.identity for one in stays}, {one.identity.name for one in stays if one.identity.kind == "Namespace"}
    names = {identity_of(o): ObjectId.of(o) for o in before} if named else {}
    gone = [names.get(c.identity, c.identity) for c in left(changes) if c.refused is None and c.identity not in held]
    gone = [identity for identity in gone if identity.namespace not in whole]
    unread = [identity for identity in superseded(before, after) if named and identity.namespace not in whole]
    volumes = [ObjectId("PersistentVolumeClaim", namespace, name) for namespace, name in unclaimed(before, after)]
    found = Tasks(
        before=tuple(Task(f"{one.identity}: its volumes are what takes its place has", (one.command,)) for one in stays if one.goes_on),
        after=tuple(
            Task(f"{one.identity} stays with its data; when nobody needs them", (one.command,)) for one in stays if not one.goes_on
        ),
    )
    if gone:
        found += Tasks(after=(Task("kubectl apply leaves these, a tool that prunes takes them away", tuple(map(_delete, gone))),))
    if volumes:
        found += Tasks(after=(Task("volumes of pods that are gone stay", tuple(map(_delete, volumes))),))
    if unread:
        what = "these stay as well, with the content of before; when all pods are ready, nothing reads them"
        found += Tasks(after=(Task(what, tuple(_delete(*within) for _, within in groupby(unread, lambda one: one.namespace))),))
    return found


def _delete(*identities: ObjectId) -> str:
    """For objects of one namespace."""
    where = f" -n {identities[0].namespace}" if identities[0].namespace else ""
    return f"kubectl delete{where} {' '.join(f'{one.kind.lower()}/{one.name}' for one in identities)}"


def starts_with_tables_of(older: Version, newer: Version, known: Sequence[Tables] = TABLES) -> bool | None:
    """Whether a release of Synapse starts with the tables of a newer one. None: that is not known here."""
    own, theirs = _tables(older, known), _tables(newer, known)
    return own.version >= theirs.needed if own and theirs else None


def _tables(release: Version, known: Sequence[Tables]) -> Tables | None:
    if not known[0].since <= release[:2] <= TABLES_KNOWN_UNTIL:
        return None
    return max((tables for tables in known if tables.since <= release[:2]), key=lambda tables: tables.since)


def _synapse(images: tuple[str, str] | None) -> Tasks:
    if images is None:
        return Tasks()
    was, will = images
    older, newer = sorted(images, key=version)
    back, page = starts_with_tables_of(version(older), version(newer)), f"{_UPGRADES}#synapse"
    said = f"Synapse {release(was)} becomes {release(will)}: "
    after = (Task("the migrations of Synapse that go on in the background end", page=page),)
    if back is None:
        what = f"whether {release(older)} starts with the tables of {release(newer)} is not known here, and asked of the database"
        return Tasks(before=(Task(said + what, page=page),), after=after)
    if back:
        return Tasks(before=(Task(f"{said}{release(older)} starts with the tables of {release(newer)} too", page=page),), after=after)
    task = Task(
        f"{said}{release(older)} does not start with the tables of {release(newer)}: only the backup of before leads back", page=page
    )
    return Tasks(before=(task,), after=after) if will == newer else Tasks(instead=(task,))


def _postgresql(change: Change, was: str, will: str) -> Tasks:
    name, minor = change.identity.name, version(was)[:1] == version(will)[:1]
    page = f"{_UPGRADES}#postgresql-{'minor' if minor else 'major'}"
    before = (Task(f"{name}: PostgreSQL {release(was)} becomes {release(will)}", page=page),)
    if minor:
        return Tasks(before=before)
    after = (Task(f"{name}: statistics do not come along; then start what was stopped", page=page),)
    if any(re.fullmatch(r"spec\.plugins\[.*\.serverName", field.path) for field in change.fields):
        return Tasks(before=before, after=after)
    what = f"{name} would archive over what {release(was)} has archived: raise backups.generation in site.yaml"
    return Tasks((Task(what, page=page),), before, after)


def _other_release(changes: Sequence[Change], path: str) -> Iterator[tuple[str, str]]:
    """The images at a path that are of another release, before and after."""
    for change in changes:
        for field in change.fields:
            if field.path.endswith(path) and release(str(field.before)) != release(str(field.after)):
                yield str(field.before), str(field.after)
