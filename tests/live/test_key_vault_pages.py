"""The case pages in a real browser, behind a real authenticating proxy: nginx with TLS and passwords stands in for OIDC."""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.live.key_vault_site import (
    ANNA,
    BORIS,
    CLARA,
    DORA,
    OFFICERS,
    OWNER,
    PUBLIC_HOST,
    SERVER_NAME,
    Vault,
    running_database,
    serving,
    write_site,
)
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running
from tests.live.programs import installed

pytestmark = pytest.mark.live

TARGET = f"@mallory:{SERVER_NAME}"
EVIL = "evil.example"
PASSWORD = "not-so-secret"
NGINX = """
daemon off; {user} pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; ssl_certificate {folder}/tls.pem; ssl_certificate_key {folder}/tls.key;
  server {{
    listen {loopback}:{port} ssl; server_name {host};
    location / {{
      auth_basic "officers"; auth_basic_user_file {folder}/passwords;
      proxy_pass http://{loopback}:{vault};
      # It sets these and so replaces what a client may have sent.
      proxy_set_header Host $host; proxy_set_header X-Auth-Request-User $remote_user; proxy_set_header X-Key-Vault-Proxy-Token "{token}";
      proxy_set_header Authorization "";
    }}
  }}
  server {{ listen {loopback}:{port} ssl; server_name {evil}; root {folder}/evil; default_type text/html; }}
}}
"""


@frozen
class Office:
    """The vault, and the browser in which officers work."""

    vault: Vault
    browser: Browser
    screenshots: Path

    @contextlib.contextmanager
    def at_work(self, officer: str) -> Iterator[Page]:
        """A page for an officer who has logged in. Scripts are off, and whatever the browser complains of fails the test."""
        context = self.browser.new_context(
            java_script_enabled=False,
            ignore_https_errors=True,
            http_credentials={"username": officer, "password": PASSWORD},
            viewport={"width": 1100, "height": 900},
            accept_downloads=True,
        )
        page, complaints, scripts = context.new_page(), [], []

        def look(response: Response) -> None:
            if response.ok and response.headers.get("content-type", "").startswith("text/html"):
                scripts.extend(re.findall("<script", response.text()))
                assert "script-src" not in response.headers["content-security-policy"]
                assert response.headers["content-security-policy"].startswith("default-src 'none';")

        page.on("response", look)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        try:
            yield page
            # Of a page that was refused it says that it was.
            assert [one for one in complaints if "the server responded with a status of 4" not in one] == []
            assert scripts == []
        finally:
            context.close()

    def picture(self, page: Page, name: str) -> None:
        page.screenshot(path=self.screenshots / f"{name}.png", full_page=True)


def write_certificate(folder: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PUBLIC_HOST)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    (folder / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(pem)


@contextlib.contextmanager
def authenticating_proxy(folder: Path, vault: Vault, port: int) -> Iterator[Program]:
    nginx = installed("nginx")
    write_certificate(folder)
    people = [officer["id"] for officer in OFFICERS] + ["eve@authority.example"]
    (folder / "passwords").write_text("".join(f"{one}:{{PLAIN}}{PASSWORD}\n" for one in people))
    (folder / "evil").mkdir()
    configuration = NGINX.format(
        folder=folder,
        # Its workers would otherwise be somebody who may not read this folder.
        user="user root;" if os.getuid() == 0 else "",
        loopback=LOOPBACK,
        port=port,
        host=PUBLIC_HOST,
        evil=EVIL,
        vault=vault.site.ports["officer"],
        token=vault.site.token("proxy"),
    )
    (folder / "nginx.conf").write_text(configuration)
    with running([nginx, "-c", folder / "nginx.conf", "-p", folder], name="nginx") as program:
        program.ready(lambda: accepts_connections(port), 20)
        yield program


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    chromium = installed("chromium")
    folder, proxy, port = tmp_path_factory.mktemp("key-vault"), tmp_path_factory.mktemp("proxy"), free_ports(1)[0]
    with running_database() as database:
        site = write_site(folder, database)
        site.command("migrate", user=OWNER)
        with serving(site) as vault, authenticating_proxy(proxy, vault, port), sync_playwright() as playwright:
            rules = f"--host-resolver-rules=MAP {PUBLIC_HOST} {LOOPBACK}:{port}, MAP {EVIL} {LOOPBACK}:{port}"
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", rules])
            vault.deposit(TARGET)
            yield Office(vault, browser, tmp_path_factory.mktemp("screenshots"))
            browser.close()


HOME = f"https://{PUBLIC_HOST}/"


def request_in_browser(page: Page, reference: str) -> None:
    page.goto(HOME)
    page.get_by_role("link", name="Request a case").click()
    page.get_by_label("Reference of the order").fill(reference)
    page.get_by_label("Issued by").fill("Amtsgericht Musterstadt")
    page.get_by_label("Legal ground").fill("StPO 100a")
    page.get_by_label("Document", exact=True).fill("order-345.pdf")
    page.get_by_label("SHA-256 of the document").fill("ab" * 32)
    page.get_by_label("What it is about").fill("Messages of one suspect in a case of fraud")
    page.get_by_label("Targets").fill(f"{TARGET}\n!room:{SERVER_NAME}\n")
    page.get_by_role("button", name="Request").click()


def test_two_officers_open_a_case_and_a_third_exports_it(office: Office, tmp_path: Path) -> None:
    with office.at_work(ANNA) as page:
        page.goto(HOME)
        office.picture(page, "01-empty")
        page.goto(f"{HOME}cases/new")
        office.picture(page, "02-request")
        request_in_browser(page, "12 Gs 345/26")
        expect(page.get_by_role("heading", level=1)).to_have_text("12 Gs 345/26")
        expect(page.locator(".status")).to_have_text("requested")
        expect(page.locator("main")).to_contain_text("It waits for an approver")
        expect(page.locator("main")).to_contain_text("You cannot take the next step: Only approvers may decide on a case.")
        office.picture(page, "03-requested")
        case_id = page.url.rsplit("/", 1)[-1]

    with office.at_work(CLARA) as page:
        page.goto(HOME)
        expect(page.get_by_role("heading", name="Waiting for you")).to_be_visible()
        office.picture(page, "04-waiting-for-approver")
        page.get_by_role("link", name="12 Gs 345/26").click()
        page.get_by_role("link", name="Approve").click()
        expect(page.locator("main")).to_contain_text(TARGET)
        office.picture(page, "05-approve")
        page.get_by_label("Reason").fill("The order is in the file")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".status")).to_have_text("approved")

    with office.at_work(ANNA) as page:
        page.goto(HOME)
        page.get_by_role("link", name="12 Gs 345/26").click()
        page.get_by_role("link", name="Open").click()
        page.get_by_label("Reason").fill("Work begins")
        page.get_by_role("button", name="Open").click()
        expect(page.locator(".status")).to_have_text("open")
        expect(page.locator("main")).to_contain_text("Reading is allowed until")
        office.picture(page, "06-open")
        page.get_by_role("button", name=f"Release the keys of {TARGET}").click()
        sealed = page.get_by_label("Sealed key 1").input_value()
        assert sealed.count(".") == 4
        office.picture(page, "07-released")
        page.get_by_role("link", name="Back to the case").click()
        page.get_by_role("link", name="All entries of the audit log").click()
        expect(page.locator("tbody")).to_contain_text("keys.released")
        office.picture(page, "08-log")

    with office.at_work(DORA) as page:
        page.goto(f"{HOME}cases/{case_id}")
        expect(page.get_by_role("link", name="Close")).to_have_count(0)
        page.get_by_role("link", name="Export as a signed archive").click()
        page.get_by_label("Reason").fill("For the court")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        download.value.save_as(tmp_path / "case.zip")
    (tmp_path / "key.pem").write_text(office.vault.site.command("public-key").stdout)
    done = office.vault.site.command("verify-archive", "--public-key", str(tmp_path / "key.pem"), str(tmp_path / "case.zip"))
    assert f"whole: case {case_id}" in done.stdout

    with office.at_work(CLARA) as page:
        page.goto(f"{HOME}cases/{case_id}/close")
        page.get_by_label("Reason").fill("The order was withdrawn")
        page.get_by_role("button", name="Close").click()
        expect(page.locator(".status")).to_have_text("closed")
        expect(page.get_by_role("navigation")).to_have_count(0)
        page.goto(HOME)
        office.picture(page, "09-ended")


def test_mistakes_are_said_where_they_are_and_nothing_typed_is_lost(office: Office) -> None:
    with office.at_work(ANNA) as page:
        page.goto(f"{HOME}cases/new")
        page.get_by_label("Reference of the order").fill("A reference")
        page.get_by_label("Issued by").fill("A court")
        page.get_by_label("Legal ground").fill("A law")
        page.get_by_label("Document", exact=True).fill("A document")
        page.get_by_label("What it is about").fill("A thing")
        page.get_by_label("Targets").fill("mallory")
        page.get_by_role("button", name="Request").click()
        expect(page.get_by_role("alert")).to_have_text(
            f"mallory is neither a user of {SERVER_NAME} (@name:{SERVER_NAME}) nor a room (!id)."
        )
        expect(page.get_by_label("Issued by")).to_have_value("A court")
        office.picture(page, "10-mistake")


def test_who_requested_a_case_is_told_why_they_cannot_approve_it(office: Office) -> None:
    with office.at_work(BORIS) as page:
        request_in_browser(page, "13 Gs 1/26")
        expect(page.locator("main")).to_contain_text("You have requested this case: somebody else has to decide on it.")
        expect(page.get_by_role("link", name="Approve")).to_have_count(0)
        page.goto(f"{page.url}/approve")
        expect(page.get_by_role("alert")).to_have_text("You have requested this case: somebody else has to decide on it.")
        office.picture(page, "11-four-eyes")


def test_what_officers_type_is_text_and_never_markup(office: Office) -> None:
    evil = '"><script>document.title="x"</script><img src=x onerror=alert(1)>'
    with office.at_work(ANNA) as page:
        request_in_browser(page, evil)
        expect(page.get_by_role("heading", level=1)).to_have_text(evil)
        assert page.locator("main img, main script").count() == 0
        page.goto(HOME)
        assert page.locator("main img, main script").count() == 0


def test_whoever_is_no_officer_sees_nothing(office: Office) -> None:
    with office.at_work(CLARA) as page:
        page.goto(HOME)
    context = office.browser.new_context(
        ignore_https_errors=True, http_credentials={"username": "eve@authority.example", "password": PASSWORD}
    )
    page = context.new_page()
    answer = page.goto(HOME)
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("alert")).to_have_text("You are logged in, but you are not an officer of this vault.")
    context.close()


def test_another_sites_page_cannot_approve_in_an_officers_name(office: Office, tmp_path_factory: pytest.TempPathFactory) -> None:
    case_id = office.vault.request_case().json()["id"]
    folder = next(path for path in tmp_path_factory.getbasetemp().iterdir() if (path / "evil").is_dir())
    for name, kind, field in (
        ("form", "", '<input name="reason" value="x">'),
        ("json", 'enctype="text/plain"', "<input name='{\"reason\":\"' value='x\"}'>"),
    ):
        path = f"cases/{case_id}/approve" if name == "form" else f"api/v1/cases/{case_id}/approve"
        (folder / "evil" / f"{name}.html").write_text(
            f'<form method="post" {kind} action="{HOME}{path}">{field}<button>Win</button></form>'
        )
        context = office.browser.new_context(ignore_https_errors=True, http_credentials={"username": CLARA, "password": PASSWORD})
        page = context.new_page()
        page.goto(HOME)
        page.goto(f"https://{EVIL}/{name}.html")
        with page.expect_response(f"{HOME}{path}") as response:
            page.get_by_role("button", name="Win").click()
        assert response.value.status == 403
        context.close()
    assert office.vault.officer(CLARA, "GET", f"/api/v1/cases/{case_id}").json()["status"] == "requested"


def test_the_pages_fit_a_telephone(office: Office) -> None:
    case_id = office.vault.open_case(targets=[f"@{'m' * 60}:{SERVER_NAME}"])
    context = office.browser.new_context(
        ignore_https_errors=True,
        http_credentials={"username": ANNA, "password": PASSWORD},
        viewport={"width": 390, "height": 800},
    )
    page = context.new_page()
    for path in ("", "cases/new", f"cases/{case_id}", f"cases/{case_id}/close"):
        page.goto(HOME + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        office.picture(page, f"12-telephone-{path.replace('/', '-')[-12:]}")
    context.close()
