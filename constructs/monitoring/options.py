"""How a site is watched, and who is told."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Annotations, Cidr, Email, HttpsUrl, Label, Line, MetricsAge, Name, Server, Url
from kit.options import When, option, required, section

KUBELETS, ALERT_MAIL, ALERT_WEBHOOK, ALERT_WATCHDOG = "kubelets", "alert-mail", "alert-webhook", "alert-watchdog"
"""The ways out: to the nodes, and to who is told of alerts."""
_AUTHORITY = "Secret with `ca.crt`, the authority of its certificate, beside `alert-receivers`. Public ones are not trusted then."


class Mode(StrEnum):
    """Who runs Prometheus."""

    BUNDLED = "bundled"
    OPERATOR = "operator"


@frozen(kw_only=True)
class Mail:
    """Alerts by e-mail. With `user`, the password goes into the Secret `alert-receivers`, as `smtp-password`."""

    to: tuple[Email, ...] = required("Who is told.")
    sender: Email = required("From whom it comes.")
    server: Server = required("The mail server, with STARTTLS, or TLS from the beginning on port 465. Without a port: 587.")
    user: Line | None = option(None, "As whom Alertmanager logs in there.")
    cidrs: tuple[Cidr, ...] = option((), "Addresses of the mail server. Empty: any.")
    ca_secret: Name | None = option(None, _AUTHORITY, otherwise="public authorities")


@frozen(kw_only=True)
class Webhook:
    """A URL to which Alertmanager posts. It goes into the Secret `alert-receivers`: mostly it is a secret itself."""

    server: Server = required("The host of the URL, with its port where that is not 443.")
    cidrs: tuple[Cidr, ...] = option((), "Addresses of its host. Empty: any.")
    ca_secret: Name | None = option(None, _AUTHORITY, otherwise="public authorities")


@frozen(kw_only=True)
class AlertOptions:
    """Who is told of alerts. Without any of these they are seen in Prometheus and Alertmanager alone."""

    mail: Mail | None = option(None, opens=(ALERT_MAIL,))
    webhook: Webhook | None = option(
        None,
        "Alerts are posted as JSON (`webhook_config` of Alertmanager); the URL is the key `webhook-url`.",
        opens=(ALERT_WEBHOOK,),
    )
    watchdog: Webhook | None = option(
        None,
        "Every minute something is posted for as long as alerting works, to a service outside that raises the alarm when nothing comes; "
        "the URL is the key `watchdog-url`.",
        opens=(ALERT_WATCHDOG,),
    )


@frozen(kw_only=True)
class LogOptions:
    """Logs of all pods, in object storage."""

    retention: MetricsAge = option("30d", "How long they are kept.")
    audit_retention: MetricsAge = option(
        "1y", "How long the logs of lawful interception are kept, which say who has looked at whose messages and keys."
    )


@frozen(kw_only=True)
class OwnPrometheus:
    """Your own Prometheus."""

    namespace: Label = option("monitoring", "Its namespace, from which the platform's pods may be scraped.")
    labels: Annotations = option((), "Labels by which it selects PodMonitors and PrometheusRules.", otherwise="`{}`")
    url: Url | None = option(None, "Where KEDA asks it, with `monitoring.keda`: a URL that needs no password.")


@frozen(kw_only=True)
class Keda:
    """KEDA, which the administrators of the cluster have installed (docs/reference/operators.md)."""

    namespace: Label = option("keda", "Its namespace: from there Prometheus is asked.")


@frozen(kw_only=True)
class MonitoringOptions:
    """Metrics and alerts."""

    mode: Mode = option(
        Mode.BUNDLED,
        "`bundled`: Prometheus and Alertmanager are parts of the platform. `operator`: your own are there, by the Prometheus Operator, with "
        "kube-state-metrics and node-exporter; it gets PodMonitors and PrometheusRules.",
    )
    retention: MetricsAge = option(
        "15d", "How long metrics are kept, if their volume does not fill before.", only_with=When("monitoring.mode", "bundled")
    )
    alerts: AlertOptions = section(AlertOptions, only_with=When("monitoring.mode", "bundled"))
    operator: OwnPrometheus = section(OwnPrometheus, only_with=When("monitoring.mode", "operator"))
    runbooks: HttpsUrl | None = option(
        None,
        "Where people read your copy of docs/04-TROUBLESHOOTING.md: alerts link to it.",
        otherwise="the path of the file, and in it the heading",
    )
    keda: Keda | None = option(
        None,
        "Elastic workers of Synapse are as many as are busy: KEDA asks Prometheus how much of the time they work. Without it, the API of "
        "metrics says how much of a processor they use.",
    )
    logs: LogOptions = section(LogOptions, only_with=When("monitoring.mode", "bundled"))
