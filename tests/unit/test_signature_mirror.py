"""What the mirror publishes, and in which order."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.signature_mirror.publication import LIST_FILE, PROBE_FILE, UnusableError, collect, publish


def folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def cvd(content: bytes, made: int = 1_795_000_000) -> bytes:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return f"ClamAV-VDB:25 Nov 2026 08-23 -0000:1:1:90:{digest}:sig:tests:{made}".encode().ljust(512) + content


def test_the_published_files_are_the_databases_their_list_and_the_probe(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", {"daily.cvd": cvd(b"x"), "own.ndb": b"A:0:*:00\n", "daily-1.cvd.sign": b"s"})
    folder(source, {"notes.txt": b"", ".hidden.ndb": b"B:0:*:00\n"})
    assert publish(collect(source), tmp_path / "public", 0, print)
    published = {path.name for path in (tmp_path / "public").iterdir()}
    assert published == {"daily.cvd", "own.ndb", "daily-1.cvd.sign", LIST_FILE, PROBE_FILE}
    assert ".1795000000." in (tmp_path / "public" / PROBE_FILE).read_text()


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", {"own.ndb": b"A:0:*:00\n"})
    assert publish(collect(source), tmp_path / "public", 0, print)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "public").iterdir()}
    assert not publish(collect(source), tmp_path / "public", 0, print)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "public").iterdir()} == before


def test_the_probe_changes_only_after_the_databases_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = tmp_path / "public"
    publish(collect(folder(tmp_path / "in", {"own.ndb": b"A:0:*:00\n"})), public, 0, print)
    old, seen = (public / PROBE_FILE).read_text(), []

    def waiting(seconds: float) -> None:
        seen.append((seconds, (public / PROBE_FILE).read_text(), (public / "own.ndb").read_bytes()))

    monkeypatch.setattr("services.signature_mirror.publication.time.sleep", waiting)
    publish(collect(folder(tmp_path / "in", {"own.ndb": b"B:0:*:00\n"})), public, 300, print)
    assert seen == [(300, old, b"B:0:*:00\n")]
    assert (public / PROBE_FILE).read_text() != old


def test_a_run_that_was_cut_short_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, source = tmp_path / "public", folder(tmp_path / "in", {"own.ndb": b"A:0:*:00\n"})

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("services.signature_mirror.publication.time.sleep", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(collect(source), public, 300, print)
    (public / ".daily.cvd.new").write_bytes(b"half")
    assert not (public / PROBE_FILE).exists()
    assert publish(collect(source), public, 0, print)
    assert {path.name for path in public.iterdir()} == {"own.ndb", LIST_FILE, PROBE_FILE}


def test_what_is_gone_from_the_source_is_withdrawn_but_never_all(tmp_path: Path) -> None:
    public, source = tmp_path / "public", folder(tmp_path / "in", {"a.ndb": b"A:0:*:00\n", "b.ndb": b"B:0:*:00\n"})
    publish(collect(source), public, 0, print)
    (source / "a.ndb").unlink()
    publish(collect(source), public, 0, print)
    assert {path.name for path in public.iterdir()} == {"b.ndb", LIST_FILE, PROBE_FILE}
    (source / "b.ndb").unlink()
    with pytest.raises(UnusableError, match="there are no databases in"):
        collect(source)


def test_of_two_files_with_one_name_the_sites_own_counts(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "1", {"own.ndb": b"A:0:*:00\n"}), folder(tmp_path / "2", {"own.ndb": b"B:0:*:00\n"})
    assert collect(first, second).databases["own.ndb"].path == second / "own.ndb"


@pytest.mark.parametrize("content", [b"", b"<html>", cvd(b"x" * 1000)[:-1], cvd(b"x").replace(b"ClamAV-VDB", b"ClamAV-XXX")])
def test_a_database_that_is_not_whole_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnusableError, match=r"main\.cvd"):
        collect(folder(tmp_path / "in", {"main.cvd": content}))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=10), min_size=1), st.sampled_from("abcd"), st.binary(max_size=10))
def test_the_digest_names_exactly_these_databases(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], name: str, content: bytes
) -> None:
    named = {f"{letter}.ndb": text for letter, text in files.items()}
    changed = {**named, f"{name}.ndb": content}
    first, second = (collect(folder(tmp_path_factory.mktemp("in"), one)) for one in (named, changed))
    assert (first.digest == second.digest) == (named == changed)
