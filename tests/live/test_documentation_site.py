"""The documentation as a site: both builders make it without a word, and a browser that reaches nobody outside shows all of it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from tests.kustomize import ROOT
from tests.live.processes import LOOPBACK
from tests.live.programs import installed, made
from tests.live.servers import serving

pytestmark = pytest.mark.timeout(400)


def built(folder: Path, *command: str) -> Path:
    """The site that a builder makes of mkdocs.yml, in a folder of its own."""
    (folder / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text().replace(".cache/site", "site"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    program = made(ROOT / ".venv-docs/bin" / command[0])
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, "WARNING" in done.stderr + done.stdout) == (0, False), done.stderr + done.stdout
    return folder / "site"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "mkdocs": built(tmp_path_factory.mktemp("mkdocs"), "mkdocs", "build", "--strict"),
        "zensical": built(tmp_path_factory.mktemp("zensical"), "zensical", "build", "--strict"),
    }


BUILDERS = pytest.mark.parametrize("builder", ["mkdocs", "zensical"])


@BUILDERS
def test_every_page_is_built_and_reached_from_the_menu(sites: dict[str, Path], builder: str) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(sites[builder]).as_posix() for path in sites[builder].rglob("*.html")} >= pages
    menu = re.findall(r'href="([^"#]+\.html)"', (sites[builder] / "index.html").read_text())
    assert pages <= set(menu) | {"index.html"}


def foreign(text: str) -> list[str]:
    """What a page would load from elsewhere by itself: scripts, styles, fonts, images and preconnections, not links for people."""
    loads = re.findall(r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", text)
    return loads + re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", text)


@BUILDERS
def test_no_page_and_no_style_loads_anything_from_elsewhere(sites: dict[str, Path], builder: str) -> None:
    files = [path for path in sites[builder].rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert len(files) > 20
    assert {path.name: found for path in files if (found := foreign(path.read_text()))} == {}
    # Both builders' script would fetch a drawing program for this class.
    assert [path.name for path in files if 'class="mermaid"' in path.read_text()] == []


def test_what_would_be_loaded_from_elsewhere_is_noticed() -> None:
    text = '<script src="https://cdn.example.com/a.js"></script><link rel=stylesheet href=//fonts.example.com/b><a href="https://c.example.com">'
    assert foreign(text + "@import 'https://d.example.com/e.css'") == [
        "https://cdn.example.com/a.js",
        "//fonts.example.com/b",
        "https://d.example.com/e.css",
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=installed("chromium"), args=["--no-sandbox"])
        yield found
        found.close()


@BUILDERS
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_a_browser_shows_every_diagram_and_finds_a_word_without_anybody_outside(
    sites: dict[str, Path], browser: Browser, builder: str, scheme: Any, width: int
) -> None:
    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(sites[builder]))

        def log_message(self, *_: object) -> None:
            pass

    with serving(Files) as port:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        page = context.new_page()
        asked, failed = [], []
        page.on("request", lambda request: asked.append(urlparse(request.url)))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"http://{LOOPBACK}:{port}/reference/connections.html")
        page.wait_for_load_state("networkidle")
        diagrams = len(list((ROOT / "docs/reference/diagrams").iterdir()))
        shown = page.locator("article img").evaluate_all("all => all.map(one => one.complete && one.naturalWidth > 100)")
        assert shown == [True] * diagrams
        # Nothing is wider than the window: what is, scrolls by itself.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate(
            "getComputedStyle(document.body).getPropertyValue('--md-default-bg-color') && document.body.dataset.mdColorScheme"
        )
        assert dark == {"light": "default", "dark": "slate"}[scheme]
        if builder == "mkdocs" and width > 1000:
            # What is typed before the index has been read is forgotten, and the page reads what was typed when a key goes up: text that is
            # set in one go has no keys, and was found only when the page read it for another reason in time.
            ready = page.locator(".md-search-result__meta").filter(has_text="Type to start searching")
            ready.wait_for(state="attached", timeout=60_000)
            page.locator("[data-md-component=search-query]").press_sequentially("shrinking_from")
            page.locator(".md-search-result__item").first.wait_for(timeout=60_000)
        assert {url.netloc for url in asked if url.scheme != "data"} == {f"{LOOPBACK}:{port}"}
        assert failed == []
        context.close()


def test_both_builders_read_one_file_that_names_no_host() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert settings["theme"]["font"] is False
    assert "//" not in re.sub(r"#.*", "", (ROOT / "mkdocs.yml").read_text())
