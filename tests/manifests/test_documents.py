"""The pages that are derived say what is declared, and a link of a page leads to where it says, on the site and where the repository is browsed."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.documents.connections import Box, calls
from app.documents.declared import declarations
from kit.installation import Declarations
from overlays import profiles
from tests.kustomize import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def declared() -> Declarations:
    return declarations(profiles()[0])[0]


def test_the_page_of_connections_has_every_call_that_is_declared(declared: Declarations) -> None:
    found = calls(declared)
    assert found[Box("", "ingress"), Box("matrix", "haproxy")] == [8008]
    assert found[Box("matrix", "synapse"), Box("matrix", "redis")] == [6379]
    page = re.sub(" +", " ", (ROOT / "docs/reference/connections.md").read_text())
    for (source, target), ports in found.items():
        assert f"| {source.component} | {target.component} | {', '.join(map(str, ports))} |" in page


def test_a_diagram_shows_what_stands_below_it() -> None:
    parts = re.split("^## ", (ROOT / "docs/reference/connections.md").read_text(), flags=re.MULTILINE)[1:]
    for part in parts:
        (file,) = re.findall(r"\((diagrams/[a-z-]+\.svg)\)", part)
        drawing = ElementTree.parse(ROOT / "docs/reference" / file)
        words = {text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")}
        rows = [line.strip("| ").split("|") for line in part.splitlines() if line.startswith("|")][2:]
        assert {cell.strip() for row in rows for cell in row[:2]} <= words


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, where the repository is browsed: https://github.com/gjtorikian/html-pipeline, toc_filter."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', text))


def dead_links(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if not link.startswith(("https://", "http://")):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_a_link_leads_to_a_page_and_a_heading_that_there_are(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here it is: `now`\n\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#here-it-is-now) [b](other.md#no-heading) [c](gone.md) [d](https://example.com/gone)")
    assert dead_links(page) == ["other.md#no-heading", "gone.md"]
