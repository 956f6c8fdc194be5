"""The lawful-intercept instance is isolated, follows main, is published to officers alone, and is all there or not at all."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from celery import beat

from app.compiler import render
from app.inspection.reach import can_reach, ingress_controller, read_cluster
from app.settings import SettingsError, parse_site
from app.site import Site
from kit.options import OptionError
from li_instance.options import SyncOptions
from li_instance.sync_system.alerts import alerts
from li_instance.sync_system.configuration import intervals
from overlays import profiles
from services.li_sync.settings import RedisServer, Schedule, Settings, parse_settings
from services.li_sync.tasks import make_app
from tests.kustomize import expected
from tests.manifests.rules.objects import Object, Objects, namespace_of, of_kind
from tests.manifests.test_sites import BASE, LI

PUBLISHED = LI + "ingress: {li_source_ranges: [192.0.2.0/24], trusted_proxies: [198.51.100.0/28]}\n"


def compiled(site: Site) -> list[Object]:
    return [dict(o) for o in expected(render(site, profiles()[0])).values()]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return compiled(parse_site(BASE + PUBLISHED))


def crossing(objects: Objects) -> set[tuple[str, str, int]]:
    """Which workloads of one of the two namespaces reach which of the other, on which port."""
    cluster = read_cluster([*objects, ingress_controller("traefik")])
    ours = {"matrix", "matrix-li"}
    return {
        (source.workload.rpartition("/")[2], target.workload.rpartition("/")[2], port.number)
        for source in cluster.pods
        for target in cluster.pods
        if {source.namespace, target.namespace} == ours and source.namespace != target.namespace
        for port in target.ports
        if can_reach(cluster, source, target, port.number)
    }


def test_nothing_of_either_instance_reaches_the_other_but_what_is_meant_to(objects: list[Object]) -> None:
    def kind(name: str) -> str:
        # Instances of a database, and what makes and joins them.
        return "postgresql-li" if name.startswith("postgresql-li-") else name.removesuffix("-pool-0")

    assert {(kind(source), kind(target), port) for source, target, port in crossing(objects)} == {
        # The replication, and what prepares and compares it; the copy of media; the access check and the officers' pages.
        ("postgresql-li", "postgresql-main", 5432),
        ("li-sync", "postgresql-main", 5432),
        ("li-sync", "minio-main", 9000),
        ("li-proxy", "key-vault", 8001),
        ("li-proxy", "key-vault", 8002),
        # In which rooms a target is.
        ("key-vault", "postgresql-li", 5432),
    }


def test_recovery_keys_are_taken_in_from_main_alone(objects: list[Object]) -> None:
    def callers(objects: Objects) -> set[str]:
        cluster = read_cluster([*objects])
        (vault, *_) = [pod for pod in cluster.pods if pod.workload.endswith("/key-vault")]
        return {pod.workload for pod in cluster.pods if pod != vault and can_reach(cluster, pod, vault, 8000)} - {vault.workload}

    assert callers(objects) == set()
    deposited = parse_site(BASE + LI + "  key_deposit: true\n  notice_url: https://example.com/notice\n")
    assert callers(compiled(deposited)) == {"matrix/synapse"}


def test_switched_off_it_leaves_no_trace() -> None:
    files = render(parse_site(BASE), profiles()[0])
    text = json.dumps([[dict(o) for o in files.manifests()], dict(files.files)])
    assert [word for word in ("matrix-li", '-li"', "li_sync", "li-sync", "key-vault", "key_vault", "reserved_names") if word in text] == []


def test_its_hosts_are_published_to_officers_with_a_certificate_and_nobody_else(objects: list[Object]) -> None:
    routes = [o for o in of_kind(objects, "Ingress") if namespace_of(o) == "matrix-li"]
    assert {rule["host"] for o in routes for rule in o["spec"]["rules"]} == {
        f"{name}-li.example.com" for name in ("matrix", "element", "admin", "cases")
    }
    for o in routes:
        annotations = o["metadata"]["annotations"]
        middlewares = annotations["traefik.ingress.kubernetes.io/router.middlewares"].split(",")
        assert annotations["traefik.ingress.kubernetes.io/router.tls.options"] == "matrix-li-client-certificate@kubernetescrd"
        assert "matrix-li-client-certificate@kubernetescrd" in middlewares
        assert any(name.endswith("-sources@kubernetescrd") for name in middlewares)
    (options,) = of_kind(objects, "TLSOption")
    assert options["spec"]["clientAuth"] == {"clientAuthType": "RequireAndVerifyClientCert", "secretNames": ["officers-authority"]}
    hidden = compiled(parse_site(BASE + LI))
    assert [o for o in of_kind(hidden, "Ingress", "TLSOption") if namespace_of(o) == "matrix-li"] == []


@pytest.mark.parametrize("choice", ["type: gateway, gateway: {name: public, namespace: gateways}", "class_name: haproxy"])
def test_who_cannot_tell_addresses_and_certificates_does_not_publish_it(choice: str) -> None:
    site = parse_site(BASE + LI + f"ingress: {{li_source_ranges: [192.0.2.0/24], {choice}}}\n")
    with pytest.raises(OptionError, match=r"admits only 192\.0\.2\.0/24"):
        render(site, profiles()[0])


def config(objects: Objects, map_name: str, key: str) -> Any:
    (text,) = [o["data"][key] for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"] == map_name]
    return yaml.safe_load(text)


def test_its_synapse_shows_what_mains_writers_write_and_has_no_duty_of_its_own(objects: list[Object]) -> None:
    main, li = config(objects, "synapse-shards", "shards.yaml"), config(objects, "synapse-li-homeserver", "homeserver.yaml")
    own: Mapping[str, list[str]] = li["stream_writers"]
    assert own.keys() == {"events", "receipts", "account_data", "push_rules", "quarantined_media_changes"}
    for stream, names in own.items():
        assert [name if name != "main-master" else "master" for name in names] == main["stream_writers"][stream]
    assert {(place["host"], place["port"]) for place in li["instance_map"].values()} == {("127.0.0.1", 1)}
    assert li["instance_map"].keys() == {"main", *(name for names in own.values() for name in names)}
    duties = ("run_background_tasks_on", "notify_appservices_from_worker", "update_user_directory_from_worker")
    assert {li[duty] for duty in (*duties, "media_instance_running_background_jobs")} == {"nobody"}
    assert (li["federation_domain_whitelist"], li["presence"]["enabled"], li["push"]["enabled"]) == ([], False, False)
    assert li["redaction_retention_period"] is None
    assert "modules" not in li
    (provider,) = li["media_storage_providers"]
    assert (provider["store_local"], provider["store_remote"], provider["config"]["bucket"]) == (False, False, "matrix-li-media")
    assert "matrix-li.svc" in li["redis"]["host"]


@pytest.mark.parametrize(("li", "kept", "period"), [(True, True, None), (True, False, "7d"), (False, True, "7d")])
def test_main_keeps_what_was_taken_back_only_where_the_site_says_so(li: bool, kept: bool, period: str | None) -> None:
    site = parse_site(BASE + LI)
    asked = attrs.evolve(site, features=attrs.evolve(site.features, li=li), li=attrs.evolve(site.li, keep_redacted_originals=kept))
    settings = yaml.safe_load(render(asked, profiles()[0]).files["config/synapse/homeserver.yaml"])
    assert settings["redaction_retention_period"] == period


def test_main_keeps_the_names_of_officers_accounts_free(objects: list[Object]) -> None:
    reserved = {"module": "services.reserved_names.module.ReservedNames", "config": {"prefix": "li-"}}
    kinds = [yaml.safe_load(o["data"]["kind.yaml"]) for o in of_kind(objects, "ConfigMap") if "kind.yaml" in o["data"]]
    # Whichever process takes a registration asks its own modules.
    assert len(kinds) > 10
    assert all(reserved in kind["modules"] for kind in kinds)
    assert config(objects, "li-sync", "settings.yaml")["li"]["reserved_prefix"] == "li-"


def test_each_role_of_a_database_may_do_what_it_is_for_and_no_more(objects: list[Object]) -> None:
    rights = {
        (o["spec"]["cluster"]["name"], o["spec"]["name"]): {key: o["spec"][key] for key in ("replication", "inRoles") if key in o["spec"]}
        for o in of_kind(objects, "DatabaseRole")
    }
    assert rights == {
        ("postgresql-main", "li_publisher"): {"inRoles": ["synapse"]},
        ("postgresql-main", "li_replication"): {"replication": True},
        ("postgresql-main", "key_vault_owner"): {},
        ("postgresql-main", "key_vault"): {},
        ("postgresql-li", "synapse_li"): {},
        ("postgresql-li", "li_follow"): {},
        ("postgresql-li", "key_vault_reader"): {},
    }
    (cluster,) = [o for o in of_kind(objects, "Cluster") if o["metadata"]["name"] == "postgresql-li"]
    assert cluster["spec"]["bootstrap"]["initdb"]["owner"] == "li_sync"
    assert cluster["spec"]["postgresql"]["parameters"]["log_error_verbosity"] == "terse"
    assert not any(o["spec"].get("superuser") for o in of_kind(objects, "DatabaseRole"))


def test_its_users_of_object_storage_may_read_main_and_write_their_own(objects: list[Object]) -> None:
    def actions(tenant: str) -> dict[str, set[str]]:
        (request,) = [json.loads(o["data"]["request.json"]) for o in of_kind(objects, "ConfigMap") if _asks(o, tenant)]
        return {
            user["name"]: {
                a for statement in user["policy"]["document"]["Statement"] if statement["Effect"] == "Allow" for a in statement["Action"]
            }
            for user in request["users"]
        }

    assert actions("minio.matrix.")["li-sync"] == {"s3:GetObject", "s3:ListBucket"}
    assert actions("minio.matrix-li.")["reader"] == {"s3:GetObject"}
    assert "s3:PutObject" in actions("minio.matrix-li.")["mirror"]


def _asks(o: Object, tenant: str) -> bool:
    request = json.loads(o["data"].get("request.json", "{}"))
    return "users" in request and tenant in request["endpoint"]


def test_li_sync_may_restart_one_deployment_and_nothing_else(objects: list[Object]) -> None:
    roles = [o["rules"] for o in of_kind(objects, "Role") if o["metadata"]["name"] == "li-sync-restart"]
    assert roles == [[{"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["synapse-li"], "verbs": ["get", "patch"]}]]


def test_its_client_cannot_be_taken_for_that_of_users(objects: list[Object]) -> None:
    (files,) = [o["data"] for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"] == "element-web-li"]
    settings = json.loads(files["config.json"])
    assert (settings["brand"], settings["default_theme"]) == ("LAWFUL INTERCEPTION", "custom-LAWFUL INTERCEPTION")
    assert json.loads(files["custom-theme.json"]) in settings["setting_defaults"]["custom_themes"]
    assert "LAWFUL INTERCEPTION" in files["nginx.conf"]
    assert settings["default_server_config"]["m.homeserver"]["base_url"] == "https://element-li.example.com"


TIMES = "  sync: {prepare: 2h, verify: 15m, mirror_new_media: 20s, mirror_media: 6h, refresh: '22:05'}\n  keep_deleted_media: 90d\n"


def read_settings(li: str) -> Settings:
    """What li_sync's own reader makes of the file that is rendered for a site."""
    return parse_settings(render(parse_site(BASE + LI + li), profiles()[0]).files["config/sync-system/celery-config.yaml"])


def test_the_times_of_a_site_are_those_of_celerys_beat(tmp_path: Path) -> None:
    # Beat needs neither the broker nor its password to know what comes when.
    settings = attrs.evolve(read_settings(TIMES), state=tmp_path, broker=RedisServer("redis"))
    assert settings.media.keep_deleted_seconds == 90 * 86_400
    scheduler: Any = beat.Scheduler(make_app(settings), lazy=True)
    scheduler.setup_schedule()
    entries = scheduler.schedule
    hours, noon = 3600, datetime(2026, 1, 31, 12, tzinfo=UTC)
    every = {"watch": 10, "prepare": 2 * hours, "verify": 900, "mirror_new_media": 20, "mirror_media": 6 * hours}
    assert {name: entry.schedule.run_every for name, entry in entries.items() if name != "refresh"} == {
        name: timedelta(seconds=seconds) for name, seconds in every.items()
    }
    night = entries["refresh"].schedule
    night.nowfun = lambda: noon
    assert noon + night.remaining_estimate(noon) == datetime(2026, 1, 31, 22, 5, tzinfo=UTC)


def test_a_site_that_gives_no_times_has_those_that_li_sync_has_by_itself(objects: list[Object]) -> None:
    shipped = parse_settings(yaml.safe_dump(config(objects, "li-sync", "settings.yaml")))
    assert (shipped.schedule, shipped.media.keep_deleted_seconds) == (Schedule(), 0)
    never = read_settings("  sync: {refresh: never}\n  keep_deleted_media: forever\n")
    assert (never.schedule, never.media.keep_deleted_seconds) == (Schedule(refresh=None), None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sync: {verify: 300}", "sync.verify: 300 is a number; give up to 999 seconds or minutes, or up to 24 hours, e.g. 10m"),
        ("sync: {mirror_media: 2d}", 'sync.mirror_media: "2d" is not allowed; give up to 999 seconds or minutes, or up to 24 hours'),
        ("sync: {prepare: 25h}", 'sync.prepare: "25h" is not allowed; give up to 999 seconds or minutes, or up to 24 hours'),
        ("sync: {refresh: 24:00}", 'sync.refresh: "24:00" is not allowed; give a time of day in UTC, or never'),
        (
            "keep_deleted_media: true",
            "keep_deleted_media: true says no time; give a number of days, weeks or years, 0d for not at all, or forever",
        ),
    ],
)
def test_a_time_that_is_none_is_told_with_what_to_write(options: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_site(BASE + LI + f"  {options}\n")
    assert said in str(caught.value)


def test_every_task_that_comes_by_itself_is_missed_some_time_after_its_interval() -> None:
    for options in (SyncOptions(), parse_site(BASE + LI + TIMES).li.sync, SyncOptions(refresh="never")):
        late = {alert.name: alert for alert in alerts(intervals(options))}["LiTaskOverdue"].expression
        missed = {task: int(seconds) for task, seconds in re.findall(r'task="(\w+)"}\) > ([0-9]+)', late)}
        assert missed.keys() == intervals(options).keys() == {*beat_tasks(options)}
        assert [
            task for task, seconds in intervals(options).items() if missed[task] < 2 * seconds and missed[task] < seconds + 2 * 3600
        ] == []


def beat_tasks(options: SyncOptions) -> set[str]:
    """The tasks that come by themselves."""
    return {*attrs.fields_dict(Schedule)} - ({"refresh"} if options.refresh == "never" else set())
