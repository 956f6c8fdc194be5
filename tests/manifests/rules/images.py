"""The image lock against the images that are rendered."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, workloads

REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
FIELDS = {"repository", "tag", "licence", "user"}
OPTIONAL = {"digest", "group", "built", "released"}

# SPDX identifiers (https://spdx.org/licenses/) of what the platform runs; another one deserves a look before it is added.
LICENCES = {"AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-3-Clause", "GPL-2.0-only", "GPL-2.0-or-later", "MIT", "PostgreSQL"}

Lock = Mapping[str, Mapping[str, Any]]


def lock_problems(lock: Lock) -> list[str]:
    """Entries of images.toml that are not well-formed: fields, reference, user and order."""
    found = []
    for name, entry in lock.items():
        wrong = FIELDS - set(entry) | set(entry) - FIELDS - OPTIONAL
        found += [f"{name}: {field} is missing or unknown" for field in sorted(wrong)]
        if wrong:
            continue
        repository, tag, digest = str(entry["repository"]), str(entry["tag"]), entry.get("digest")
        host = repository.partition("/")[0]
        if not REPOSITORY.fullmatch(repository) or (entry.get("built") and "." in host) or (not entry.get("built") and "." not in host):
            found.append(f"{name}: {repository} is no repository with its host, or has a host though it is built here")
        if not TAG.fullmatch(tag) or tag in ("latest", "main", "master", "stable", "edge"):
            found.append(f"{name}: the tag {tag} may be another image tomorrow")
        if digest is not None and not DIGEST.fullmatch(digest):
            found.append(f"{name}: {digest} is no digest")
        if entry["licence"] not in LICENCES:
            found.append(f"{name}: the licence {entry['licence']} is not known")
        if not all(isinstance(entry.get(key, 1), int) and entry.get(key, 1) > 0 for key in ("user", "group")):
            found.append(f"{name}: user and group are numbers above 0")
    if list(lock) != sorted(lock):
        found.append("the entries are not in alphabetical order")
    references = [(entry.get("repository"), entry.get("tag")) for entry in lock.values()]
    return found + [f"{reference} comes twice" for reference in sorted(set(references), key=str) if references.count(reference) > 1]


def references(lock: Lock, registry: str, mirror: str | None = None) -> dict[str, str]:
    """Image reference to the entry that it comes from; `registry` is where the images are that are built here.

    `mirror` takes the place of the registry host of every other image.
    """
    found = {}
    for name, entry in lock.items():
        host, _, path = entry["repository"].partition("/")
        repository = f"{registry}/{entry['repository']}" if entry.get("built") else f"{mirror or host}/{path}"
        found[f"{repository}:{entry['tag']}" + (f"@{entry['digest']}" if "digest" in entry else "")] = name
    return found


def usage_problems(lock: Lock, registry: str, used: Iterable[str]) -> list[str]:
    """Images that run and are not in the lock, and entries of the lock that nothing runs."""
    known, running = references(lock, registry), set(used)
    return [f"{image} is not in the lock" for image in sorted(running - set(known))] + [
        f"nothing runs {known[image]}" for image in sorted(set(known) - running)
    ]


def user_problems(objects: Objects, lock: Lock, registry: str) -> list[str]:
    """Pods that run as another user or group than their image is made for."""
    entries, found = references(lock, registry), []
    for workload in workloads(objects):
        context, image = workload.pod.get("securityContext", {}), workload.pod["containers"][0]["image"]
        entry = lock[entries[image]]
        wanted = (entry["user"], entry.get("group", entry["user"]))
        if (context.get("runAsUser"), context.get("runAsGroup")) != wanted:
            found.append(f"{workload} runs as {context.get('runAsUser')}:{context.get('runAsGroup')}, and {image} is for {wanted}")
    return found
