"""What the providers of secrets are given: the request and the rights of the in-cluster Job, and ExternalSecrets.

Everything here is data made from the declared Secrets, and holds no value of one. Values are made by the program in `services/secrets/`
alone: in the cluster, or for the `manual` provider by `app/secret_manifests.py`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from infrastructure.secret_provider.component import FetchedSecret, GeneratorSpec, Right
from infrastructure.secret_provider.options import SecretProvider, SecretsOptions, SecretStore
from kit.secrets import (
    Composed,
    Copied,
    DeclaredSecret,
    Fixed,
    Given,
    KeyRef,
    RandomText,
    Recipe,
    RsaPrivateKey,
    SecretSpec,
    Shared,
    SynapseSigningKey,
    Text,
    in_order,
)


def providers(declared: Sequence[DeclaredSecret], options: SecretsOptions) -> tuple[GeneratorSpec | None, tuple[FetchedSecret, ...]]:
    """What the chosen provider needs in the cluster: the Job, if it has anything to make, and the Secrets that are fetched."""
    owners = {(need.spec.namespace, need.spec.name): (need.folder, need.component) for need in declared}
    specs = [need.spec for need in declared]
    made = made_by_job(specs, options.provider)
    fetched: tuple[FetchedSecret, ...] = ()
    if options.provider is SecretProvider.EXTERNAL and options.store:
        fetched = tuple(
            FetchedSecret(*owners[spec.namespace, spec.name], spec.name, spec.namespace, external_secret(spec, options.store))
            for spec in specs
            if not spec.made_in_cluster
        )
    if not made:
        return None, fetched
    rights = tuple(
        Right(*owner, rule.namespace, rule.verbs, rule.names)
        for owner in dict.fromkeys(owners.values())
        for rule in rules([spec for spec in made if owners[spec.namespace, spec.name] == owner])
    )
    return GeneratorSpec(request(made), rights), fetched


# -- generate: the Job


def made_by_job(specs: Iterable[SecretSpec], provider: SecretProvider) -> tuple[SecretSpec, ...]:
    """The Secrets that the Job makes: all under `generate`, else those that copy from an operator's Secret. In the order of making.

    Raises ValueError when the Secrets do not fit together.
    """
    return tuple(spec for spec in in_order(specs) if provider is SecretProvider.GENERATE or spec.made_in_cluster)


def request(specs: Sequence[SecretSpec]) -> str:
    """The request file of the Job for the Secrets of `made_by_job`: JSON, the same bytes for the same Secrets. It holds no secret."""
    document = {
        "secrets": [
            {
                "namespace": spec.namespace,
                "name": spec.name,
                "type": spec.type,
                "keys": {key: recipe_data(spec, key) for key, _ in spec.keys},
            }
            for spec in specs
        ]
    }
    return json.dumps(document, indent=1) + "\n"


@frozen
class Rule:
    """What the Job may do with Secrets of one namespace. No names: all of them, as RBAC cannot bind `create` to names."""

    namespace: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


def rules(specs: Sequence[SecretSpec]) -> tuple[Rule, ...]:
    """The least rights by which the Job can make these Secrets: create, get and patch by name, and get for what it copies."""
    own: dict[str, set[str]] = {}
    read: dict[str, set[str]] = {}
    for spec in specs:
        own.setdefault(spec.namespace, set()).add(spec.name)
        for _, recipe in spec.keys:
            if isinstance(recipe, Copied | Shared):
                read.setdefault(recipe.source.namespace, set()).add(recipe.source.secret)
    found = []
    for namespace in sorted(own | read):
        names = own.get(namespace, set())
        if names:
            found += [Rule(namespace, ("create",)), Rule(namespace, ("get", "patch"), tuple(sorted(names)))]
        if others := read.get(namespace, set()) - names:
            found.append(Rule(namespace, ("get",), tuple(sorted(others))))
    return tuple(found)


def recipe_data(spec: SecretSpec, key: str) -> dict[str, Any]:
    """The recipe of a key as the generator reads it. Composed keys name only keys that are not composed."""
    recipe: Recipe = dict(spec.keys)[key]
    match recipe:
        case RandomText(length, alphabet):
            return {"recipe": "random-text", "length": length, "alphabet": alphabet}
        case SynapseSigningKey():
            return {"recipe": "synapse-signing-key"}
        case RsaPrivateKey(bits):
            return {"recipe": "rsa-private-key", "bits": bits}
        case Fixed(value):
            return {"recipe": "fixed", "value": value}
        case Given(description, form):
            return {"recipe": "given", "description": description, "form": form.value}
        case Copied(source):
            return {"recipe": "copied", "source": _source(source)}
        case Shared(source):
            return {"recipe": "shared", "source": _source(source)}
        case Composed():
            parts = [part.text if isinstance(part, Text) else {"key": part.key} for part in spec.parts(key)]
            return {"recipe": "composed", "parts": parts}


def _source(source: KeyRef) -> dict[str, str]:
    return {"namespace": source.namespace, "secret": source.secret, "key": source.key}


# -- external: ExternalSecrets


def external_secret(spec: SecretSpec, store: SecretStore, prefix: str = "matrix-platform") -> dict[str, Any]:
    """The `spec` of an ExternalSecret (external-secrets.io/v1) for one Secret that is not made in the cluster.

    In the store, each Secret is one entry `<prefix>/<namespace>/<name>` whose properties are the keys. Fixed and composed keys are
    not in the store: the operator puts them together, by the template engine v2 (Go's text/template).
    """
    if spec.made_in_cluster:
        raise ValueError(f"{spec} copies from an operator's Secret: the Job makes it")
    remote: list[dict[str, Any]] = []
    template: dict[str, str] = {}
    for key, recipe in spec.keys:
        match recipe:
            case Fixed(value):
                template[key] = _go_text(value)
            case Composed():
                template[key] = "".join(_go_text(p.text) if isinstance(p, Text) else _go_value(spec, p.key) for p in spec.parts(key))
            case Shared(source):
                remote.append(_remote(prefix, key, source))
            case _:
                remote.append(_remote(prefix, key, spec.key(key)))
    # Owner: the operator holds exactly these keys. Merge: the keys of `data` stay beside those of the template.
    target: dict[str, Any] = {"name": spec.name, "creationPolicy": "Owner", "deletionPolicy": "Retain"}
    if template or spec.type != "Opaque":
        target["template"] = {"engineVersion": "v2", "mergePolicy": "Merge", "type": spec.type, **({"data": template} if template else {})}
    return {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": store.name, "kind": store.kind.value},
        "target": target,
        "data": remote,
    }


def _remote(prefix: str, key: str, source: KeyRef) -> dict[str, Any]:
    return {"secretKey": key, "remoteRef": {"key": f"{prefix}/{source.namespace}/{source.secret}", "property": source.key}}


def _go_value(spec: SecretSpec, key: str) -> str:
    recipe = dict(spec.keys)[key]
    return _go_text(recipe.value) if isinstance(recipe, Fixed) else f'{{{{ index . "{key}" }}}}'


def _go_text(text: str) -> str:
    """Text that Go's text/template prints as it is: braces that it could read as the start of an action are quoted."""
    return re.sub(r"\{{2,}|\{$", lambda braces: f'{{{{ "{braces.group()}" }}}}', text)
