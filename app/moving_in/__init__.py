"""From another installation to a site.yaml: what can be taken over, and line by line what cannot, why, and what to do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from app.errors import UserError
from app.moving_in import ess, logins, synapse
from app.moving_in.given import Given, read_given
from app.moving_in.taking import Note, Taking
from app.new_site import Tree, got, put
from kit.merging import with_extra
from kit.options import OptionError, Settings


@frozen
class TakenOver:
    """Options of the new site, and what is left of the old one."""

    tree: Tree
    notes: tuple[Note, ...]


def take_over(paths: Sequence[Path]) -> TakenOver:
    """Read files of another installation in the order in which they are given: of an option that several set, the last one counts, as in Synapse."""
    files = [given for path in paths for given in read_given(path)]
    tree: Tree = {}
    notes: list[Note] = []
    of_synapse: list[Mapping[str, Any]] = []
    for given in sorted(files, key=lambda one: "server_name" not in one.data):
        taking = Taking(given, tree, notes)
        match _kind(given):
            case "ess":
                of_synapse += ess.take_values(taking)
            case "registration":
                logins.registration(taking)
            case "worker":
                synapse.take_synapse(taking)
            case _:
                of_synapse.append(given.data)
                synapse.take_synapse(taking)
    if of_synapse:
        synapse.federation(Taking(files[0], tree, notes), of_synapse)
    if not got(tree, "features.federation"):
        tree.pop("federation", None)
    return TakenOver(tree, tuple(notes))


def without_what_the_platform_sets(taken: TakenOver, config: Mapping[str, Any], use: Mapping[str, str]) -> TakenOver:
    """Leave out of `homeserver.extra` what the platform sets itself; noted where it is another value. `config`: the platform's."""
    notes = list(taken.notes)
    extra = got(taken.tree, "homeserver.extra")
    while extra:
        try:
            with_extra(dict(config), Settings(_json(extra)), "", use)
            break
        except OptionError as error:
            path = error.key.split(".")[1:]
            if _at(extra, path) != _at(config, path):
                notes.append(Note("homeserver.yaml", ".".join(path), f"not taken over: {error.message}"))
            extra = _without(extra, path)
    put(taken.tree, "homeserver.extra", extra)
    if not extra:
        taken.tree.get("homeserver", {}).pop("extra", None)
    if not taken.tree.get("homeserver", True):
        del taken.tree["homeserver"]
    return TakenOver(taken.tree, tuple(notes))


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def _at(tree: Any, path: Sequence[str]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _without(tree: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """A tree without the value at a path, and without the mappings that become empty."""
    name, *below = path
    if not below:
        return {key: of for key, of in tree.items() if key != name}
    inner = _without(tree[name], below)
    return {key: inner if key == name else of for key, of in tree.items() if key != name or inner}


def _kind(given: Given) -> str:
    keys = given.data.keys()
    if {"as_token", "hs_token"} & keys:
        return "registration"
    if "worker_app" in keys:
        return "worker"
    if ess.is_values(given.data):
        return "ess"
    if {"kind", "apiVersion"} <= keys or {"services", "version"} <= keys or "default_server_config" in keys or "sops" in keys:
        raise UserError(
            f"{given.name}: is no file of Synapse and no values of ess-helm; give homeserver.yaml, a worker's file, a registration or such "
            "values, in the clear and outside of what wraps them"
        )
    return "synapse"
