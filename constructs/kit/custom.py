"""Custom resources without a generated class: those whose CRD must not be copied, and those whose `spec` comes as data."""

from typing import Any, ClassVar

from cdk8s import ApiObject, ApiObjectMetadata, JsonPatch

from constructs import Construct


class CustomResource(ApiObject):
    """A custom resource with its `spec` as a dictionary; a subclass names the kind."""

    resource_version: ClassVar[str]
    resource_kind: ClassVar[str]

    def __init__(self, scope: Construct, id: str, *, metadata: ApiObjectMetadata, spec: dict[str, Any]) -> None:
        super().__init__(scope, id, api_version=self.resource_version, kind=self.resource_kind, metadata=metadata)
        self.add_json_patch(JsonPatch.add("/spec", spec))
