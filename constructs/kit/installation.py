"""One installation as it is being declared: the chart that its components stand in, and what they have said so far."""

from collections.abc import Mapping
from typing import Any

from attrs import Factory, define, frozen
from cdk8s import ApiObject, ApiObjectMetadata, App, Chart
from cdk8s_plus_34 import k8s

from kit.images import Image
from kit.network import Connection, Exposure, External, Host, Pods
from kit.pods import ConfigMap
from kit.rendering import Manifest, ObjectId, PlacedObject, Rendering, Tuning
from kit.secrets import SecretSpec


@frozen
class Facts:
    """What every component must know of its site.

    `registry` holds the images built from this repository; `mirror` replaces the host of all others; `zones`: nodes carry
    `topology.kubernetes.io/zone`.
    """

    registry: str
    mirror: str | None = None
    pull_secrets: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    zones: bool = False

    def service_host(self, service: str, namespace: str) -> str:
        """The full DNS name of a Service. Without the final dot, which certificates do not have."""
        return f"{service}.{namespace}.svc.{self.cluster_domain}"

    def pulls(self, image: Image) -> str:
        """The reference by which this site pulls an image."""
        return image.reference(self.registry, self.mirror)


@define
class ObjectCache:
    """Objects that were built before, by what they were built from.

    Building a typed object crosses into Node.js (1 to 8 ms each). Most objects are the same in every profile, so one cache
    serves all profiles of a run.
    """

    manifests: dict[Any, Manifest] = Factory(dict)


@define
class Declarations:
    """What the components of an installation have declared; the derived objects (policies, budgets, documents) read it."""

    connections: list[Connection] = Factory(list)
    outside: list[tuple[Pods, External]] = Factory(list)
    api_clients: list[Pods] = Factory(list)
    exposures: list[Exposure] = Factory(list)
    tls_hosts: list[tuple[Host, str]] = Factory(list)
    """Hosts whose certificate a component mounts, and its namespace."""
    secrets: list[tuple[str, str, SecretSpec]] = Factory(list)
    """Folder and name of the component, and what it needs."""


class Installation(Chart):
    """The chart of one site in one profile. Components add to it as they are created; `rendering()` is the result."""

    def __init__(self, scope: App, name: str, facts: Facts, cache: ObjectCache | None = None) -> None:
        super().__init__(scope, name)
        self.facts = facts
        self.declared = Declarations()
        self._cache = cache or ObjectCache()
        self._objects: dict[ObjectId, PlacedObject] = {}
        self._config_maps: dict[tuple[str, str], dict[str, str]] = {}
        self._files: dict[str, str] = {}

    def add(
        self,
        scope: Any,
        file: str,
        kind: type[ApiObject],
        *,
        name: str,
        namespace: str | None,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        tuning: Tuning | None = None,
        **properties: Any,
    ) -> ObjectId:
        """Build one object and place it in `file` (below `dist/base`). Two objects of one identity are an error."""
        key = (kind, name, namespace, _key(labels), _key(annotations), _key(properties))
        manifest = self._cache.manifests.get(key)
        if manifest is None:
            # Typed built-in kinds and other kinds take metadata of different classes with the same fields.
            metadata_class: type[Any] = k8s.ObjectMeta if kind.__module__.startswith("cdk8s_plus") else ApiObjectMetadata
            metadata = metadata_class(name=name, namespace=namespace, labels=labels or None, annotations=annotations or None)
            built = kind(scope, f"{kind.__name__}-{namespace}-{name}", metadata=metadata, **properties)
            manifest = self._cache.manifests[key] = built.to_json()
        identity = ObjectId.of(manifest)
        if identity in self._objects:
            raise ValueError(f"{identity} is declared twice: in {self._objects[identity].file} and in {file}")
        self._objects[identity] = PlacedObject(file, manifest, tuning)
        return identity

    def add_config_map(self, name: str, namespace: str, files: Mapping[str, tuple[str, str]]) -> None:
        """Pack files into a generated ConfigMap: key to (path below `config/`, text). A path has one content."""
        for path, text in files.values():
            if self._files.setdefault(path, text) != text:
                raise ValueError(f"{path} is declared twice with different content")
        if (namespace, name) in self._config_maps:
            raise ValueError(f"ConfigMap {namespace}/{name} is declared twice")
        self._config_maps[namespace, name] = {key: path for key, (path, _) in files.items()}

    def texts(self, config_map: ConfigMap) -> tuple[str, ...]:
        """The content of a generated ConfigMap, in the order of its files."""
        return tuple(self._files[path] for _, path in config_map.files)

    def rendering(self) -> Rendering:
        """All that has been declared, as data."""
        return Rendering(dict(self._objects), dict(self._config_maps), dict(self._files))


def _key(value: Any) -> Any:
    """A hashable image of what an object is built from. jsii structs keep their fields in `_values`; other jsii objects are cached values."""
    if isinstance(value, dict):
        return tuple((name, _key(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_key, value))
    fields = getattr(value, "_values", None)
    if fields is not None:
        return (type(value), _key(fields))
    return value
