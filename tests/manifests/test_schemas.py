"""Every object passes its published schema: Kubernetes' own kinds always, custom resources where their definitions are at hand."""

from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.manifests.rules.objects import Objects, assert_kept, of_kind
from tests.manifests.rules.schemas import Definitions, built_in_problems, strict


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return Definitions.at_hand()


def test_kubernetes_accepts_every_object(trees: dict[str, Objects]) -> None:
    assert_kept(built_in_problems, trees)


def test_every_custom_resource_follows_its_definition(trees: dict[str, Objects], definitions: Definitions) -> None:
    assert_kept(definitions.problems, trees)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("spec", "replicas"), "two"), (("spec", "template", "spec", "imaginary"), True), (("apiVersion",), "apps/v1beta1")],
)
def test_a_wrong_object_of_kubernetes_is_refused(path: tuple[str, ...], value: Any, everything: Objects) -> None:
    deployment = deepcopy(of_kind(everything, "Deployment")[0])
    put(deployment, path, value)
    assert len(built_in_problems([deployment])) == 1


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Cluster", ("spec", "monitoring", "enabled"), True),
        ("Cluster", ("spec", "instances"), "three"),
        ("Cluster", ("spec", "affinity", "podAntiAffinity"), True),
        ("Tenant", ("spec", "prometheusOperator"), {"enabled": True}),
        ("ScheduledBackup", ("spec", "method"), "tape"),
        ("ObjectStore", ("apiVersion",), "barmancloud.cnpg.io/v9"),
    ],
)
def test_a_wrong_custom_resource_is_refused(
    kind: str, path: tuple[str, ...], value: Any, everything: Objects, definitions: Definitions
) -> None:
    resource = deepcopy(of_kind(everything, kind)[0])
    put(resource, path, value)
    assert len(definitions.problems([resource])) == 1


def test_the_strict_form_knows_the_extensions_of_kubernetes() -> None:
    schema = {
        "type": "object",
        "properties": {
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "maybe": {"type": "string", "nullable": True},
        },
    }
    accepts = Draft202012Validator(strict(schema, resource=True)).is_valid
    whole = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}}
    assert accepts(whole | {"port": 1, "free": {"x": [1]}, "labels": {"a": "b"}, "maybe": None})
    assert accepts(whole | {"port": "http"})
    for wrong in ({"port": True}, {"port": 1.5}, {"labels": {"a": 1}}, {"other": 1}, {"maybe": 1}):
        assert not accepts(whole | wrong), wrong


def put(o: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        o = o.setdefault(key, {})
    o[path[-1]] = value
