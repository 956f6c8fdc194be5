"""site.yaml is read to a Site, and every kind of mistake in it is reported at its place, with what is allowed."""

from pathlib import Path

import pytest
from attrs.exceptions import FrozenInstanceError

from app.settings import SettingsError, parse_site, read_site
from app.site import Site
from infrastructure.ingress.options import TlsSource
from infrastructure.object_storage.options import ObjectStorageBackend
from kit.facts import Images
from kit.formats import Schedule
from kit.quantities import mib
from tests.site_documents import readable
from tests.site_mistakes import BASE, EVERYTHING, MISTAKES


def report(text: str) -> str:
    """The report on a text, which must be refused."""
    with pytest.raises(SettingsError) as refused:
        parse_site(text)
    return str(refused.value)


def problems(text: str) -> list[str]:
    """The lines of the report on a text, without the last one, which must tell their number."""
    *lines, last = report(text).splitlines()
    assert last == f"{len(lines)} error{'s' if len(lines) > 1 else ''}; nothing was written."
    return lines


# --- What is read ------------------------------------------------------------------------------------------------------------


def test_server_name_and_registry_are_all_that_must_be_given() -> None:
    site = parse_site(BASE)
    assert site == Site(server_name="example.com", images=Images(registry="registry.example.com"))
    assert (site.hosts.matrix, site.hosts.matrix_li) == ("matrix.example.com", "matrix-li.example.com")
    assert (site.tls.source, site.object_storage.backend, site.media.max_upload_size) == (
        TlsSource.ACME,
        ObjectStorageBackend.MINIO,
        mib(100),
    )
    assert (site.features.federation, site.features.li, site.registration.enabled) == (False, False, False)


def test_a_port_belongs_to_the_server_name_and_not_to_the_hosts() -> None:
    site = parse_site(BASE.replace("example.com\nimages", "example.com:8448\nimages"))
    assert (site.server_name, site.domain, site.hosts.element) == ("example.com:8448", "example.com", "element.example.com")


def test_a_storage_class_of_its_own_wins_over_the_default_class() -> None:
    classes = parse_site(BASE + "storage_classes: {default: standard, database: fast}\n").storage_classes
    assert (classes.database, classes.object_storage, classes.media_cache) == ("fast", "standard", "standard")


def test_an_option_that_is_null_counts_as_left_out() -> None:
    assert parse_site(BASE + "hosts:\nfeatures: {li: ~}\ningress: {gateway: null, annotations: }\n") == parse_site(BASE)


def test_a_site_is_frozen_and_hashable() -> None:
    site = parse_site(BASE)
    assert hash(site) == hash(parse_site(BASE))
    with pytest.raises(FrozenInstanceError):
        site.server_name = "other.example.com"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        site.hosts.other = "other.example.com"  # type: ignore[attr-defined]


def test_anchors_aliases_and_merge_keys_are_understood() -> None:
    site = parse_site(
        BASE
        + """
cluster: &nets
  node_cidrs: &nodes [10.0.0.0/24]
  multi_zone: true
ingress:
  trusted_proxies: *nodes
tls: {secret_names: {<<: [{matrix: all, element: all}, {matrix: other, rtc: rtc}], element: own}}
"""
    )
    assert site.ingress.trusted_proxies == ("10.0.0.0/24",)
    names = site.tls.secret_names
    assert (names.matrix, names.element, names.rtc, names.turn) == ("all", "own", "rtc", "turn-tls")


def test_a_byte_order_mark_and_windows_line_ends_do_not_move_positions(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + (BASE.replace("example.com", "x y", 1) + "hosts:\n  matrix: x y\n").replace("\n", "\r\n").encode())
    with pytest.raises(SettingsError, match=r"site\.yaml:1:14: server_name: .*\n.*site\.yaml:5:11: hosts\.matrix: "):
        read_site(file)


@pytest.mark.filterwarnings("error")
def test_an_anchor_may_be_used_again() -> None:
    assert parse_site(
        BASE + "cluster: {node_cidrs: &a [10.0.0.0/8], pod_cidrs: &a [fd00::/8], api_server_cidrs: *a}\n"
    ).cluster.api_server_cidrs == ("fd00::/8",)


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_the_booleans_of_yaml_are_true_and_false_in_three_spellings(word: str) -> None:
    assert parse_site(BASE + f"features: {{federation: {word}}}\n").features.federation is True


# --- Files that are not settings ----------------------------------------------------------------------------------------------


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read_site(tmp_path / "site.yaml")
    assert str(refused.value) == (
        f"{tmp_path / 'site.yaml'}: there is no such file; begin with a copy of the site.yaml of this repository\n"
        "1 error; nothing was written."
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read_site(tmp_path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_not_utf_8_is_reported_at_its_place(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes(mark + "a: ä\nb: \n".encode()[:-1] + b"\xff\n")
    with pytest.raises(SettingsError) as refused:
        read_site(file)
    assert str(refused.value) == f"{file}:2:4: byte 0xff is not UTF-8; save the file as UTF-8\n1 error; nothing was written."


NOT_SETTINGS = {
    "empty": ("", "1:1: the file is empty; it needs at least server_name and images.registry"),
    "only comments": ("# nothing\n", "1:1: the file is empty; it needs at least server_name and images.registry"),
    "a list": ("- a\n", f"1:1: a list, where a mapping is needed; put its options below it, each on its line: {EVERYTHING}"),
    "a word": ("word\n", f'1:1: "word", where a mapping is needed; put its options below it, each on its line: {EVERYTHING}'),
    "a tab": ("images:\n\tregistry: r.example.com\n", "2:1: a tab; YAML is indented with spaces"),
    "two documents": (BASE + "---\na: 1\n", '4:1: a second document begins here; a site is one document, so remove the "---"'),
    "an open bracket": (
        BASE + "cluster: {node_cidrs: [10.0.0.0/8\n",
        "4:23: what begins here is never closed; close the quote or the bracket",
    ),
    "an open quote": (BASE + "tls: 'acme\n", "4:6: what begins here is never closed; close the quote or the bracket"),
    "a second colon": (
        "server_name: a: b\n",
        '1:15: a ": " that cannot stand here; put the value in quotes, or correct the indentation of the line',
    ),
    "indentation": (BASE + " ca: y\n", "4:2: the indentation of this line fits no line above it"),
    "a star": (
        BASE + "backups:\n  schedule: */5 * * * * *\n",
        "5:13: an alias (*name) without an anchor (&name) before it; a value that begins with * must be in quotes",
    ),
    "an at sign": (BASE + "tls: @x\n", "4:6: a value cannot begin with this character; put the value in quotes"),
    "a tag": (BASE + "tls: !a!b c\n", "4:6: a tag (!name) that is not defined; a value that begins with ! must be in quotes"),
    "an escape": (BASE + 'tls: "\\q"\n', "4:8: no escape of YAML; write \\\\ for a backslash, or use single quotes"),
    "beyond Unicode": (BASE + 'tls: "\\UFFFFFFFF"\n', "4:7: an escape (\\U) beyond the last character of Unicode"),
    "a control character": ("server_name: a\x01b\n", "1:15: the character U+0001 is not allowed in YAML; remove it"),
    "depth": (BASE + "tls: " + "[" * 3000 + "\n", "4:25: is nested deeper than any option; remove a level"),
    "a new YAML": ("%YAML 2.0\n---\n" + BASE, "1:1: this is not valid YAML: found incompatible YAML document (version 1.* is required)"),
}


@pytest.mark.parametrize("case", NOT_SETTINGS)
def test_what_is_no_mapping_of_options_is_reported_at_its_place(case: str) -> None:
    text, expected = NOT_SETTINGS[case]
    assert problems(text) == [f"site.yaml:{expected}"]


# --- Mistakes in options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_reported_at_its_place_with_what_is_allowed(case: str) -> None:
    text, expected = MISTAKES[case]
    assert problems(text) == [f"site.yaml:{line}" for line in expected]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    lines = problems("tls: {source: x}\nhosts: {rtc: 1, matrix: https://a.example.com}\nserver_name: example.com\nfoo: 1\n")
    assert [line.split(": ")[0] for line in lines] == [f"site.yaml:{place}" for place in ("1:1", "1:15", "2:14", "2:25", "4:1")]


@pytest.mark.parametrize(
    ("schedule", "right"),
    [  # as github.com/robfig/cron v1.2.0, the parser of CloudNativePG, judges them; but it takes five fields and more spellings
        ("0 0 2 * * *", True),
        ("*/30 0-59/2 1,13 ? JAN-MAR MON-FRI", True),
        ("59 59 23 31 12 6", True),
        ("60 0 2 * * *", False),
        ("0 0 24 * * *", False),
        ("0 0 2 0 * *", False),
        ("0 0 2 32 * *", False),
        ("0 0 2 * 13 *", False),
        ("0 0 2 * * 7", False),
        ("0 0 2 * * */0", False),
        ("0 0 2 * * * *", False),
        ("0 0 2 * MAR-FEB *", False),
    ],
)
def test_a_backup_schedule_is_one_that_the_database_operator_takes(schedule: str, right: bool) -> None:
    kind = Schedule.__metadata__[0]  # type: ignore[attr-defined]
    assert readable(kind, schedule) is right
