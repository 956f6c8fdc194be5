"""Who may import whom: the rooms of the project, as docs/CONTRIBUTING.md says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "app",
    "kit",
    "infrastructure",
    "main_instance",
    "li_instance",
    "antivirus",
    "monitoring",
    "overlays",
    "imports",
    "services",
    "tests",
    "bench",
    "tools",
}


def modules(folder: str, name: str = "*.py") -> Iterator[Path]:
    yield from (path for path in (ROOT / folder).rglob(name) if "__pycache__" not in path.parts)


def imported(path: Path) -> set[str]:
    """Dotted names of our own modules that a file imports, also within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.partition(".")[0] in OURS}


def strays(folder: str, allowed: tuple[str, ...], name: str = "*.py") -> list[str]:
    """Imports of the modules in a folder that lead elsewhere than to these packages or modules."""
    return [
        f"{path.relative_to(ROOT)}: {stray}"
        for path in modules(folder, name)
        for stray in sorted(imported(path))
        if not any(stray == room or stray.startswith(f"{room}.") for room in allowed)
    ]


@pytest.mark.parametrize(
    ("room", "may_import"),
    [
        ("constructs/kit", ("kit",)),
        ("constructs/infrastructure", ("kit", "imports", "infrastructure")),
        ("constructs/main_instance", ("kit", "imports", "infrastructure", "main_instance")),
        ("constructs/antivirus", ("kit", "imports", "infrastructure", "main_instance", "antivirus")),
        ("constructs/li_instance", ("kit", "imports", "infrastructure", "main_instance", "li_instance")),
        ("constructs/monitoring", ("kit", "imports", "infrastructure", "monitoring")),
        ("overlays", ("kit", "overlays", "infrastructure", "main_instance", "li_instance", "antivirus", "monitoring")),
        ("services", ("services",)),
        # It judges what is rendered, so it must not share a mistake with what renders.
        ("app/inspection", ("kit.quantities", "kit.rendering", "kit.footprint", "app.inspection", "app.errors")),
        (
            "app/platform",
            ("kit", "infrastructure", "main_instance", "li_instance", "antivirus", "monitoring", "overlays", "app.site", "app.platform"),
        ),
    ],
)
def test_a_room_imports_from_those_below_it_alone(room: str, may_import: tuple[str, ...]) -> None:
    assert strays(room, may_import) == []


def test_reading_options_needs_nothing_but_the_kit_and_other_options() -> None:
    found = strays("constructs", ("kit.options", "kit.formats", "kit.network", "kit.quantities"), "options.py")
    assert [stray for stray in found if not stray.endswith(".options")] == []


def test_a_size_knows_quantities_and_its_own_component_alone() -> None:
    for path in modules("constructs", "size.py"):
        own = ".".join(path.relative_to(ROOT / "constructs").parts[:-1])
        assert strays(str(path.parent.relative_to(ROOT)), ("kit.quantities", own), "size.py") == [], path


def test_a_profile_names_sizes_and_nothing_else_of_a_component() -> None:
    layers = ("infrastructure", "main_instance", "li_instance", "antivirus", "monitoring")
    names = {name for path in modules("overlays") for name in imported(path) if name.startswith(layers)}
    assert {name for name in names if not name.endswith(".size")} == set()


def test_only_people_and_documents_ask_the_inspection() -> None:
    """Nothing that makes objects does."""
    asking = {path.relative_to(ROOT).as_posix() for room in ("app", "constructs", "overlays") for path in modules(room)}
    askers = {path for path in asking if any(name.startswith("app.inspection") for name in imported(ROOT / path))}
    assert {path for path in askers if not path.startswith(("app/inspection/", "app/commands/", "app/documents"))} == set()


def test_a_stray_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_house.ROOT", tmp_path)
    room = tmp_path / "constructs/kit"
    room.mkdir(parents=True)
    (room / "component.py").write_text("def late() -> None:\n    from app.site import Site\n")
    assert strays("constructs/kit", ("kit",)) == ["constructs/kit/component.py: app.site"]
