"""Every object against its published schema, with unknown fields failing."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from attrs import field, frozen
from jsonschema import Draft202012Validator

from tests.manifests.rules.objects import Objects, title

BUILT_IN = {
    "",
    "apps",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
}
VERSION = kubernetes_validate.latest_version()
OWN_DEFINITIONS = Path(__file__).parent.parent / "definitions"

# It reads a file of megabytes for each object; the content is the same each time.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def built_in_problems(objects: Objects) -> list[str]:
    """What the API server's strict validation refuses."""
    found = []
    for o in objects:
        if group(o["apiVersion"]) in BUILT_IN:
            error = _built_in_error(json.dumps(o))
            found += [f"{title(o)}: {error}"] if error else []
    return found


@cache
def _built_in_error(text: str) -> str | None:
    try:
        kubernetes_validate.validate(json.loads(text), VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


@frozen
class Definitions:
    """CustomResourceDefinitions: API version and kind to the schema, and to what validates it."""

    schemas: Mapping[tuple[str, str], Mapping[str, Any]]
    validators: Mapping[tuple[str, str], Draft202012Validator] = field(init=False)

    @validators.default
    def _strict(self) -> Mapping[tuple[str, str], Draft202012Validator]:
        return {key: Draft202012Validator(strict(schema, resource=True)) for key, schema in self.schemas.items()}

    @classmethod
    def at_hand(cls) -> "Definitions":
        """Those in the folder that MATRIX_PLATFORM_CRDS names, and the ones kept here. Without the folder, the test is skipped."""
        folder = os.environ.get("MATRIX_PLATFORM_CRDS")
        if not folder:
            pytest.skip("MATRIX_PLATFORM_CRDS names no folder with the CustomResourceDefinitions of the operators")
        found = {}
        for file in (file for each in (OWN_DEFINITIONS, Path(folder)) for file in sorted(each.glob("*.yaml"))):
            for crd in yaml.load_all(file.read_text(), yaml.CSafeLoader):
                if not crd or crd["kind"] != "CustomResourceDefinition":
                    continue
                for version in crd["spec"]["versions"]:
                    key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                    found[key] = version["schema"]["openAPIV3Schema"]
        return cls(found)

    def problems(self, objects: Objects) -> list[str]:
        """Custom resources that their definition refuses, or that have none."""
        found = []
        for o in objects:
            if group(o["apiVersion"]) in BUILT_IN:
                continue
            validator = self.validators.get((o["apiVersion"], o["kind"]))
            if validator is None:
                found.append(f"{title(o)}: no definition of {o['apiVersion']} {o['kind']}")
                continue
            found += [f"{title(o)}: {'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(o)]
        return found


def strict(schema: Mapping[str, Any], *, resource: bool = False) -> dict[str, Any]:
    """A structural schema as JSON Schema: fields that it does not name are errors, unless it keeps unknown ones.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
    `resource`: a whole object, which has `apiVersion`, `kind` and `metadata` besides. What stands in `allOf`, `anyOf`, `oneOf` and
    `not` restricts values and names no fields, so it stays as it is.
    """
    result = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key not in ("description", "default")}
    resource = resource or bool(schema.get("x-kubernetes-embedded-resource"))
    if schema.get("x-kubernetes-int-or-string"):
        result = {key: value for key, value in result.items() if key != "anyOf"} | {"type": ["integer", "string"]}
    if "properties" in schema or resource:
        result["properties"] = {name: strict(item) for name, item in schema.get("properties", {}).items()}
    if resource:
        result["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    if isinstance(schema.get("additionalProperties"), Mapping):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    elif schema.get("type") == "object" and "additionalProperties" not in schema:
        result["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if "items" in schema:
        result["items"] = strict(schema["items"])
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    result.pop("nullable", None)
    return result
