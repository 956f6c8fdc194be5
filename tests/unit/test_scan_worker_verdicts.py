"""What follows from what engines say, and what counts as saying something."""

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scan_worker.clamd import END, PROBE, Signatures, chunk, parse_answer, parse_signatures
from services.scan_worker.files import Watched, is_known, parse_allowed, parse_tokens
from services.scan_worker.icap import Answer, judge, parse_head, service
from services.scan_worker.verdicts import CLEAN, EngineError, Finding, Trouble, Verdict, combine, dump, epoch, load
from services.signature_mirror import publication

SIGNATURES = st.none() | st.text(min_size=1, max_size=20)
FINDINGS = st.builds(Finding, st.sampled_from(["clamav", "other", "third"]), SIGNATURES, st.none() | st.text(max_size=5))
ERRORS = st.builds(EngineError, st.just("clamav"), st.sampled_from(Trouble))


@given(st.lists(FINDINGS), st.lists(ERRORS))
def test_one_engine_that_finds_something_is_enough_and_clean_needs_all(findings: list[Finding], errors: list[EngineError]) -> None:
    verdict = combine(findings, errors)
    if any(finding.signature is not None for finding in findings):
        assert verdict is not None
        assert verdict.infected
    elif errors or not findings:
        assert verdict is None
    else:
        assert verdict == CLEAN


@given(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5), max_size=3))
def test_an_epoch_is_known_when_the_signatures_of_every_engine_are(states: dict[str, str | None]) -> None:
    assert (epoch(states) is None) == (not states or None in states.values())
    assert epoch(states) == epoch(dict(reversed(states.items())))
    if states and None not in states.values():
        assert epoch({**states, next(iter(states)): "something-else"}) != epoch(states)


@given(st.none() | st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_a_verdict_comes_back_from_the_cache_as_it_was(pair: tuple[str, str] | None) -> None:
    verdict = CLEAN if pair is None else Verdict(*pair)
    assert load(dump(verdict)) == verdict


@given(st.binary() | st.text())
def test_what_is_not_a_verdict_in_the_cache_is_none(text: str | bytes) -> None:
    assert load(text) is None


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '{"signature": null}', '{"signature": "x", "engine": null}', '{"signature": 1, "engine": "x"}']
)
def test_half_a_verdict_in_the_cache_is_none(text: str) -> None:
    assert load(text) is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"2: stream: OK\0", None),
        (b"2: stream: Eicar-Test-Signature FOUND\0", "Eicar-Test-Signature"),
        (b"2: stream: Win.Test(44d88612fea8a8f36de82e1278abb02f:68) FOUND\0", "Win.Test"),
        (b"2: stream: A FOUND B FOUND\0", "A FOUND B"),
    ],
)
def test_answers_of_clamd_are_understood(line: bytes, found: str | None) -> None:
    assert parse_answer("clamav", line) == found


WORDS = st.sampled_from([b"1", b": ", b"stream", b"OK", b" FOUND", b" ERROR", b"\0", b"\n", b"x"])


@given(st.binary(max_size=60) | st.lists(WORDS).map(b"".join))
def test_nothing_but_its_own_words_counts_as_clean(line: bytes) -> None:
    try:
        found = parse_answer("clamav", line)
    except EngineError:
        return
    text = line.rstrip(b"\0")
    assert (re.fullmatch(rb"\d+: stream: OK", text) is not None) == (found is None)
    assert found is None or text.endswith(b" FOUND")


@given(st.lists(st.binary(min_size=1)))
def test_chunks_can_be_read_back(pieces: list[bytes]) -> None:
    stream, found = b"".join(map(chunk, pieces)) + END, []
    while size := int.from_bytes(stream[:4], "big"):
        found.append(stream[4 : 4 + size])
        stream = stream[4 + size :]
    assert found == pieces


def test_the_mirrors_signature_names_its_databases_to_the_scan_worker(tmp_path: Path) -> None:
    (tmp_path / "a.ndb").write_text("A:0:*:00\n")
    published = publication.collect(tmp_path)
    digest, size, name, _ = published.probe().split(":")
    assert (digest, int(size)) == (hashlib.sha256(PROBE).hexdigest(), len(PROBE))
    assert publication.PROBE == PROBE
    assert parse_signatures(f"{name}.UNOFFICIAL") == Signatures(published.digest, 0)
    assert parse_signatures("Eicar-Test-Signature") is None
    assert parse_signatures(None) is None


def test_the_tokens_of_a_file_are_known_and_no_others(tmp_path: Path) -> None:
    tokens = parse_tokens(tmp_path, "the-first-token-of-two\nthe-second-token-of-two\n")
    assert [is_known(f"{scheme} the-{one}-token-of-two", tokens) for scheme, one in (("Bearer", "first"), ("bearer", "second"))] == [
        True,
        True,
    ]
    for header in ("", "Bearer", "Bearer ", "Bearer the-third-token-of-two", "Basic the-first-token-of-two", "the-first-token-of-two"):
        assert not is_known(header, tokens)


@pytest.mark.parametrize("text", ["", "\n", "short", "a-token-that-is-long-enough\nshort"])
def test_a_file_without_good_tokens_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="must hold a token of 16 characters or more") as error:
        parse_tokens(tmp_path, text)
    assert "short" not in str(error.value)


def test_a_file_that_was_right_and_no_longer_is_keeps_its_last_content(tmp_path: Path) -> None:
    path, digest = tmp_path / "allowed", "a" * 64
    path.write_text(f"# found harmless\n{digest.upper()}  # by Bob\n")
    watched = Watched(path, parse_allowed)
    assert watched.value() == {digest}
    path.write_text("no digest\n")
    assert watched.value() == {digest}
    path.unlink()
    assert watched.value() == {digest}
    path.write_text("")
    assert watched.value() == frozenset()


def test_a_file_that_was_never_right_says_which_line(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("\nno digest\n")
    with pytest.raises(ValueError, match="allowed, line 2: write the SHA-256"):
        Watched(tmp_path / "allowed", parse_allowed).value()
    with pytest.raises(ValueError, match="none cannot be read: FileNotFoundError"):
        Watched(tmp_path / "none", parse_allowed).value()


@pytest.mark.parametrize("url", ["", "icap://", "http://a/b", "icap://a:0/b", "icap://a:x/b", "icap://user@a/b", "icap://a/b c"])
def test_what_is_no_address_of_an_icap_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of an ICAP service"):
        service(url)


@given(st.binary(max_size=80))
def test_any_bytes_for_an_icap_head_are_read_or_refused(head: bytes) -> None:
    try:
        answer = parse_head("other", head)
    except EngineError:
        return
    assert head.startswith(b"ICAP/")
    assert 0 <= answer.status <= 999


@given(st.integers(100, 599), st.none() | st.integers(100, 599))
def test_only_204_is_clean(status: int, inner: int | None) -> None:
    try:
        finding = judge("other", Answer(status, {}), None if inner is None else Answer(inner, {}))
    except EngineError:
        return
    assert (finding.signature is None) == (status == 204)
