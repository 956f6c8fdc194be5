"""Who is there, and how they are told of news."""

from monitoring.grafana.board import Query, Row, Unit, lines, logs
from monitoring.grafana.dashboards.synapse import CHOSEN, PROCESS
from monitoring.grafana.promql import per, series, share, top, total

_PRESENCE, _PUSHES, _RULES = "synapse_handler_presence", "synapse_http_httppusher_http_pushes", "synapse_push_bulk_push_rule_evaluator"
_CACHES_OF_RULES = 'name=~"push_rules_delta_state_cache_metric|room_push_rule_cache|_get_rules_for_room|get_push_rules_for_user"'
_LINES = '{job=~"$worker", level=~"WARNING|ERROR|CRITICAL"}'

PEOPLE = Row(
    "People",
    (
        lines(
            "Requests that wait for news",
            "About one for each device that is on.",
            Unit.AMOUNT,
            Query(f"sum by (job) ({series('synapse_notifier_listeners', CHOSEN)})", "{{job}}"),
        ),
        lines("Users that wait for news", "", Unit.AMOUNT, Query(f"sum by (job) ({series('synapse_notifier_users', CHOSEN)})", "{{job}}")),
        lines(
            "Woken, by stream",
            "",
            Unit.PER_SECOND,
            Query(per("stream", "synapse_notifier_users_woken_by_stream_total", CHOSEN), "{{stream}}"),
        ),
        lines(
            "Active users",
            "In a day. In a month, where Synapse is told to count that.",
            Unit.AMOUNT,
            Query(f"max({series('synapse_admin_daily_active_users', CHOSEN)})", "in a day"),
            Query(f"max({series('synapse_admin_mau_current', CHOSEN)})", "in a month"),
            Query(f"max({series('synapse_admin_mau_max', CHOSEN)})", "most in a month"),
        ),
        lines(
            "Accounts",
            "That are not deactivated.",
            Unit.AMOUNT,
            Query(f"max by (app_service) ({series('synapse_non_deactivated_user_count', CHOSEN)})", "{{app_service}}"),
        ),
        lines(
            "Presence",
            "Only with `homeserver.presence`.",
            Unit.PER_SECOND,
            Query(total(f"{_PRESENCE}_notified_presence_total", CHOSEN), "told"),
            Query(total(f"{_PRESENCE}_presence_updates_total", CHOSEN), "changed"),
            Query(total(f"{_PRESENCE}_timers_fired_total", CHOSEN), "timers"),
            Query(total(f"{_PRESENCE}_federation_presence_total", CHOSEN), "from servers"),
            Query(total(f"{_PRESENCE}_federation_presence_out_total", CHOSEN), "to servers"),
        ),
        lines(
            "Presence: changes",
            "",
            Unit.PER_SECOND,
            Query(per("locality, from, to", f"{_PRESENCE}_state_transition_total", CHOSEN), "{{locality}} {{from}} to {{to}}"),
        ),
        lines(
            "Presence: how news is found",
            "",
            Unit.PER_SECOND,
            Query(per("type", f"{_PRESENCE}_get_updates_total", CHOSEN), "{{type}}"),
        ),
    ),
    upstream=("MAU", "Notifier", "Presence"),
    folded=True,
)

PUSH = Row(
    "Push",
    (
        lines(
            "Handed to gateways",
            "",
            Unit.PER_SECOND,
            Query(per("job, index", f"{_PUSHES}_processed_total", CHOSEN), f"{PROCESS} accepted"),
            Query(per("job, index", f"{_PUSHES}_failed_total", CHOSEN), f"{PROCESS} failed"),
        ),
        lines(
            "Devices that want notifications",
            "",
            Unit.AMOUNT,
            Query(top(f"sum by (kind, app_id) ({series('synapse_pushers', CHOSEN)})"), "{{kind}} {{app_id}}"),
        ),
        lines(
            "Rules that are looked at",
            "Grows with the size of rooms.",
            Unit.PER_SECOND,
            Query(total(f"{_RULES}_push_rules_state_size_counter_total", CHOSEN), "members looked at"),
            Query(total(f"{_RULES}_push_rules_invalidation_counter_total", CHOSEN), "made invalid"),
        ),
        lines(
            "Rules that are found in a cache",
            "",
            Unit.SHARE,
            Query(
                share(
                    per("name", "synapse_util_caches_cache_hits", CHOSEN, _CACHES_OF_RULES),
                    per("name", "synapse_util_caches_cache", CHOSEN, _CACHES_OF_RULES),
                ),
                "{{name}}",
            ),
        ),
    ),
    upstream=("Pushes", "Push Rule Cache"),
    folded=True,
)

APPLICATION_SERVICES = Row(
    "Application services",
    (
        lines(
            "Events that are sent",
            "To bridges and bots that are registered with the server.",
            Unit.PER_SECOND,
            Query(per("service", "synapse_appservice_api_sent_events_total", CHOSEN), "{{service}}"),
        ),
        lines(
            "Transactions that are sent",
            "",
            Unit.PER_SECOND,
            Query(per("service", "synapse_appservice_api_sent_transactions_total", CHOSEN), "{{service}} sent"),
            Query(per("service", "synapse_appservice_api_failed_transactions_total", CHOSEN), "{{service}} failed"),
        ),
    ),
    upstream=("Appservices",),
    folded=True,
)

LOG = Row("Log", (logs("Warnings and errors", "Of the workers that are chosen.", f'{_LINES} | json | line_format "{{{{.log}}}}"'),))
