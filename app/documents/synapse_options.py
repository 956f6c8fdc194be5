"""docs/reference/synapse-options.md: the options of Synapse that other ways to deploy it have by name, and how a site says each here.

Those of matrix-docker-ansible-deploy (roles/custom/matrix-synapse/templates/synapse/homeserver.yaml.j2, August 2026) and of ess-helm's chart
matrix-stack (configs/synapse, 26.8), which takes any other as a file of the site's own, as `homeserver.extra` does here.
"""

from collections.abc import Mapping

from tabulate import tabulate

EXTRA, SECRET = "homeserver.extra", "homeserver.extra_secret"

BY_OPTION: Mapping[str, tuple[str, ...]] = {
    "app_service_config_files": ("application_services",),
    "auto_join_rooms": ("homeserver.auto_join_rooms",),
    "encryption_enabled_by_default_for_room_type": ("homeserver.encryption",),
    "database": ("postgresql",),
    "email": ("mail",),
    "enable_registration": ("registration.enabled",),
    "federation_domain_whitelist": ("federation.allowed_domains",),
    "matrix_authentication_service": ("features.authentication_service",),
    "matrix_rtc": ("features.calls",),
    "max_upload_size": ("media.max_upload_size",),
    "media_retention": ("media.local_lifetime", "media.remote_lifetime"),
    "media_storage_providers": ("object_storage",),
    "modules": ("homeserver.modules",),
    "oidc_providers": ("login.providers",),
    "old_signing_keys": ("old_signing_keys",),
    "password_providers": ("homeserver.modules",),
    "password_config": ("login.passwords", "homeserver.password_policy"),
    "presence": ("homeserver.presence",),
    "public_baseurl": ("hosts.matrix",),
    "push": ("homeserver.push_message_content",),
    "rc_invites": ("homeserver.rate_limits.invites_per_user",),
    "rc_joins": ("homeserver.rate_limits.joins",),
    "rc_login": (
        "homeserver.rate_limits.logins_per_address",
        "homeserver.rate_limits.logins_per_account",
        "homeserver.rate_limits.failed_logins",
    ),
    "rc_message": ("homeserver.rate_limits.messages",),
    "redis": ("redis",),
    "redaction_retention_period": ("homeserver.redaction_retention",),
    "registration_requires_token": ("registration.enabled",),
    "retention": ("homeserver.message_lifetime",),
    "server_name": ("server_name",),
    "server_notices": ("homeserver.server_notices",),
    "trusted_key_servers": ("federation.key_servers",),
    "turn_uris": ("features.calls",),
    "url_preview_enabled": ("homeserver.url_previews",),
    "user_directory": ("homeserver.search_all_users",),
}
"""Options with one of the site's own."""

BY_DOOR = (
    "account_threepid_delegates",
    "admin_contact",
    "alias_creation_rules",
    "allow_public_rooms_over_federation",
    "allow_public_rooms_without_auth",
    "allowed_local_3pids",
    "auto_accept_invites",
    "auto_join_mxid_localpart",
    "autocreate_auto_join_rooms",
    "background_updates",
    "block_non_admin_invites",
    "cas_config",
    "default_room_version",
    "disable_msisdn_registration",
    "enable_authenticated_media",
    "enable_local_media_storage",
    "enable_registration_captcha",
    "enable_registration_without_verification",
    "enable_room_list_search",
    "event_cache_size",
    "exclude_rooms_from_sync",
    "experimental_features",
    "federation_client_minimum_tls_version",
    "federation_rr_transactions_per_room_per_second",
    "forget_rooms_on_leave",
    "forgotten_room_retention_period",
    "hs_disabled",
    "include_profile_data_on_invite",
    "ip_range_blacklist",
    "limit_profile_requests_to_users_who_share_rooms",
    "limit_remote_rooms",
    "limit_usage_by_mau",
    "mau_stats_only",
    "max_avatar_size",
    "max_event_delay_duration",
    "max_spider_size",
    "metrics_flags",
    "oembed",
    "opentracing",
    "rc_admin_redaction",
    "rc_delayed_event_mgmt",
    "rc_federation",
    "rc_registration",
    "recaptcha_public_key",
    "refresh_token_lifetime",
    "registrations_require_3pid",
    "report_stats_endpoint",
    "room_list_publication_rules",
    "room_prejoin_state",
    "saml2_config",
    "session_lifetime",
    "sso",
    "stats",
    "templates",
    "turn_username",
    "ui_auth",
    "url_preview_accept_language",
    "url_preview_ip_range_whitelist",
    "url_preview_url_blacklist",
    "user_consent",
    "user_ips_max_age",
    "web_client_location",
)
"""Options that `homeserver.extra` takes."""

BY_SECRET = ("jwt_config", "recaptcha_private_key", "sentry", "turn_password", "turn_shared_secret")
"""Options that are secrets, or hold some."""

OF_THE_PLATFORM: Mapping[str, str] = {
    "allow_guest_access": "never: whoever is here has an account",
    "caches": "the profile: `cache_factor` of Synapse's size",
    "daemonize": "a process is a container's first",
    "enable_media_repo": "the media workers alone",
    "enable_metrics": "always",
    "federation_sender_instances": "the profile",
    "form_secret": "made: the Secret `synapse`",
    "instance_map": "the profile",
    "listeners": "what each process serves",
    "log_config": "JSON, to standard output",
    "macaroon_secret_key": "made: the Secret `synapse`",
    "macaroon_secret_key_path": "made: the Secret `synapse`",
    "manhole_settings": "no process opens one",
    "media_instance_running_background_jobs": "`media-repository-0`",
    "media_store_path": "a cache; files are in the bucket",
    "notify_appservices_from_worker": "`appservice-0`",
    "pid_file": "a process is a container's first",
    "pusher_instances": "the profile",
    "registration_shared_secret": "made: the Secret `synapse`",
    "registration_shared_secret_path": "made: the Secret `synapse`",
    "report_stats": "never",
    "require_auth_for_profile_requests": "always",
    "run_background_tasks_on": "`background-0`",
    "send_federation": "`federation_sender_instances`",
    "signing_key_path": "made: the Secret `synapse`",
    "start_pushers": "`pusher_instances`",
    "stream_writers": "the profile",
    "suppress_key_server_warning": "always: who is trusted is `federation.key_servers`",
    "tls_certificate_path": "TLS ends at the ingress",
    "tls_private_key_path": "TLS ends at the ingress",
    "turn_allow_guests": "never: whoever is here has an account",
    "update_user_directory_from_worker": "`user-dir-0`",
    "url_preview_ip_range_blacklist": "private networks, always",
    "worker_app": "the worker types",
    "worker_listeners": "what each process serves",
    "worker_name": "the pod's name",
}
"""Options that the platform sets, and by what."""


def synapse_options_page() -> str:
    """Each option of Synapse, and where a site says it."""
    rows = [
        *((name, " and ".join(f"`{option}`" for option in options)) for name, options in BY_OPTION.items()),
        *((name, f"`{EXTRA}`") for name in BY_DOOR),
        *((name, f"`{SECRET}`") for name in BY_SECRET),
        *((name, f"not: {why}") for name, why in OF_THE_PLATFORM.items()),
    ]
    table = tabulate([(f"`{name}`", where) for name, where in sorted(rows)], ["Option of Synapse", "In site.yaml"], tablefmt="pipe")
    return (
        "# Options of Synapse\n\n"
        "Those that other ways to deploy Synapse have by name, and how a site says each here. Any other goes through "
        f"`{EXTRA}`, which refuses what the platform sets; what holds a secret goes through `{SECRET}`.\n\n{table}\n"
    )
