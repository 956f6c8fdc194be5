"""How a site publishes its hosts: the ingress, and their certificates."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Annotations, Cidr, Email, HttpsUrl, Label, Listeners, Name
from kit.options import When, option, required, section


class IngressType(StrEnum):
    """The objects that publish a host: Ingress, or HTTPRoute of the Gateway API."""

    INGRESS = "ingress"
    GATEWAY = "gateway"


_GATEWAY = When("ingress.type", IngressType.GATEWAY)


class TlsSource(StrEnum):
    """Where the certificates of the hosts come from."""

    ACME = "acme"
    CLUSTER_ISSUER = "cluster-issuer"
    INTERNAL_CA = "internal-ca"
    EXISTING = "existing"


@frozen(kw_only=True)
class Gateway:
    """The Gateway that HTTPRoutes attach to."""

    name: Name = required("Its name.")
    namespace: Label = required("Its namespace.")
    listener: Name = option("https", "Its listener for HTTPS, which has the certificates of the hosts.")
    listeners: Listeners = option((), "The listener of each host that has one of its own.", otherwise="`{}`")
    http_listener: Name = option("http", "Its listener for HTTP: it sends requests on to HTTPS, and answers an ACME authority.")


@frozen(kw_only=True)
class IngressOptions:
    """How requests from outside come in."""

    type: IngressType = option(IngressType.INGRESS, "Publish hosts by Ingress objects or by HTTPRoutes of the Gateway API.")
    class_name: Name = option("traefik", "IngressClass of every Ingress.", only_with=When("ingress.type", IngressType.INGRESS))
    gateway: Gateway | None = option(None, only_with=_GATEWAY, needed_with=_GATEWAY)
    controller_namespace: Label = option(
        "traefik", "Namespace of the ingress controller, or of the Gateway's proxies: requests come from there."
    )
    annotations: Annotations = option((), "Put on every Ingress or HTTPRoute.", otherwise="`{}`")
    trusted_proxies: tuple[Cidr, ...] = option(
        (), "Load balancers in front of the ingress controller, whose `X-Forwarded-For` is believed."
    )
    admin_source_ranges: tuple[Cidr, ...] = option(
        (), "Client addresses that reach `hosts.admin`; only the ingress class `traefik` can tell them. Empty: the host is not published."
    )
    monitoring_source_ranges: tuple[Cidr, ...] = option(
        (), "Client addresses that reach `hosts.grafana`; only the ingress class `traefik` can tell them. Empty: the host is not published."
    )
    li_source_ranges: tuple[Cidr, ...] = option(
        (),
        "Client addresses that reach the lawful-interception hosts, with a client certificate besides; only the ingress class `traefik` can "
        "tell them. Empty: these hosts are not published.",
    )


@frozen(kw_only=True)
class Acme:
    """The ACME account that the platform's own issuer uses."""

    server: HttpsUrl = option("https://acme-v02.api.letsencrypt.org/directory", "Directory of the certification authority.")
    email: Email | None = option(None, "Contact that the authority may write to.")


@frozen(kw_only=True)
class TlsSecretNames:
    """Secret with the certificate of each host, in the host's namespace; several hosts may share one."""

    well_known: Name = option("well-known-tls", "Of the server name.")
    matrix: Name = option("matrix-tls", "Of `hosts.matrix`.")
    element: Name = option("element-tls", "Of `hosts.element`.")
    admin: Name = option("admin-tls", "Of `hosts.admin`.")
    rtc: Name = option("rtc-tls", "Of `hosts.rtc`.")
    auth: Name = option("auth-tls", "Of `hosts.auth`.")
    grafana: Name = option("grafana-tls", "Of `hosts.grafana`.")
    turn: Name = option("turn-tls", "Of `hosts.turn`.")
    matrix_li: Name = option("matrix-li-tls", "Of `hosts.matrix_li`.")
    element_li: Name = option("element-li-tls", "Of `hosts.element_li`.")
    admin_li: Name = option("admin-li-tls", "Of `hosts.admin_li`.")
    cases_li: Name = option("cases-li-tls", "Of `hosts.cases_li`.")


@frozen(kw_only=True)
class TlsOptions:
    """Certificates of the hosts."""

    source: TlsSource = option(
        TlsSource.ACME,
        "`acme`: cert-manager, by an issuer that the platform makes. `cluster-issuer`: cert-manager, by a ClusterIssuer that exists. "
        "`internal-ca`: cert-manager, by an authority that the platform makes. `existing`: Secrets that you provide.",
    )
    acme: Acme = section(Acme, only_with=When("tls.source", TlsSource.ACME))
    cluster_issuer: Name | None = option(
        None,
        "Name of the ClusterIssuer.",
        only_with=When("tls.source", TlsSource.CLUSTER_ISSUER),
        needed_with=When("tls.source", TlsSource.CLUSTER_ISSUER),
    )
    cert_manager_namespace: Label = option(
        "cert-manager",
        "Where cert-manager keeps the Secrets of its ClusterIssuers (`--cluster-resource-namespace`): the root of the internal authority.",
        only_with=When("tls.source", TlsSource.INTERNAL_CA),
    )
    secret_names: TlsSecretNames = section(TlsSecretNames)
