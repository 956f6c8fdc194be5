"""Element Web's config.json: what it offers its users, and that it knows nobody but the homeserver."""

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.network import Host
from main_instance.element_web.configuration import ElementWebSpec, client_config, files
from main_instance.element_web.options import ElementOptions, Theme
from main_instance.synapse.options import RegistrationOptions

SPEC = ElementWebSpec(
    options=ElementOptions(),
    host=Host("element.example.com", "element-tls"),
    homeserver="https://matrix.example.com",
    server_name="example.com",
    registration=RegistrationOptions(),
)
OPTIONS = st.builds(
    ElementOptions,
    brand=st.text(min_size=1),
    theme=st.sampled_from(Theme),
    help_url=st.sampled_from([None, "https://help.example.com/chat"]),
    custom_homeservers=st.booleans(),
)
SPECS = st.builds(
    ElementWebSpec,
    OPTIONS,
    *map(st.just, (SPEC.host, SPEC.homeserver, SPEC.server_name)),
    registration=st.builds(RegistrationOptions, enabled=st.booleans()),
    federation=st.booleans(),
    calls=st.booleans(),
    login_elsewhere=st.booleans(),
    mail=st.booleans(),
)
# apps/web/src/IConfigOptions.ts of Element Web; `disable` of element_call: useRoomCall.tsx.
KNOWN = {
    *("default_server_config", "brand", "disable_custom_urls", "disable_guests", "disable_3pid_login", "integrations_ui_url"),
    *("integrations_rest_url", "element_call", "features", "setting_defaults", "default_theme", "help_url", "help_encryption_url"),
    *("help_key_storage_url", "permalink_prefix", "branding", "jitsi", "desktop_builds", "mobile_builds"),
}
# apps/web/src/settings/UIFeature.ts and Settings.tsx.
SETTINGS = {
    *(f"UIFeature.{name}" for name in ("voip", "registration", "passwordReset", "deactivate", "identityServer", "thirdPartyId")),
    *(f"UIFeature.{name}" for name in ("feedback", "locationSharing", "shareSocial")),
    "use_system_theme",
}


def settings(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = client_config(attrs.evolve(SPEC, **changes))["setting_defaults"]
    return found


@given(SPECS)
def test_no_host_stands_in_it_but_those_of_the_site(spec: ElementWebSpec) -> None:
    hosts = set(
        re.findall(
            r"https?://([^/\"]+)", json.dumps(client_config(attrs.evolve(spec, options=attrs.evolve(spec.options, brand="Element"))))
        )
    )
    assert hosts <= {"element.example.com", "matrix.example.com", "help.example.com"}


@given(SPECS)
def test_every_option_and_setting_is_one_that_element_knows(spec: ElementWebSpec) -> None:
    config = client_config(spec)
    assert config.keys() <= KNOWN
    assert config["setting_defaults"].keys() <= SETTINGS


@given(SPECS)
def test_the_file_is_the_configuration(spec: ElementWebSpec) -> None:
    assert json.loads(files(spec)["config.json"]) == client_config(spec)


@given(SPECS)
def test_the_homeserver_is_given_in_one_way_or_element_refuses_to_start(spec: ElementWebSpec) -> None:
    config = client_config(spec)
    assert config["default_server_config"]["m.homeserver"] == {"base_url": "https://matrix.example.com", "server_name": "example.com"}
    assert not {"default_server_name", "default_hs_url"} & config.keys()


@given(SPECS)
def test_what_would_default_to_a_service_of_element_is_switched_off(spec: ElementWebSpec) -> None:
    config = client_config(spec)
    assert (config["integrations_ui_url"], config["integrations_rest_url"]) == (None, None)
    assert not config["setting_defaults"]["UIFeature.feedback"]
    # Jitsi at meet.element.io is offered where Element Call is not the only kind of call.
    assert not config["setting_defaults"]["UIFeature.voip"] or config["element_call"].get("use_exclusively")


def test_calls_are_offered_where_they_are_deployed() -> None:
    assert settings()["UIFeature.voip"] is False
    assert settings(calls=True)["UIFeature.voip"] is True
    assert client_config(attrs.evolve(SPEC, calls=True))["features"] == {"feature_group_calls": True}


@pytest.mark.parametrize(
    ("registration", "login_elsewhere", "offered"), [(False, False, False), (True, False, True), (True, True, False), (False, True, False)]
)
def test_people_are_offered_to_sign_up_where_they_may(registration: bool, login_elsewhere: bool, offered: bool) -> None:
    assert (
        settings(registration=RegistrationOptions(enabled=registration), login_elsewhere=login_elsewhere)["UIFeature.registration"]
        is offered
    )


def test_an_account_of_another_service_is_not_deactivated_here() -> None:
    assert settings()["UIFeature.deactivate"] is True
    assert settings(login_elsewhere=True)["UIFeature.deactivate"] is False


def test_addresses_and_passwords_by_mail_are_offered_where_there_is_mail_and_the_account_is_here() -> None:
    for mail, elsewhere in ((False, False), (True, False), (True, True)):
        found = settings(mail=mail, login_elsewhere=elsewhere)
        assert found["UIFeature.passwordReset"] is found["UIFeature.thirdPartyId"] is (mail and not elsewhere)
        assert client_config(attrs.evolve(SPEC, mail=mail))["disable_3pid_login"] is not mail


def test_a_theme_goes_before_that_of_the_device_only_if_the_site_chooses_one() -> None:
    assert "default_theme" not in client_config(SPEC)
    assert "use_system_theme" not in settings()
    dark = ElementOptions(theme=Theme.DARK)
    assert client_config(attrs.evolve(SPEC, options=dark))["default_theme"] == "dark"
    assert settings(options=dark)["use_system_theme"] is False


def test_links_of_a_closed_server_lead_to_its_own_client() -> None:
    assert client_config(SPEC)["permalink_prefix"] == "https://element.example.com"
    assert "permalink_prefix" not in client_config(attrs.evolve(SPEC, federation=True))


def test_other_homeservers_are_offered_only_if_the_site_says_so() -> None:
    assert client_config(SPEC)["disable_custom_urls"] is True
    assert client_config(attrs.evolve(SPEC, options=ElementOptions(custom_homeservers=True)))["disable_custom_urls"] is False


def test_all_help_leads_where_the_site_says() -> None:
    assert {text for key, text in client_config(SPEC).items() if "help" in key} == {f"https://{SPEC.host.name}"}
    config = client_config(attrs.evolve(SPEC, options=ElementOptions(help_url="https://help.example.com")))
    assert {config[key] for key in ("help_url", "help_encryption_url", "help_key_storage_url")} == {"https://help.example.com"}
