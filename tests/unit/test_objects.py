"""Objects of built-in kinds as the kit renders them are those that cdk8s renders."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cdk8s_plus_34
import pytest
from cdk8s import App, Chart
from cdk8s_plus_34 import k8s

from app.platform import assemble
from app.settings import read_site
from kit import objects
from overlays import profiles
from tests.kustomize import ROOT


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Any, Any]]:
    """Every built-in object of the smallest profile: as the kit renders it, and as cdk8s does."""
    found: list[tuple[Any, Any]] = []
    chart = Chart(App(), "reference")
    own = objects.manifest

    def both(scope: Any, kind: Any, *, name: str, namespace: str | None, labels: Any, annotations: Any = None, **properties: Any) -> Any:
        rendered = own(scope, kind, name=name, namespace=namespace, labels=labels, annotations=annotations, **properties)
        if kind.__module__ == k8s.__name__:
            metadata = k8s.ObjectMeta(name=name, namespace=namespace, labels=labels or None, annotations=annotations or None)
            found.append((rendered, kind(chart, f"{kind.__name__}-{namespace}-{name}", metadata=metadata, **properties).to_json()))
        return rendered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kit.installation.manifest", both)
        assemble(App(), read_site(ROOT / "tests" / "site.yaml"), profiles()[0])
    return found


def test_every_object_is_what_cdk8s_makes_of_it_down_to_the_order_of_its_keys(pairs: list[tuple[Any, Any]]) -> None:
    assert len(pairs) > 80
    assert {rendered["kind"] for rendered, _ in pairs} > {"StatefulSet", "Deployment", "Service", "NetworkPolicy", "Job", "Ingress"}
    for rendered, reference in pairs:
        assert list(walk(rendered)) == list(walk(reference))


def walk(value: Any) -> Iterator[Any]:
    """Keys and scalars in their order. A number is one number, whether it has crossed into Node.js or not."""
    match value:
        case dict():
            for key, item in value.items():
                yield key
                yield from walk(item)
        case list():
            yield len(value)
            for item in value:
                yield from walk(item)
        case _:
            yield value


def irregular_names() -> dict[str, str]:
    """Field of a struct to its name in Kubernetes, where they differ, from the code that cdk8s runs in Node.js."""
    (package,) = (Path(cdk8s_plus_34.__file__).parent / "_jsii").glob("*.tgz")
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/lib/imports/k8s.js")
        assert member is not None
        pairs = re.findall(r"^\s*'([^']+)': .*?\bobj\.(\w+)", member.read().decode(), re.MULTILINE)
    return {field: name for name, field in pairs if name != field}


def test_every_irregular_name_is_known() -> None:
    of_json_schema = {field for field, name in irregular_names().items() if name.startswith(("$", "x-kubernetes-"))}
    assert {field: name for field, name in irregular_names().items() if field not in of_json_schema} == objects.IRREGULAR


def test_a_value_that_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="neither data nor a struct"):
        objects.data({"when": object()})
