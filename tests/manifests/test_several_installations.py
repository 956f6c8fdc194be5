"""Two installations in one cluster: neither has an object of the other, nor names one."""

import re

import pytest
from attrs import evolve

from app.compiler import render
from app.gitops.argocd import argocd_files
from app.gitops.flux import flux_files
from app.objects import objects
from app.settings import parse_site
from app.site import Namespaces, Site
from kit.rendering import ObjectId, Rendering
from kit.text import yaml_text
from overlays import profiles
from tests.manifests.rules.objects import Objects, of_kind
from tests.manifests.test_gitops import SITE as GITOPS

OTHERS = Namespaces(main="chat", li="chat-li", rtc="chat-rtc", monitoring="chat-monitoring", backups="chat-backups")


def names_of_others(own: Objects, others: Objects) -> list[str]:
    """What of `own` names a namespace of the others, or what they have in none."""
    spaces = "|".join(o["metadata"]["name"] for o in of_kind(others, "Namespace"))
    names = "|".join(o["metadata"]["name"] for o in others if "namespace" not in o["metadata"] and o["kind"] != "Namespace")
    named = re.compile(rf"(?<![\w.-])({names})(?![\w-])|\.({spaces})\.svc|namespace: ({spaces})$", re.MULTILINE)
    return [f"{ObjectId.of(o)}: {found[0]}" for o in own for found in named.finditer(yaml_text(o))]


@pytest.fixture(scope="module")
def second(full_site: Site) -> Objects:
    return [dict(o) for o in objects(render(evolve(full_site, namespaces=OTHERS), profiles()[0]))]


def test_two_installations_share_no_object_and_do_not_name_each_others(everything: Objects, second: Objects) -> None:
    assert {ObjectId.of(o) for o in everything} & {ObjectId.of(o) for o in second} == set()
    assert names_of_others(second, everything) == []
    assert len(names_of_others(everything, everything)) > 100


def test_who_applies_them_tells_them_apart(renderings: dict[str, Rendering]) -> None:
    texts = []
    for text in (GITOPS, GITOPS + "namespaces: {main: chat, li: chat-li, rtc: chat-rtc, monitoring: chat-monitoring}\n"):
        site = parse_site(text)
        assert site.gitops
        flux, argocd = flux_files(site, site.gitops), argocd_files(site, site.gitops, renderings)
        texts.append([argocd["platform.yaml"], *re.split("^---$", argocd["projects.yaml"], flags=re.MULTILINE)])
        texts[-1] += [flux["production/platform.yaml"], flux["production/source.yaml"]]
    names = [{re.findall(r"^kind: (\w+)\nmetadata:\n  name: (\S+)", text, re.MULTILINE)[0] for text in file} for file in texts]
    assert {kind for kind, _ in names[0]} == {"ApplicationSet", "AppProject", "Kustomization", "GitRepository"}
    assert names[0] & names[1] == set()
