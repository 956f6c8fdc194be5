"""Small manifests for the tests of `app.inspection.reach`, as short as a test wants them."""

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]


def deployment(
    name: str, ports: Mapping[str, int] | None = None, replicas: int = 2, labels: Mapping[str, str] | None = None, **spec: Any
) -> Object:
    """A Deployment `namespace/name` whose pods are labelled `app: name`, with TCP ports by name."""
    namespace, _, short = name.rpartition("/")
    containers = [{"ports": [{"name": port, "containerPort": number} for port, number in (ports or {}).items()]}]
    template = {"metadata": {"labels": {"app": short, **(labels or {})}}, "spec": {"containers": containers, **spec}}
    return _object("apps/v1", "Deployment", namespace or "matrix", short, {"replicas": replicas, "template": template})


def service(name: str, app: str, *ports: Object, **spec: Any) -> Object:
    """A Service `namespace/name` for the pods labelled `app: app`; without an app it selects nothing."""
    namespace, _, short = name.rpartition("/")
    selector = {"selector": {"app": app}} if app else {}
    return _object("v1", "Service", namespace or "matrix", short, {**selector, "ports": list(ports), **spec})


def namespace(name: str, **labels: str) -> Object:
    """A Namespace with labels of its own."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def policy(name: str, app: str | None = None, **spec: Any) -> Object:
    """A NetworkPolicy `namespace/name` on the pods labelled `app: app`, or on all; `sources` and `targets` are rules in and out."""
    owner, _, short = name.rpartition("/")
    selector = {"matchLabels": {"app": app}} if app else {}
    return _object("networking.k8s.io/v1", "NetworkPolicy", owner or "matrix", short, {"podSelector": selector, **spec})


def accept(name: str, app: str | None, *rules: Object | None) -> Object:
    """A policy that lets in what its rules say, and nothing else."""
    return policy(name, app, policyTypes=["Ingress"], ingress=list(rules))


def send(name: str, app: str | None, *rules: Object | None) -> Object:
    """A policy that lets out what its rules say, and nothing else."""
    return policy(name, app, policyTypes=["Egress"], egress=list(rules))


def pods(app: str) -> Object:
    """A peer: the pods labelled `app: app` in the policy's namespace."""
    return {"podSelector": {"matchLabels": {"app": app}}}


def within(name: str) -> Object:
    """A peer: all pods of a namespace, by the label that every namespace has."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def block(cidr: str, *holes: str) -> Object:
    """A peer: a range of addresses."""
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


def custom(api_version: str, kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    """A custom resource `namespace/name`."""
    owner, _, short = name.rpartition("/")
    return _object(api_version, kind, owner or "matrix", short, spec)


def expressions(*requirements: Sequence[Any]) -> Object:
    """A selector of `(key, operator, *values)`."""
    fields = [{"key": key, "operator": operator, **({"values": values} if values else {})} for key, operator, *values in requirements]
    return {"matchExpressions": fields}


def _object(api_version: str, kind: str, owner: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": owner, "name": name}, "spec": dict(spec)}
