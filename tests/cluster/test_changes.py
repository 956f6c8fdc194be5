"""The platform gets other releases of programs and another size while people send and read, as the guides say, and goes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.inspection.changes import changes
from app.inspection.steps import kept_by, left, refused
from tests.cluster import SITE, Cluster, Overlay, compiled
from tests.cluster.conftest import PROFILE, WHOLE_SECONDS
from tests.cluster.convergence import back_up, missing, postgresql, why
from tests.cluster.images import NEXT
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.platform import a_quarter
from tests.cluster.report import Report
from tests.kustomize import build
from tests.live.report import Fault

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

LARGER = "1000-ccu"
OPERATOR = ("--namespace", "cnpg-system", "deployment/cnpg-controller-manager")


def instances(api: Kubernetes) -> list[dict[str, Any]]:
    """The pods of PostgreSQL."""
    return api.objects("pods", "matrix", "cnpg.io/cluster=postgresql-main,cnpg.io/podRole=instance")


def images(api: Kubernetes, containers: str, name: str) -> set[str]:
    """The images of a container in all instances of PostgreSQL."""
    return {c["image"] for pod in instances(api) for c in pod["spec"][containers] if c["name"] == name}


def test_nothing_is_lost_when_postgresql_gets_the_image_of_another_minor_release(
    survive: Callable[..., Fault], rendered: Path, overlay: Overlay, api: Kubernetes, cluster: Cluster
) -> None:
    """docs/08-UPGRADES.md: the tag changes, and the rest is the operator's. The image has the same content here."""
    before = postgresql(api)
    image = f"{before['spec']['imageName']}{NEXT}"
    target = {"kind": "Cluster", "name": "postgresql-main", "namespace": "matrix"}
    more = [(target, [{"op": "replace", "path": "/spec/imageName", "value": image}])]
    newer = Overlay(rendered, cluster.place.folder / "newer", more=more)

    def upgrade(applied: Overlay, image: str) -> None:
        applied.apply(api)
        wait_until(lambda: images(api, "containers", "postgres") == {image} and not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)

    survive("PostgreSQL gets another image", lambda: upgrade(newer, image))
    assert postgresql(api)["status"]["currentPrimary"] != before["status"]["currentPrimary"], (
        "the primary is replaced last, by a switchover"
    )
    survive("PostgreSQL gets the image of before", lambda: upgrade(overlay, before["spec"]["imageName"]))


def test_nothing_is_lost_when_the_operator_of_postgresql_gets_another_release(survive: Callable[..., Fault], api: Kubernetes) -> None:
    """It replaces the program that it has put into every instance, so that each instance starts anew."""
    (image,) = images(api, "initContainers", "bootstrap-controller")
    container = {"name": "manager", "image": f"{image}{NEXT}", "env": [{"name": "OPERATOR_IMAGE_NAME", "value": f"{image}{NEXT}"}]}

    def replaced() -> bool:
        return images(api, "initContainers", "bootstrap-controller") == {f"{image}{NEXT}"} and not missing(api)

    def upgrade() -> None:
        api.kubectl("patch", *OPERATOR, "--patch", json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}}))
        api.kubectl("rollout", "status", *OPERATOR, "--timeout=180s", seconds=200)
        wait_until(replaced, WHOLE_SECONDS, lambda: why(api), pause=3)

    survive("CloudNativePG gets another release", upgrade)


def test_nothing_is_lost_when_the_site_grows_to_the_next_size_and_shrinks_again(
    survive: Callable[..., Fault], rendered: Path, overlay: Overlay, api: Kubernetes, cluster: Cluster, report: Report, tmp_path: Path
) -> None:
    """docs/02-SCALING-GUIDE.md, up and down. The larger size runs as it is rendered, but requests a quarter of the processors."""
    small, large = build(rendered), build(rendered.parent / LARGER)
    larger = Overlay(rendered.parent / LARGER, cluster.place.folder / "larger", more=a_quarter(large))
    up, down = changes(small, large), changes(large, small)
    assert refused(up) == ()
    assert {change.identity.kind for change in refused(down)} == {"ResourceQuota"}, "the site has listed its volumes"
    assert kept_by(down) == {}
    gone = [change.identity for change in left(down) if change.identity.kind != "ConfigMap"]

    def apply(size: Overlay) -> None:
        assert size.apply(api) == ()
        wait_until(lambda: not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)

    survive(f"{PROFILE} grows to {LARGER}", lambda: apply(larger))
    assert larger.difference(api) == ""
    report.add(f"{LARGER} over {PROFILE}", f"{len(api.objects('pods', 'matrix'))} pods in matrix")

    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump(yaml.safe_load(SITE.read_text()) | {"shrinking_from": LARGER}))
    shrinking = Overlay(compiled(site, tmp_path / "dist") / PROFILE, cluster.place.folder / "shrinking")
    survive(f"{LARGER} shrinks to {PROFILE}", lambda: apply(shrinking))
    for identity in gone:
        api.kubectl("delete", f"{identity.kind}/{identity.name}", "--namespace", identity.namespace, seconds=120)
    apply(overlay)
    assert overlay.difference(api) == ""
    # What is restored from it need not know that the site was larger.
    back_up(api, "smaller")
    report.add(
        f"{PROFILE} after {LARGER}", f"{len(api.objects('pods', 'matrix'))} pods in matrix; {len(gone)} objects deleted, as plan says"
    )
