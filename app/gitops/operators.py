"""`dist/operators/`: the programs that the platform stands on, by the references of their charts."""

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from app.layout import KUSTOMIZATION, NOTICE, Files
from app.site import Site
from infrastructure.ingress.component import TRAEFIK_VALUES
from infrastructure.operators import BARMAN_CLOUD_PLUGIN, CLOUDNATIVE_PG, KEDA, MINIO_OPERATOR, OPERATORS, TRAEFIK, Operator
from infrastructure.postgresql.options import PostgresqlBackend
from kit.text import yaml_text


def wanted(site: Site) -> tuple[Operator, ...]:
    """Those that a site needs and its clusters do not have, in the order of installation."""
    present = {operator.value for operator in site.gitops.present} if site.gitops else set()
    if not site.has_tenants:
        present.add(MINIO_OPERATOR.name)
    if site.ingress.gateway or site.ingress.class_name != TRAEFIK.name:
        present.add(TRAEFIK.name)
    if site.postgresql.backend is PostgresqlBackend.EXTERNAL and not site.features.li:
        present |= {CLOUDNATIVE_PG.name, BARMAN_CLOUD_PLUGIN.name}
    if not (site.features.monitoring and site.monitoring.keda):
        present.add(KEDA.name)
    return tuple(operator for operator in OPERATORS if operator.name not in present)


def values(site: Site, operator: Operator) -> dict[str, Any]:
    """What its chart is told: its settings, and where its images are where the site has a mirror."""
    found: dict[str, Any] = dict(TRAEFIK_VALUES) if operator is TRAEFIK else {}
    for setting in operator.settings:
        path, _, value = setting.partition("=")
        _put(found, path, value == "true" if value in ("true", "false") else value)
    if mirror := site.images.mirror:
        for image in operator.images:
            repository, _, tag = image.mirrored(mirror).rpartition(":")
            if operator is TRAEFIK:
                # Its chart joins the two with a slash.
                _put(found, f"{image.values}.registry", mirror)
                repository = repository.removeprefix(f"{mirror}/")
            _put(found, f"{image.values}.repository", repository)
            _put(found, f"{image.values}.tag", tag)
    return found


def _put(place: dict[str, Any], path: str, value: Any) -> None:
    *folders, key = path.split(".")
    for folder in folders:
        place = place.setdefault(folder, {})
    place[key] = value


def operator_files(site: Site) -> Files:
    """The files of `dist/operators/`, by path below it: what is given to each chart, and a script that installs all in order."""
    operators = wanted(site)
    files = {"install.sh": _script(site, operators)}
    for operator in operators:
        if operator.chart is None:
            files[f"{operator.name}/kustomization.yaml"] = NOTICE + yaml_text(_kustomization(site, operator))
        elif told := values(site, operator):
            files[f"{operator.name}.yaml"] = NOTICE + yaml_text(told)
    return files


@frozen
class Installed:
    """An operator as `dist/operators/` installs it. `told`: what its chart is given, or the kustomization that is applied."""

    command: str
    told: Mapping[str, str]

    @property
    def version(self) -> str:
        """That of its chart, or of its manifest."""
        found = re.search(r"--version (\S+)|newTag: (\S+)|/download/([^/]+)/", "\n".join([self.command, *self.told.values()]))
        return next(filter(None, found.groups()), "") if found else ""


def installed(files: Files) -> dict[str, Installed]:
    """The operators that the files of a `dist/operators/` install, by name, in the order of installation."""
    found = {}
    for line in files.get("install.sh", "").splitlines():
        if named := re.match(r"helm upgrade --install (\S+) |kubectl apply --server-side -k (\S+)", line):
            name = named[1] or named[2]
            told = {path: _said(text) for path, text in files.items() if path == f"{name}.yaml" or path.startswith(f"{name}/")}
            found[name] = Installed(line, told)
    return found


def _said(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def repository(site: Site, operator: Operator) -> str:
    """Where its chart is had. Raises ValueError for one that has none."""
    if operator.chart is None:
        raise ValueError(f"{operator.name} is not installed from a chart")
    return (site.gitops.charts if site.gitops else None) or operator.chart.repository


def _kustomization(site: Site, operator: Operator) -> dict[str, Any]:
    """An operator's own manifest; with a mirror the copy of it that a bundle brings, in `operators/` of the repository, and its images from there."""
    if not site.images.mirror:
        return {**KUSTOMIZATION, "resources": [operator.manifest]}
    mirror = site.images.mirror
    images = [
        {"name": name, "newName": f"{mirror}/{name.partition('/')[2]}", "newTag": tag}
        for name, _, tag in (image.reference.rpartition(":") for image in operator.images)
    ]
    found = {**KUSTOMIZATION, "resources": [f"../../../operators/{operator.name}"], "images": images}
    if operator is not BARMAN_CLOUD_PLUGIN:
        return found
    # The sidecar is named in a Secret.
    _, sidecar = operator.images
    environment = {"name": "SIDECAR_IMAGE", "value": sidecar.mirrored(mirror), "valueFrom": None}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "barman-cloud", "namespace": operator.namespace},
        "spec": {"template": {"spec": {"containers": [{"name": "barman-cloud", "env": [environment]}]}}},
    }
    return {**found, "patches": [{"patch": yaml_text(patch)}]}


def _script(site: Site, operators: tuple[Operator, ...]) -> str:
    lines = [
        "#!/bin/sh",
        NOTICE.rstrip(),
        "# What the platform stands on, in these versions: installed, or upgraded. Needs kubectl, and Helm 3 or 4.",
        "set -eu",
    ]
    lines.append('cd "$(dirname "$0")"')
    for operator in operators:
        if operator.chart is None:
            lines.append(f"kubectl apply --server-side -k {operator.name}")
            continue
        url = repository(site, operator)
        chart = f"{url}/{operator.chart.name}" if url.startswith("oci://") else f"{operator.chart.name} --repo {url}"
        told = f" --values {operator.name}.yaml" if values(site, operator) else ""
        place = f"--version {operator.chart.version} --namespace {operator.namespace} --create-namespace"
        lines.append(f"helm upgrade --install {operator.name} {chart} {place}{told} --wait")
    return "\n".join(lines) + "\n"
