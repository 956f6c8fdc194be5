"""Sygnal's configuration: each app of the site with what its push service asks for, and no secret."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.text import yaml_text
from main_instance.sygnal.configuration import APNS_KEY, key_files, sygnal_config
from main_instance.sygnal.options import Apns, PushOptions

NO_APPS = Apns(key_id="ABCDE12345", team_id="TEAM123456")
APNS = attrs.evolve(NO_APPS, apps=(("app.ios", "com.example.app"),), sandbox_apps=(("app.ios.dev", "com.example.app"),))
PUSH = PushOptions(apns=APNS, fcm_apps=(("app.android", "example-app"), ("app.other", "other-app"), ("app.third", "example-app")))
IDS = st.text("abc.-_09", min_size=1, max_size=6)


def test_an_app_for_apple_is_pushed_to_with_the_key_of_its_team() -> None:
    assert sygnal_config(PUSH)["apps"]["app.ios"] == {
        "type": "apns",
        "keyfile": "/secrets/sygnal/apns.p8",
        "key_id": "ABCDE12345",
        "team_id": "TEAM123456",
        "topic": "com.example.app",
        "platform": "production",
    }


def test_a_development_build_is_pushed_to_by_the_sandbox() -> None:
    assert sygnal_config(PUSH)["apps"]["app.ios.dev"]["platform"] == "sandbox"


def test_an_app_of_firebase_is_pushed_to_by_the_api_that_google_still_has() -> None:
    app = sygnal_config(PUSH)["apps"]["app.android"]
    assert (app["type"], app["api_version"], app["project_id"]) == ("gcm", "v1", "example-app")
    assert app["service_account_file"] == "/secrets/sygnal/fcm-example-app.json"


def test_apps_of_one_project_share_its_key() -> None:
    assert list(key_files(PUSH)) == [APNS_KEY, "fcm-example-app.json", "fcm-other-app.json"]


def test_a_site_without_apple_is_asked_for_no_key_of_apple() -> None:
    assert list(key_files(attrs.evolve(PUSH, apns=None))) == ["fcm-example-app.json", "fcm-other-app.json"]
    assert list(key_files(attrs.evolve(PUSH, apns=NO_APPS))) == ["fcm-example-app.json", "fcm-other-app.json"]


@pytest.mark.parametrize("apns", [None, NO_APPS])
def test_push_without_an_app_is_refused_since_sygnal_would_not_start(apns: Apns | None) -> None:
    with pytest.raises(ValueError, match=r"give at least one app in push\.apns\.apps"):
        sygnal_config(PushOptions(apns=apns))


@given(st.lists(IDS, max_size=3), st.lists(IDS, max_size=2), st.lists(IDS, max_size=3))
def test_an_app_id_stands_for_one_app(apple: list[str], sandbox: list[str], google: list[str]) -> None:
    apns = attrs.evolve(NO_APPS, apps=tuple((app, "topic") for app in apple), sandbox_apps=tuple((app, "topic") for app in sandbox))
    push = PushOptions(apns=apns, fcm_apps=tuple((app, "project") for app in google))
    ids = [*apple, *sandbox, *google]
    if ids and len(set(ids)) == len(ids):
        assert list(sygnal_config(push)["apps"]) == ids
    else:
        with pytest.raises(ValueError, match="an app id stands for one app" if ids else "at least one app"):
            sygnal_config(push)


def test_every_key_file_is_named_and_every_file_that_is_named_is_given() -> None:
    text = yaml_text(sygnal_config(PUSH))
    named = {line.rpartition("/")[2] for line in text.splitlines() if "/secrets/sygnal/" in line}
    assert named == set(key_files(PUSH))
