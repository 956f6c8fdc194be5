"""The chain of the audit log: whatever is changed, taken out, put elsewhere or cut off is found."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from services.key_vault.audit import (
    EMPTY,
    GENESIS,
    BrokenChainError,
    Entry,
    Head,
    canonical,
    digest,
    link_hash,
    next_entry,
    published_heads,
    timestamp,
    verify,
)

MOMENT = datetime(2026, 1, 31, 23, 59, 59, 123456, UTC)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.dictionaries(TEXTS.filter(lambda name: name not in {"event", "salt", "time"}), JSON, max_size=3)


def chain(fields: Sequence[dict[str, Any]]) -> list[Entry]:
    entries: list[Entry] = []
    for one in fields:
        entries.append(next_entry(entries[-1].head if entries else EMPTY, MOMENT, "test", one))
    return entries


def whole(entries: Sequence[Entry], published: Sequence[Head] = ()) -> bool:
    try:
        return list(verify(entries, published)) == list(entries)
    except BrokenChainError:
        return False


CHAINS = st.lists(FIELDS, min_size=2, max_size=6).map(chain)


@given(JSON)
def test_canonical_json_is_json_and_its_own_canonical_form(value: Any) -> None:
    once = canonical(value)
    assert json.loads(once) == value
    assert canonical(json.loads(once)) == once


@given(st.dictionaries(TEXTS, JSON, max_size=6), st.randoms())
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


@pytest.mark.parametrize("value", [2**53 + 1, float("nan"), "\ud800", {1: 2}, object(), {"a": {1, 2}}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="has no canonical form"):
        canonical(value)


def test_a_link_is_hashed_as_the_database_hashes_it() -> None:
    text = f'{{"content":"{digest(b"x")}","previous":"{GENESIS}","sequence":1}}'
    assert link_hash(1, GENESIS, digest(b"x")) == digest(text.encode())


@given(CHAINS)
def test_a_chain_is_whole_as_it_was_written(entries: list[Entry]) -> None:
    assert whole(entries)
    assert whole(entries, [entry.head for entry in entries])


@given(CHAINS, st.data())
def test_one_changed_byte_anywhere_is_found(entries: list[Entry], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(["content", "previous", "hash"]))
    raw = bytearray(getattr(entries[which], name).encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 127))
    changed = raw.decode("utf-8", "surrogateescape")
    assume(changed != getattr(entries[which], name))
    damaged = [*entries[:which], evolve(entries[which], **dict[str, Any]({name: changed})), *entries[which + 1 :]]
    try:
        assert not whole(damaged)
    except UnicodeEncodeError:  # PostgreSQL would not have stored it.
        assume(False)


@given(CHAINS, st.data())
def test_an_entry_that_was_taken_out_is_found(entries: list[Entry], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(entries) - 2))
    assert not whole([*entries[:which], *entries[which + 1 :]])


@given(CHAINS, st.data())
def test_entries_in_another_order_are_found(entries: list[Entry], data: st.DataObject) -> None:
    other = data.draw(st.permutations(entries))
    assume(other != entries)
    assert not whole(other)


@given(CHAINS, st.data())
def test_an_entry_that_stands_there_twice_is_found(entries: list[Entry], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(entries) - 1))
    assert not whole([*entries[: which + 1], *entries[which:]])


@given(CHAINS, st.data())
def test_an_end_that_was_cut_off_is_found_by_a_published_head_and_by_nothing_else(entries: list[Entry], data: st.DataObject) -> None:
    left = data.draw(st.integers(0, len(entries) - 1))
    assert whole(entries[:left])
    assert not whole(entries[:left], [entries[-1].head])


@given(CHAINS, st.data())
def test_a_log_that_was_made_anew_is_found_by_a_published_head(entries: list[Entry], data: st.DataObject) -> None:
    anew = chain([{} for _ in entries])
    which = data.draw(st.integers(0, len(entries) - 1))
    assert whole(anew)
    assert not whole(anew, [entries[which].head])


def test_two_heads_of_one_number_are_a_fork() -> None:
    one, other = chain([{}, {}]), chain([{}])
    with pytest.raises(BrokenChainError, match="forked"):
        list(verify(one, [one[0].head, other[0].head]))


def test_content_that_is_not_canonical_is_found_though_its_hash_is_right() -> None:
    content = '{"time": "x"}'
    with pytest.raises(BrokenChainError, match="not canonical"):
        list(verify([Entry(1, content, GENESIS, link_hash(1, GENESIS, digest(content.encode())))]))


def test_the_message_says_which_entry_it_is() -> None:
    entries = chain([{}, {}, {}])
    with pytest.raises(BrokenChainError, match="entry 2 has been changed"):
        list(verify([entries[0], evolve(entries[1], content='{"a":1}'), entries[2]]))


def test_equal_contents_have_other_digests_for_their_salts() -> None:
    one, other = chain([{"a": 1}])[0], chain([{"a": 1}])[0]
    assert digest(one.content.encode()) != digest(other.content.encode())


@given(CHAINS)
def test_published_heads_are_found_in_whatever_a_shipper_makes_of_the_lines(entries: list[Entry]) -> None:
    heads = [entry.head for entry in entries]
    line = [json.dumps({"logger": "key_vault.audit", "message": f"audit-head {head}"}) for head in heads]
    shipped = [json.dumps({"pod": "key-vault-0", "log": one}) for one in line]
    assert list(published_heads(["something else", *line])) == heads
    assert list(published_heads(shipped)) == heads
    assert list(published_heads([f"2026-01-01 audit-head {head}\n" for head in heads])) == heads


@pytest.mark.parametrize("text", ["", "1", "1:abc", f"x:{GENESIS}", f"-1:{GENESIS}", f"1:{GENESIS.replace('0', 'G')}", f"¹:{GENESIS}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no head"):
        Head.parse(text)


def test_times_are_written_in_utc() -> None:
    assert timestamp(datetime(2026, 2, 1, 0, 59, 59, 123456, timezone(timedelta(hours=1)))) == "2026-01-31T23:59:59.123456Z"
