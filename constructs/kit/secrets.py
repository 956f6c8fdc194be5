"""Secrets as values: what each Secret is called and how each of its keys is made. A value of a secret is never here.

A component declares the Secrets that it needs; the provider that the site has chosen fills them. Names follow Kubernetes: a Secret
has keys, and a pod mounts keys as files.
"""

import math
import re
import string
from collections.abc import Iterable, Mapping
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from attrs import field, frozen

ALPHANUMERIC = string.ascii_letters + string.digits
HEX = "0123456789abcdef"

MINIMUM_BITS = 128
"""The least entropy of a random value, in bits: out of reach of guessing, whatever the program compares it with."""

# What may stand unquoted in a URL (RFC 3986, 2.3), and so also in the shell, INI and `key=value` files that values are composed into.
_UNRESERVED = frozenset(ALPHANUMERIC + "-._~")

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and k8s.io/apimachinery/pkg/util/validation (IsConfigMapKey).
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(rf"{_LABEL}")
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def _check_namespace(namespace: str) -> None:
    if not _NAMESPACE.fullmatch(namespace) or len(namespace) > 63:
        raise ValueError(f"{namespace!r} is no name of a Kubernetes namespace")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{name!r} is no name of a Kubernetes Secret")


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key) or len(key) > 253 or key == "." or key.startswith(".."):
        raise ValueError(f"{key!r} is no key of a Kubernetes Secret")


@frozen(order=True)
class KeyRef:
    """One key of one Secret. Raises ValueError for names that Kubernetes refuses."""

    namespace: str
    secret: str
    key: str

    def __attrs_post_init__(self) -> None:
        _check_namespace(self.namespace)
        _check_name(self.secret)
        _check_key(self.key)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.secret}:{self.key}"


@frozen
class RandomText:
    """`length` characters, each drawn from `alphabet` by a cryptographic generator.

    Raises ValueError below `MINIMUM_BITS`, and for characters that would need quoting somewhere.
    """

    length: int = 32
    alphabet: str = ALPHANUMERIC

    def __attrs_post_init__(self) -> None:
        if len(set(self.alphabet)) != len(self.alphabet):
            raise ValueError(f"the alphabet {self.alphabet!r} names a character twice")
        if not _UNRESERVED.issuperset(self.alphabet):
            raise ValueError(f"the alphabet {self.alphabet!r} has characters other than letters, digits and '-._~'")
        bits = self.length * math.log2(len(self.alphabet)) if self.alphabet else 0
        if bits < MINIMUM_BITS:
            raise ValueError(
                f"{self.length} characters of an alphabet of {len(self.alphabet)} are {bits:.0f} bits, fewer than {MINIMUM_BITS}"
            )


@frozen
class SynapseSigningKey:
    """An ed25519 key by which a homeserver signs its events, as a line of Synapse's signing key file.

    Each key gets a random id (`ed25519:a_XXXX`, as Synapse's own tool gives): another server caches a key by its id, so an id
    must never come back with another key.
    """


@frozen
class RsaPrivateKey:
    """An RSA private key in PEM (PKCS 8, not encrypted), of `bits` bits."""

    bits: int = 3072

    def __attrs_post_init__(self) -> None:
        if self.bits not in (2048, 3072, 4096):
            raise ValueError(f"an RSA key of {self.bits} bits: choose 2048, 3072 or 4096")


@frozen
class Fixed:
    """A value that is no secret but has to stand beside one, such as a user name. It is rendered in the open."""

    value: str


@frozen
class Copied:
    """The value that an operator keeps in a Secret of its own, e.g. `Copied(KeyRef("matrix", "main-app", "password"))`.

    Only the cluster knows it, so a Secret with such a key is made in the cluster under every provider.
    """

    source: KeyRef


@frozen
class Shared:
    """The value of a key of another Secret of the platform: for a pod that stands in another namespace."""

    source: KeyRef


class Form(Enum):
    """What a given value must look like."""

    ANY = "any"
    LINE = "line"
    """One line without its end: editors and `echo` put a line feed behind it, which the program would take for a part of the value."""
    PLAIN = "plain"
    """Letters, digits and . _ ~ - alone: it goes into files and addresses of several programs, each with characters of its own meaning."""
    RSA_PUBLIC_KEY = "rsa-public-key"
    """An RSA public key in PEM; a private key in its place is refused."""


@frozen
class Given:
    """A value that only the operator of the site has. `description` tells what it is and where to get it."""

    description: str
    form: Form = Form.ANY

    def __attrs_post_init__(self) -> None:
        if not self.description.strip():
            raise ValueError("a given key needs a description: the operator of the site has to find it")


@frozen
class Composed:
    """Text around other keys of the same Secret, e.g. `Composed("static-auth-secret={secret}")`.

    `{key}` stands for the value of a key; `{{` and `}}` stand for braces. Raises ValueError for a template of another form.
    """

    template: str
    parts: tuple["Text | Value", ...] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(_parse(self.template)))

    @property
    def references(self) -> frozenset[str]:
        """The keys that the template names."""
        return frozenset(part.key for part in self.parts if isinstance(part, Value))


@frozen
class Text:
    """Text of a template that stands for itself."""

    text: str


@frozen
class Value:
    """The place in a template where the value of a key goes."""

    key: str


def _parse(template: str) -> Iterable[Text | Value]:
    for text, key, specification, conversion in string.Formatter().parse(template):
        if text:
            yield Text(text)
        if key is None:
            continue
        if specification or conversion:
            raise ValueError(f"{template!r} formats {{{key}}}; only the plain key can be named")
        _check_key(key)
        yield Value(key)


Recipe: TypeAlias = RandomText | SynapseSigningKey | RsaPrivateKey | Fixed | Copied | Shared | Given | Composed

_KEPT = (RandomText, SynapseSigningKey, RsaPrivateKey, Given)
"""Recipes whose value is kept in its own right; all others follow from something else."""


def _pairs(keys: Mapping[str, Recipe]) -> tuple[tuple[str, Recipe], ...]:
    return tuple(dict(keys).items())


@frozen
class SecretSpec:
    """A Secret: its name, its keys in order, and how each is made. Raises ValueError when the keys do not fit together.

    `keys` is given as a mapping. `type` is the Kubernetes type, e.g. `kubernetes.io/basic-auth`.
    """

    name: str
    namespace: str
    keys: tuple[tuple[str, Recipe], ...] = field(converter=_pairs)
    type: str = "Opaque"

    def __attrs_post_init__(self) -> None:
        _check_namespace(self.namespace)
        _check_name(self.name)
        recipes = dict(self.keys)
        if not recipes:
            raise ValueError(f"{self}: a Secret needs keys")
        for key, recipe in self.keys:
            _check_key(key)
            if isinstance(recipe, Composed) and (unknown := recipe.references - set(recipes)):
                raise ValueError(f"{self}: {key} is composed of {', '.join(sorted(unknown))}, which the Secret does not have")
        try:
            TopologicalSorter({key: recipe.references for key, recipe in self.keys if isinstance(recipe, Composed)}).prepare()
        except CycleError as error:
            raise ValueError(f"{self}: {' and '.join(sorted(set(error.args[1])))} are composed of each other") from None
        if self.made_in_cluster and not all(isinstance(recipe, Copied | Fixed | Composed) for recipe in recipes.values()):
            raise ValueError(
                f"{self}: only the cluster can fill a Secret with copied keys, whatever the provider, so it may have only "
                "copied, fixed and composed keys; put the others into a Secret of their own"
            )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def kept(self) -> tuple[str, ...]:
        """The keys whose value is kept in its own right, and does not follow from another one."""
        return tuple(key for key, recipe in self.keys if isinstance(recipe, _KEPT))

    @property
    def made_in_cluster(self) -> bool:
        """Whether the Secret copies from an operator's Secret, which no provider outside the cluster can see."""
        return any(isinstance(recipe, Copied) for _, recipe in self.keys)

    def key(self, key: str) -> KeyRef:
        """The reference to one of the keys, for `Shared`. Raises KeyError when there is no such key."""
        if key not in dict(self.keys):
            raise KeyError(f"{self} has no key {key}")
        return KeyRef(self.namespace, self.name, key)

    def parts(self, key: str) -> tuple[Text | Value, ...]:
        """What a key is composed of, down to keys that are not themselves composed; for such a key, itself."""
        recipes = dict(self.keys)
        recipe = recipes[key]
        if not isinstance(recipe, Composed):
            return (Value(key),)
        return tuple(leaf for part in recipe.parts for leaf in (self.parts(part.key) if isinstance(part, Value) else (part,)))


@frozen
class Change:
    """What happens when the value of a key changes, and what a person does `then`."""

    effect: str
    then: str


@frozen
class DeclaredSecret:
    """A Secret that a component needs. `changes`: each key that is kept in its own right, to what its change does.

    Raises ValueError for a key of which that is not said.
    """

    folder: str
    component: str
    spec: SecretSpec
    changes: Mapping[str, Change] = field(factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        if unsaid := [key for key in self.spec.kept if key not in self.changes]:
            raise ValueError(
                f"{self.component}: the Secret {self.spec} does not say what a change of {', '.join(unsaid)} does: give a Change for each"
            )
        if strange := [key for key in self.changes if key not in self.spec.kept]:
            raise ValueError(f"{self.component}: the Secret {self.spec} keeps no {', '.join(strange)} of its own, which could change")


def in_order(specs: Iterable[SecretSpec]) -> tuple[SecretSpec, ...]:
    """The Secrets of a platform so that each comes after those whose values it shares, and those that wait for an operator last.

    The order depends on nothing but the names. Raises ValueError for two Secrets of one name, and for a shared key whose
    source does not exist, follows from something else itself, or leads back.
    """
    by_name: dict[tuple[str, str], SecretSpec] = {}
    for spec in specs:
        if by_name.setdefault((spec.namespace, spec.name), spec) is not spec:
            raise ValueError(f"the Secret {spec} is declared twice")
    sorter: TopologicalSorter[tuple[str, str]] = TopologicalSorter()
    for name in sorted(by_name):
        sorter.add(name, *sorted(_shared_sources(by_name[name], by_name)))
    try:
        ordered = [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        names = sorted({f"{namespace}/{name}" for namespace, name in error.args[1]})
        raise ValueError(
            f"{' and '.join(names)} share values with each other in a circle; put shared keys into a Secret of their own"
        ) from None
    return tuple(sorted(ordered, key=lambda spec: spec.made_in_cluster))


def _shared_sources(spec: SecretSpec, by_name: Mapping[tuple[str, str], SecretSpec]) -> set[tuple[str, str]]:
    sources = set()
    for key, recipe in spec.keys:
        if not isinstance(recipe, Shared):
            continue
        source = by_name.get((recipe.source.namespace, recipe.source.secret))
        original = dict(source.keys).get(recipe.source.key) if source else None
        if not isinstance(original, _KEPT):
            problem = "does not exist" if original is None else f"is itself {type(original).__name__.lower()}"
            raise ValueError(f"{spec}: {key} shares {recipe.source}, which {problem}")
        sources.add((recipe.source.namespace, recipe.source.secret))
    return sources
