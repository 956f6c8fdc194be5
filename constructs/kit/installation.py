"""One installation as it is being declared: the chart that its components stand in, and what they have said so far."""

from collections.abc import Mapping
from typing import Any

from attrs import Factory, define, evolve
from cdk8s import App, Chart

from constructs import Construct
from kit.facts import Facts
from kit.monitoring import Alert, Scrape
from kit.network import Connection, Exposure, External, Host, Pods, PortRange
from kit.objects import Kind, manifest
from kit.pods import ConfigMap
from kit.rendering import Manifest, ObjectId, PlacedObject, Rendering, Tuning
from kit.secrets import DeclaredSecret
from kit.state import KEPT, State
from kit.waves import with_wave


@define
class Declarations:
    """What the components of an installation have declared; the derived objects (policies, budgets, documents) read it."""

    connections: list[Connection] = Factory(list)
    outside: list[tuple[Pods, External]] = Factory(list)
    api_clients: list[Pods] = Factory(list)
    exposures: list[Exposure] = Factory(list)
    tls_hosts: list[tuple[Host, str]] = Factory(list)
    """Hosts whose certificate a component mounts, and its namespace."""
    node_ports: list[tuple[str, PortRange]] = Factory(list)
    """Component, and ports that it takes of the nodes that it runs on."""
    secrets: list[DeclaredSecret] = Factory(list)
    scrapes: list[Scrape] = Factory(list)
    """Metrics that pods offer."""
    alerts: list[tuple[str, Alert]] = Factory(list)
    """Component, and what its metrics tell people."""
    state: list[tuple[str, State]] = Factory(list)
    """Component, and what it keeps."""
    workloads: set[str] = Factory(set)
    """Components and workloads, by the names by which a site can say where they run."""


class Installation(Chart):
    """The chart of one site in one profile. Components add to it as they are created; `rendering()` is the result."""

    def __init__(self, scope: App, name: str, facts: Facts) -> None:
        super().__init__(scope, name)
        self.facts = facts
        self.declared = Declarations()
        self._objects: dict[ObjectId, PlacedObject] = {}
        self._makers: dict[ObjectId, Construct] = {}
        self._config_maps: dict[tuple[str, str], dict[str, str]] = {}
        self._files: dict[str, str] = {}
        self._kept: set[ObjectId] = set()

    def add(
        self,
        scope: Construct,
        file: str,
        kind: Kind,
        *,
        name: str,
        namespace: str | None,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        tuning: Tuning | None = None,
        **properties: Any,
    ) -> ObjectId:
        """Build one object and place it in `file` (below `dist/base`). Two objects of one identity are an error."""
        built = with_wave(file, manifest(scope, kind, name=name, namespace=namespace, labels=labels, annotations=annotations, **properties))
        identity = ObjectId.of(built)
        if identity in self._objects:
            raise ValueError(f"{identity} is declared twice: in {self._objects[identity].file} and in {file}")
        self._objects[identity] = PlacedObject(file, built, tuning)
        self._makers[identity] = scope
        return identity

    def maker(self, identity: ObjectId) -> Any:
        """The component that has added an object."""
        return self._makers[identity]

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

    def keep(self, identity: ObjectId) -> None:
        """Only a person deletes this object: no GitOps tool does, whatever becomes of the site."""
        self._kept.add(identity)

    def rendering(self) -> Rendering:
        """All that has been declared, as data. KeyError for an object that is kept and that nobody has declared."""
        kept = {identity: evolve(self._objects[identity], manifest=_annotated(self._objects[identity].manifest)) for identity in self._kept}
        objects = {identity: kept.get(identity, placed) for identity, placed in self._objects.items()}
        return Rendering(objects, dict(self._config_maps), dict(self._files))


def _annotated(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    annotations = dict(sorted({**metadata.get("annotations", {}), **KEPT}.items()))
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
