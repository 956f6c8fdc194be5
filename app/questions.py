"""What `init` asks: one question for an option, with the flag that answers it where nobody is asked."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from attrs import frozen

from app.new_site import Tree, got, mistake
from app.settings import SITE
from kit.options import Choice, Entries, Flag, Items, Kind, Option, Section, options_below


def _always(_: Tree) -> bool:
    return True


def _with(key: str, value: object) -> Callable[[Tree], bool]:
    return lambda tree: got(tree, key) == value


def _with_certificates_by(source: str) -> Callable[[Tree], bool]:
    return lambda tree: (got(tree, "tls.source") or "acme") == source


@frozen(slots=False)
class Question:
    """One question. `key`: its option; `asked`: whether what is known so far leaves it open; `flag`: the answer on the command line."""

    key: str
    flag: str
    text: str
    asked: Callable[[Tree], bool] = _always

    @cached_property
    def option(self) -> Option:
        """The option that it is about."""
        return dict(options_below(SITE))[self.key]

    @property
    def name(self) -> str:
        """What the command line calls its value."""
        return re.sub("[^a-z]", "_", self.flag.removeprefix("--"))

    def read(self, text: str) -> Any:
        """The answer as site.yaml has it. Raises ValueError, with the reason and what to write."""
        value = _read(self.option.kind, text)
        if problem := mistake(self.key, value):
            raise ValueError(problem)
        return value


QUESTIONS: tuple[Question, ...] = (
    Question("server_name", "--server-name", "Server name: the part of user ids after the colon, which can never change"),
    Question("images.registry", "--registry", "Registry, with path, for the images that are built from here"),
    Question("images.mirror", "--mirror", "Registry that has all other images, if the cluster has no internet"),
    Question("features", "--with", "Parts beside Synapse and Element Web, separated by commas"),
    Question("tls.source", "--certificates", "Where certificates come from"),
    Question("tls.cluster_issuer", "--cluster-issuer", "ClusterIssuer", _with_certificates_by("cluster-issuer")),
    Question("tls.acme.email", "--acme-email", "E-mail address for the certification authority", _with_certificates_by("acme")),
    Question("storage_classes.default", "--storage-class", "StorageClass of every volume"),
    Question("storage_classes.database", "--database-storage-class", "StorageClass of PostgreSQL, if another: as fast as local SSDs"),
    Question("ingress.class_name", "--ingress-class", "IngressClass"),
    Question("ingress.controller_namespace", "--ingress-namespace", "Namespace of the ingress controller"),
    Question("cluster.domain", "--cluster-domain", "DNS domain of the cluster"),
    Question("cluster.dns.namespace", "--dns-namespace", "Namespace of the cluster's DNS"),
    Question("cluster.multi_zone", "--multi-zone", "Do the nodes stand in several zones"),
    Question("cluster.api_server_cidrs", "--api-server-cidrs", "Addresses of the API server, as networks, separated by commas"),
    Question("cluster.node_cidrs", "--node-cidrs", "Networks of the nodes"),
    Question("cluster.pod_cidrs", "--pod-cidrs", "Networks of the pods"),
    Question("cluster.service_cidrs", "--service-cidrs", "Networks of the Services"),
    Question(
        "push.fcm_apps",
        "--fcm-apps",
        "Your apps and their Firebase projects, as in com.example.app: example-app (Apple's: push.apns)",
        _with("features.push", True),
    ),
    Question("li.country_code", "--country", "Country of the operator, in exported cases", _with("features.li", True)),
    Question("li.owner", "--owner", "What the authorities call the operator", _with("features.li", True)),
    Question(
        "li.officers",
        "--officers",
        "Officers, as in anna@authority.example: Anna Adler (investigator); clara@authority.example: Clara Cohn (approver)",
        _with("features.li", True),
    ),
)


def needed(question: Question, tree: Tree) -> bool:
    """Whether a site that is so far as `tree` cannot do without the answer."""
    rule = question.option.needed_with
    return question.option.required or (rule is not None and got(tree, rule.key) in rule.values)


def flags_in(message: str) -> str:
    """The flags of the options that a message names, as an end of it."""
    named = [question.flag for question in QUESTIONS if re.search(rf"(?<![\w.]){re.escape(question.key)}(?![\w])", message)]
    return f" ({', '.join(named)})" if named else ""


def choices(question: Question, there: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What can be answered, as far as there is a list of it. `there`: what the cluster has."""
    match question.option.kind:
        case Choice() as kind:
            return kind.words
        case Section() as kind:
            return tuple(option.name for option in kind.options)
        case _:
            return there.get(question.key, ())


def _read(kind: Kind, text: str) -> Any:
    match kind:
        case Flag():
            return text == "true"
        case Items():
            return _parts(text, ",")
        case Section():
            return dict.fromkeys(_parts(text, ","), True)
        case Entries():
            pairs = [part.partition(":") for part in _parts(text, ";")]
            return {name.strip(): value.strip() for name, _, value in pairs}
        case _:
            return text.strip()


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]
