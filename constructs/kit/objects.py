"""From typed classes to objects as data: built-in kinds and our own few without a call into Node.js, generated custom resources by cdk8s.

The classes of `cdk8s_plus_34.k8s` are structs whose fields the type checker knows, and each struct carries the names of its fields.
cdk8s turns them into data in Node.js, which takes several milliseconds for a workload: nearly all of the time of a compilation. A test
holds this module to what cdk8s gives, for every object of the platform.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from cdk8s import ApiObject, ApiObjectMetadata
from cdk8s_plus_34 import k8s

from constructs import Construct
from kit.rendering import Manifest


class CustomResource:
    """A custom resource without a generated class, its `spec` as data: the CRD must not be copied, or is but a small part of it in use."""

    resource_version: ClassVar[str]
    resource_kind: ClassVar[str]


Kind = type[ApiObject] | type[CustomResource]

IRREGULAR = {
    "clientIp": "clientIP",
    "clusterIp": "clusterIP",
    "datasetUuid": "datasetUUID",
    "diskUri": "diskURI",
    "downwardApi": "downwardAPI",
    "externalId": "externalID",
    "hostIp": "hostIP",
    "hostIpc": "hostIPC",
    "hostPid": "hostPID",
    "insecureSkipTlsVerify": "insecureSkipTLSVerify",
    "loadBalancerIp": "loadBalancerIP",
    "nodeId": "nodeID",
    "nodeUid": "nodeUID",
    "nonResourceUrLs": "nonResourceURLs",
    "openApiv3Schema": "openAPIV3Schema",
    "pdId": "pdID",
    "podCidRs": "podCIDRs",
    "podCidr": "podCIDR",
    "podUid": "podUID",
    "providerId": "providerID",
    "scaleIo": "scaleIO",
    "serviceAccountUid": "serviceAccountUID",
    "setHostnameAsFqdn": "setHostnameAsFQDN",
    "storagePolicyId": "storagePolicyID",
    "targetCpuUtilizationPercentage": "targetCPUUtilizationPercentage",
    "targetWwNs": "targetWWNs",
    "volumeId": "volumeID",
}
"""The fields that structs spell in another way than Kubernetes does: acronyms. (Those of JSON Schema are left out, the platform defines no
custom resources.)
"""


def manifest(
    scope: Construct,
    kind: Kind,
    *,
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    **properties: Any,
) -> Manifest:
    """One object as data. The keys of structs are sorted below `apiVersion`, `kind` and `metadata`, as cdk8s sorts them.

    `properties` are those that the kind's constructor takes beside its metadata. Raises TypeError for a value that is neither data nor a
    struct.
    """
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels or None, "annotations": annotations or None}
    if issubclass(kind, CustomResource):
        return {"apiVersion": kind.resource_version, "kind": kind.resource_kind, "metadata": data(metadata)} | properties
    if kind.__module__ == k8s.__name__:
        api_version, kind_name = _group_version_kind(kind)
        fields: dict[str, Any] = data(getattr(k8s, f"{kind.__name__}Props")(**properties))
        return {"apiVersion": api_version, "kind": kind_name, "metadata": data(metadata)} | fields
    identifier = f"{kind.__name__}-{namespace}-{name}"
    rendered: Manifest = kind(scope, identifier, metadata=ApiObjectMetadata(**metadata), **properties).to_json()
    return rendered


def data(value: Any) -> Any:
    """A struct, or what structs are made of, as mappings, lists and scalars, without what is None."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {key: data(item) for key, item in sorted(value.items()) if item is not None}
    if isinstance(value, list | tuple):
        return [data(item) for item in value]
    if isinstance(value, k8s.Quantity | k8s.IntOrString):
        return _content(value)
    names: Mapping[str, str] | None = getattr(type(value), "__jsii_name_mapping__", None)
    if names is None:
        raise TypeError(f"{value!r} is neither data nor a struct of Kubernetes")
    fields = {names[field]: data(item) for field, item in value._values.items() if item is not None}
    return dict(sorted((IRREGULAR.get(field, field), item) for field, item in fields.items()))


@cache
def _content(value: k8s.Quantity | k8s.IntOrString) -> str | float:
    """Text or number of a value that lives in Node.js. The kit makes each such value once."""
    content: str | float = value.value
    return content


@cache
def _group_version_kind(kind: type[ApiObject]) -> tuple[str, str]:
    identity = kind.GVK  # type: ignore[attr-defined]  # every class of cdk8s_plus_34.k8s that is a kind has it
    return identity.api_version, identity.kind
