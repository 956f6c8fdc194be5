"""What a server name says of itself: the documents of the Matrix specification, and nothing that is not so."""

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st

from kit.quantities import mib
from main_instance.haproxy.configuration import HAProxySpec, configuration
from main_instance.haproxy.options import Contact, Support
from main_instance.haproxy.well_known import WellKnown, file_of

CLOSED = WellKnown("https://matrix.example.com")
TEXTS = st.text(min_size=1, max_size=30)
CONTACTS = st.builds(Contact, email=st.none() | TEXTS, matrix_id=st.none() | TEXTS)
SPECS = st.builds(
    WellKnown,
    homeserver=TEXTS,
    delegated_to=st.none() | TEXTS,
    livekit_service_url=st.none() | TEXTS,
    issuer=st.none() | TEXTS,
    content_scanner=st.none() | TEXTS,
    support=st.builds(Support, page=st.none() | TEXTS, admin=CONTACTS, security=CONTACTS),
)
SPEC = HAProxySpec(pools=(), main="main-0.synapse.matrix.svc.", max_upload=mib(1), trusted_proxies=())


def test_a_closed_server_says_only_where_its_homeserver_is() -> None:
    assert CLOSED.documents == {"matrix/client": {"m.homeserver": {"base_url": "https://matrix.example.com"}}}


def test_other_servers_are_sent_to_the_homeserver_only_with_federation() -> None:
    assert attrs.evolve(CLOSED, delegated_to="matrix.example.com:443").documents["matrix/server"] == {"m.server": "matrix.example.com:443"}


def test_clients_learn_where_calls_are() -> None:
    document = attrs.evolve(CLOSED, livekit_service_url="https://rtc.example.com/livekit/jwt").documents["matrix/client"]
    assert document["org.matrix.msc4143.rtc_foci"] == [{"type": "livekit", "livekit_service_url": "https://rtc.example.com/livekit/jwt"}]


def test_clients_learn_who_scans_encrypted_files() -> None:
    documents = attrs.evolve(CLOSED, content_scanner="https://matrix.example.com").documents
    assert documents["element/element.json"] == {"content_scanner_url": "https://matrix.example.com"}


def test_people_learn_whom_to_write_to() -> None:
    support = Support(
        page="https://example.com/help", admin=Contact(email="admin@example.com"), security=Contact(matrix_id="@security:example.com")
    )
    assert attrs.evolve(CLOSED, support=support).documents["matrix/support"] == {
        "contacts": [
            {"role": "m.role.admin", "email_address": "admin@example.com"},
            {"role": "m.role.security", "matrix_id": "@security:example.com"},
        ],
        "support_page": "https://example.com/help",
    }


def test_a_support_page_without_contacts_is_enough() -> None:
    assert attrs.evolve(CLOSED, support=Support(page="https://example.com/help")).documents["matrix/support"] == {
        "support_page": "https://example.com/help"
    }


def test_a_contact_without_an_address_is_not_published() -> None:
    one = Support(admin=Contact(), security=Contact(email="security@example.com"))
    contacts = attrs.evolve(CLOSED, support=one).documents["matrix/support"]["contacts"]
    assert contacts == [{"role": "m.role.security", "email_address": "security@example.com"}]
    assert "matrix/support" not in attrs.evolve(CLOSED, support=Support(admin=Contact(), security=Contact())).documents


@given(SPECS)
def test_every_document_is_json_of_its_own_and_none_is_empty(spec: WellKnown) -> None:
    assert {name: json.loads(text) for name, text in spec.files.items()} == {file_of(path): at for path, at in spec.documents.items()}
    assert all(spec.documents.values())
    assert len(spec.files) == len(spec.documents)
    assert spec.documents.keys() <= {"matrix/client", "matrix/server", "matrix/support", "element/element.json"}


@given(SPECS)
def test_haproxy_answers_with_each_document_and_with_no_other(spec: WellKnown) -> None:
    files = configuration(attrs.evolve(SPEC, well_known=spec))
    answers = [line for line in files["haproxy.cfg"].splitlines() if "well-known-" in line]
    assert [line.partition(" file ")[2].split()[0] for line in answers] == list(spec.files)
    assert {name: files[name] for name in spec.files} == spec.files


def test_where_another_web_server_answers_haproxy_has_nothing_to_say() -> None:
    files = configuration(SPEC)
    assert not [name for name in files if name.startswith("well-known")]
    assert "well-known-" not in files["haproxy.cfg"]
