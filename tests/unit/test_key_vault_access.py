"""Which requests to synapse-li are on the list, and whom they are about."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.access import Kind, Subject, subject

USER = "@mallory:example.org"
ROOM = "!abc:example.org"
EVENT = "$LZ0P-rmTwK5oWNfmWGmFtH4wfl1Q8hDlOLtSjSnjUDY"
ADMIN = "/_synapse/admin"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"{ADMIN}/v1/server_version", Subject(Kind.NONE, "")),
        (f"{ADMIN}/v2/users/{quote(USER)}", Subject(Kind.USER, USER)),
        (f"{ADMIN}/v2/users/{USER}", Subject(Kind.USER, USER)),
        (f"{ADMIN}/v2/users/{quote(USER)}?x=1", Subject(Kind.USER, USER)),
        (f"{ADMIN}/v1/users/{quote(USER)}/joined_rooms", Subject(Kind.USER, USER)),
        (f"{ADMIN}/v1/whois/{quote(USER)}", Subject(Kind.USER, USER)),
        (f"{ADMIN}/v1/rooms/{quote(ROOM)}/messages?dir=b&limit=10", Subject(Kind.ROOM, ROOM)),
        (f"{ADMIN}/v1/rooms/{quote(ROOM)}/context/{quote(EVENT)}", Subject(Kind.ROOM, ROOM)),
        (f"{ADMIN}/v1/fetch_event/{quote(EVENT)}", Subject(Kind.EVENT, EVENT)),
    ],
)
def test_a_read_that_is_on_the_list_is_about_the_id_in_its_path(uri: str, expected: Subject) -> None:
    assert subject("GET", uri) == expected


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        # What answers 200 and changes something, or makes the asker somebody else.
        ("DELETE", f"{ADMIN}/v1/rooms/{quote(ROOM)}"),
        ("DELETE", f"{ADMIN}/v2/rooms/{quote(ROOM)}"),
        ("POST", f"{ADMIN}/v1/users/{quote(USER)}/login"),
        ("POST", f"{ADMIN}/v1/reset_password/{quote(USER)}"),
        ("PUT", f"{ADMIN}/v2/users/{quote(USER)}"),
        ("POST", f"{ADMIN}/v1/rooms/{quote(ROOM)}/messages"),
        ("get", f"{ADMIN}/v2/users/{quote(USER)}"),
        ("", f"{ADMIN}/v2/users/{quote(USER)}"),
        # Everybody's at once.
        ("GET", f"{ADMIN}/v2/users"),
        ("GET", f"{ADMIN}/v2/users/"),
        ("GET", f"{ADMIN}/v1/rooms"),
        ("GET", f"{ADMIN}/v1/event_reports"),
        # Read in two ways: which one does the server behind read?
        ("GET", f"{ADMIN}/v2/users/{quote(USER)}/../@alice:example.org"),
        ("GET", f"{ADMIN}/v2/users/{quote(USER)}%2F..%2F@alice:example.org"),
        ("GET", f"{ADMIN}/v2/users/%2540mallory:example.org"),
        ("GET", f"{ADMIN}/v2/users/@mallory:example.org%00"),
        ("GET", f"{ADMIN}/v2/users/@mallory:example.org%0A"),
        ("GET", f"{ADMIN}/v2/users/@mallory:example.org%C3"),
        ("GET", f"{ADMIN}//v2/users/{quote(USER)}"),
        ("GET", f"//host{ADMIN}/v2/users/{quote(USER)}"),
        ("GET", f"http://host{ADMIN}/v2/users/{quote(USER)}"),
        ("GET", f"{ADMIN}/v2/users/{quote(USER)}/"),
        ("GET", f"{ADMIN}/v2/users/{quote(USER)};x"[:-2] + "%3Fx"),
        ("GET", f"{ADMIN}/v1/rooms/{quote(USER)}/messages"),
        ("GET", f"{ADMIN}/v2/users/{quote(ROOM)}"),
        ("GET", f"{ADMIN}/v2/users/" + "@" + "a" * 5000),
        ("GET", ""),
        ("GET", "/"),
    ],
)
def test_everything_else_is_not_on_the_list(method: str, uri: str) -> None:
    assert subject(method, uri) is None


@given(st.text(max_size=100))
def test_no_id_makes_the_reader_fail_or_names_another_subject(identifier: str) -> None:
    found = subject("GET", f"{ADMIN}/v2/users/{quote('@' + identifier, safe='')}")
    assert found is None or found == Subject(Kind.USER, "@" + identifier)


@given(st.text(max_size=100))
def test_no_uri_makes_the_reader_fail(uri: str) -> None:
    assert subject("GET", uri) is None or uri.startswith("/_")
