"""How the platform is reached from outside: each exposure as an Ingress or an HTTPRoute, and the certificates of their hosts."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cdk8s_plus_34 import k8s

from imports import cert_manager, cert_manager_issuers
from infrastructure.ingress.options import Gateway, IngressOptions, TlsOptions, TlsSource
from infrastructure.operators import TRAEFIK
from kit.component import Component
from kit.installation import Installation
from kit.network import Endpoint, Exposure, Host, Pods, Port
from kit.objects import CustomResource, Kind
from kit.options import OptionError
from kit.place import Place
from kit.text import yaml_text

ISSUER = "matrix-platform"
_FIVE_YEARS = "43800h"
_YEAR = 31_536_000
"""For how long browsers come by TLS alone, in seconds."""
_GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
"""Said, though the API server would add it: items of a custom resource's list are compared whole."""
_SOLVER = Port("http", 8089)
"""Where cert-manager's pods for the HTTP-01 challenge listen (cert-manager, pkg/issuer/acme/http/pod.go)."""

# Values of Traefik's chart: what Matrix needs of every entry point. Identifiers hold encoded slashes and the like, uploads
# take longer than the default of a minute, and HAProxy believes the X-Forwarded-For that Traefik writes.
TRAEFIK_VALUES: dict[str, Any] = {
    "ports": {
        "websecure": {
            "http": {
                "encodedCharacters": {
                    f"allowEncoded{name}": True for name in ("Slash", "BackSlash", "Semicolon", "Percent", "QuestionMark", "Hash")
                },
            },
            "transport": {"respondingTimeouts": {"readTimeout": "1800s", "writeTimeout": "0s", "idleTimeout": "180s"}},
        }
    },
    "providers": {"kubernetesCRD": {"enabled": True}},
}


class Middleware(CustomResource):
    """Traefik's Middleware: something done to a request or its answer on the way."""

    resource_version = "traefik.io/v1alpha1"
    resource_kind = "Middleware"


class TlsOption(CustomResource):
    """Traefik's TLSOption: how it speaks TLS with the clients of a host."""

    resource_version = "traefik.io/v1alpha1"
    resource_kind = "TLSOption"


class HttpRoute(CustomResource):
    """The Gateway API's HTTPRoute."""

    resource_version = "gateway.networking.k8s.io/v1"
    resource_kind = "HTTPRoute"


class Ingress(Component):
    """Publishes what the components have exposed, and nothing else; every host is served over TLS with HSTS."""

    directory = "04-networking"

    def __init__(self, installation: Installation, place: Place, options: IngressOptions, tls: TlsOptions) -> None:
        super().__init__(installation, "ingress", place)
        self._options = options
        self._tls = tls
        exposures = installation.declared.exposures
        for exposure in exposures:
            if options.gateway:
                self._route(exposure, options.gateway)
            else:
                self._ingress(exposure)
        if options.gateway:
            self._redirects(exposures, options.gateway)
        for name in dict.fromkeys(exposure.endpoint.pods.namespace for exposure in exposures):
            if self._traefik:
                headers = {"stsSeconds": _YEAR, "stsIncludeSubdomains": False, "forceSTSHeader": True}
                self._place("ingress-controller.yaml", Middleware, "hsts", name, spec={"headers": headers})
        for namespace, authority in dict.fromkeys((e.endpoint.pods.namespace, e.client_authority) for e in exposures if e.client_authority):
            self._client_certificates(namespace, authority)
        certified = self._certified()
        self._issuers(tuple(dict.fromkeys(namespace for namespace, _ in certified)))
        if tls.source is not TlsSource.EXISTING:
            for (certificate_namespace, secret), hosts in certified.items():
                self._certificate(certificate_namespace, secret, hosts)
        if self._traefik:
            data = TRAEFIK.release() | {"values.yaml": yaml_text(TRAEFIK_VALUES)}
            self.add("ingress-controller.yaml", k8s.KubeConfigMap, "ingress-controller-release", data=data)

    @property
    def _traefik(self) -> bool:
        return self._options.gateway is None and self._options.class_name == "traefik"

    def _place(self, file: str, kind: Kind, name: str, namespace: str | None, **properties: Any) -> None:
        self.installation.add(self, self.path(file), kind, name=name, namespace=namespace, labels=self.labels(), **properties)

    def _ingress(self, exposure: Exposure) -> None:
        options, namespace = self._options, exposure.endpoint.pods.namespace
        middlewares = [f"{namespace}-hsts@kubernetescrd"] if self._traefik else []
        if exposure.allowed_sources:
            if not self._traefik:
                raise OptionError(
                    "ingress.class_name",
                    f"{exposure.host.name} admits only {', '.join(exposure.allowed_sources)}: the platform can say so to the ingress class "
                    f"traefik alone, not to {options.class_name}",
                )
            allowed = f"{exposure.name}-sources"
            sources: dict[str, Any] = {"sourceRange": list(exposure.allowed_sources)}
            if options.trusted_proxies:
                # Behind a load balancer the client is the last address of X-Forwarded-For that is not one of these.
                sources["ipStrategy"] = {"excludedIPs": list(options.trusted_proxies)}
            self._place("ingress-controller.yaml", Middleware, allowed, namespace, spec={"ipAllowList": sources})
            middlewares.append(f"{namespace}-{allowed}@kubernetescrd")
        annotations = dict(options.annotations)
        if exposure.client_authority:
            middlewares.append(f"{namespace}-client-certificate@kubernetescrd")
            annotations["traefik.ingress.kubernetes.io/router.tls.options"] = f"{namespace}-client-certificate@kubernetescrd"
        if self._traefik:
            annotations |= {
                "traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
                "traefik.ingress.kubernetes.io/router.middlewares": ",".join(middlewares),
            }
        service = k8s.IngressServiceBackend(name=_service(exposure.endpoint), port=k8s.ServiceBackendPort(number=exposure.endpoint.port))
        paths = [k8s.HttpIngressPath(path=path, path_type="Prefix", backend=k8s.IngressBackend(service=service)) for path in exposure.paths]
        self.installation.add(
            self,
            exposure.file,
            k8s.KubeIngress,
            name=exposure.name,
            namespace=namespace,
            labels=self.labels(),
            annotations=annotations,
            spec=k8s.IngressSpec(
                ingress_class_name=options.class_name,
                rules=[k8s.IngressRule(host=exposure.host.name, http=k8s.HttpIngressRuleValue(paths=paths))],
                tls=[k8s.IngressTls(hosts=[exposure.host.name], secret_name=exposure.host.tls_secret)],
            ),
        )

    def _client_certificates(self, namespace: str, authority: str) -> None:
        """A client has to show a certificate of the authority, and whoever is behind the ingress is told whose it is."""
        name, file = "client-certificate", "ingress-controller.yaml"
        shown = {"clientAuth": {"secretNames": [authority], "clientAuthType": "RequireAndVerifyClientCert"}, "minVersion": "VersionTLS12"}
        self._place(file, TlsOption, name, namespace, spec=shown)
        self._place(file, Middleware, name, namespace, spec={"passTLSClientCert": {"info": {"subject": {"commonName": True}}}})

    def _route(self, exposure: Exposure, gateway: Gateway) -> None:
        if exposure.allowed_sources:
            raise OptionError(
                "ingress.type",
                f"{exposure.host.name} admits only {', '.join(exposure.allowed_sources)}: the Gateway API has no field for that; "
                "use ingress.type: ingress with the class traefik",
            )
        backend = {"group": "", "kind": "Service", "name": _service(exposure.endpoint), "port": exposure.endpoint.port, "weight": 1}
        headers = [{"name": "Strict-Transport-Security", "value": f"max-age={_YEAR}"}]
        route = {
            "parentRefs": [_parent(gateway, dict(gateway.listeners).get(exposure.host.name, gateway.listener))],
            "hostnames": [exposure.host.name],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in exposure.paths],
                    "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": headers}}],
                    "backendRefs": [backend],
                    # HAProxy knows how long each kind of request may take.
                    "timeouts": {"request": "0s", "backendRequest": "0s"},
                }
            ],
        }
        annotations = dict(self._options.annotations)
        self.installation.add(
            self,
            exposure.file,
            HttpRoute,
            name=exposure.name,
            namespace=exposure.endpoint.pods.namespace,
            labels=self.labels(),
            annotations=annotations,
            spec=route,
        )

    def _redirects(self, exposures: Sequence[Exposure], gateway: Gateway) -> None:
        """Who comes by HTTP is sent to HTTPS, and nothing else is answered there. Each namespace has the hosts that it is the first to have."""
        hosts = {exposure.host.name: exposure.endpoint.pods.namespace for exposure in reversed(exposures)}
        if strangers := [host for host, _ in gateway.listeners if host not in hosts]:
            raise OptionError("ingress.gateway.listeners", f"{strangers[0]} is not published; there are {', '.join(sorted(hosts))}")
        for namespace in dict.fromkeys(hosts.values()):
            to_https = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
            route = {
                "parentRefs": [_parent(gateway, gateway.http_listener)],
                "hostnames": sorted(host for host, of in hosts.items() if of == namespace),
                "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "filters": [to_https]}],
            }
            self._place("ingress-controller.yaml", HttpRoute, "to-https", namespace, spec=route)

    # -- certificates

    def _certified(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Each TLS Secret, by namespace and name, with the hosts that it certifies.

        The TLS connection ends beside the Ingress, beside the Gateway, or at the component itself.
        """
        declared, gateway = self.installation.declared, self._options.gateway
        ends: list[tuple[Host, str]] = [
            (exposure.host, gateway.namespace if gateway else exposure.endpoint.pods.namespace) for exposure in declared.exposures
        ]
        hosts: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for host, namespace in [*ends, *declared.tls_hosts]:
            hosts[namespace, host.tls_secret][host.name] = None
        return {secret: tuple(names) for secret, names in hosts.items()}

    def _issuers(self, namespaces: tuple[str, ...]) -> None:
        match self._tls.source:
            case TlsSource.ACME:
                for namespace in namespaces:
                    self._acme(namespace)
            case TlsSource.INTERNAL_CA:
                self._internal_ca()

    def _acme(self, namespace: str) -> None:
        options, account = self._options, self._tls.acme
        if options.gateway:
            parent = cert_manager_issuers.IssuerSpecAcmeSolversHttp01GatewayHttpRouteParentRefs(
                group=_GATEWAY["group"],
                kind=_GATEWAY["kind"],
                name=options.gateway.name,
                namespace=options.gateway.namespace,
                section_name=options.gateway.http_listener,
            )
            http = cert_manager_issuers.IssuerSpecAcmeSolversHttp01(
                gateway_http_route=cert_manager_issuers.IssuerSpecAcmeSolversHttp01GatewayHttpRoute(parent_refs=[parent])
            )
        else:
            http = cert_manager_issuers.IssuerSpecAcmeSolversHttp01(
                ingress=cert_manager_issuers.IssuerSpecAcmeSolversHttp01Ingress(ingress_class_name=options.class_name)
            )
        acme = cert_manager_issuers.IssuerSpecAcme(
            server=account.server,
            email=account.email,
            private_key_secret_ref=cert_manager_issuers.IssuerSpecAcmePrivateKeySecretRef(name="acme-account"),
            solvers=[cert_manager_issuers.IssuerSpecAcmeSolvers(http01=http)],
        )
        self._place("cert-manager.yaml", cert_manager_issuers.Issuer, ISSUER, namespace, spec=cert_manager_issuers.IssuerSpec(acme=acme))
        solver = Pods("acme-solver", namespace, (("acme.cert-manager.io/http01-solver", "true"),))
        self.connect(Pods("ingress", options.controller_namespace, ()), Endpoint(solver, "", _SOLVER.number, _SOLVER))

    def _internal_ca(self) -> None:
        """One authority for all namespaces, so that people have one root to trust. cert-manager keeps a ClusterIssuer's key beside itself."""
        root = f"{self._authority}-root"
        self_signed = cert_manager_issuers.ClusterIssuerSpec(self_signed=cert_manager_issuers.ClusterIssuerSpecSelfSigned())
        self._place("cert-manager.yaml", cert_manager_issuers.ClusterIssuer, root, None, spec=self_signed)
        certificate = cert_manager.CertificateSpec(
            is_ca=True,
            common_name=root,
            secret_name=root,
            duration=_FIVE_YEARS,
            private_key=cert_manager.CertificateSpecPrivateKey(algorithm=cert_manager.CertificateSpecPrivateKeyAlgorithm.ECDSA, size=256),
            issuer_ref=cert_manager.CertificateSpecIssuerRef(name=root, kind="ClusterIssuer"),
        )
        self._place("cert-manager.yaml", cert_manager.Certificate, root, self._tls.cert_manager_namespace, spec=certificate)
        authority = cert_manager_issuers.ClusterIssuerSpec(ca=cert_manager_issuers.ClusterIssuerSpecCa(secret_name=root))
        self._place("cert-manager.yaml", cert_manager_issuers.ClusterIssuer, self._authority, None, spec=authority)

    @property
    def _authority(self) -> str:
        """The name of the internal authority: cluster-wide, and a cluster may hold several platforms."""
        return f"{ISSUER}-{self.namespace}"

    def _issuer(self) -> tuple[str, str]:
        """Kind and name of what signs the hosts' certificates."""
        match self._tls.source:
            case TlsSource.CLUSTER_ISSUER:
                return "ClusterIssuer", self._tls.cluster_issuer or ""
            case TlsSource.INTERNAL_CA:
                return "ClusterIssuer", self._authority
            case _:
                return "Issuer", ISSUER

    def _certificate(self, namespace: str, secret: str, hosts: tuple[str, ...]) -> None:
        kind, issuer = self._issuer()
        spec = cert_manager.CertificateSpec(
            secret_name=secret,
            dns_names=list(hosts),
            private_key=cert_manager.CertificateSpecPrivateKey(
                algorithm=cert_manager.CertificateSpecPrivateKeyAlgorithm.ECDSA,
                size=256,
                rotation_policy=cert_manager.CertificateSpecPrivateKeyRotationPolicy.ALWAYS,
            ),
            issuer_ref=cert_manager.CertificateSpecIssuerRef(name=issuer, kind=kind),
        )
        self._place("cert-manager.yaml", cert_manager.Certificate, secret, namespace, spec=spec)


def _parent(gateway: Gateway, listener: str) -> dict[str, str]:
    """One listener of the Gateway: a route that names none attaches to all of them, those without TLS too."""
    return {**_GATEWAY, "name": gateway.name, "namespace": gateway.namespace, "sectionName": listener}


def _service(endpoint: Endpoint) -> str:
    return endpoint.host.partition(".")[0]
