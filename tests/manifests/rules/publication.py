"""The way in: each published host has its certificate where the connection ends, and every answer tells browsers to stay with TLS."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rules.objects import Object, Objects, namespace_of, of_kind, title, workloads

YEAR = 31_536_000
HSTS = "Strict-Transport-Security"


def published(objects: Objects) -> dict[str, dict[str, str]]:
    """Host to its path prefixes, each with the Service and port that it leads to."""
    found: dict[str, dict[str, str]] = {}
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                if path.get("pathType") == "Prefix":
                    backend = path["backend"]["service"]
                    found.setdefault(rule["host"], {})[path["path"]] = f"{backend['name']}:{backend['port']['number']}"
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for host in route["spec"].get("hostnames", ["every host"]) if not is_redirect(route) else ():
                for match in rule["matches"]:
                    backends = "+".join(f"{backend['name']}:{backend['port']}" for backend in rule["backendRefs"])
                    found.setdefault(host, {})[match.get("path", {}).get("value", "every path")] = backends
    return found


def is_redirect(route: Object) -> bool:
    """Whether a route only sends people on to HTTPS."""
    on = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]
    everything = [{"path": {"type": "PathPrefix", "value": "/"}}]
    return bool(route["spec"]["rules"] == [{"matches": everything, "filters": on}])


def hsts_problems(objects: Objects) -> list[str]:
    """Hosts without TLS, or whose answers do not tell browsers for a year to come by TLS alone; of other hosts they say nothing.

    That goes for Traefik, whose Middleware says it, and for a Gateway. Of another class of Ingress the platform knows no such way.
    """
    found = []
    middlewares = {f"{namespace_of(o)}-{o['metadata']['name']}@kubernetescrd": o["spec"] for o in of_kind(objects, "Middleware")}
    for ingress in of_kind(objects, "Ingress"):
        if ingress["spec"].get("ingressClassName") != "traefik":
            continue
        annotations = ingress["metadata"].get("annotations", {})
        if annotations.get("traefik.ingress.kubernetes.io/router.entrypoints") != "websecure":
            found.append(f"{title(ingress)} is served without TLS")
        named = annotations.get("traefik.ingress.kubernetes.io/router.middlewares", "").split(",")
        headers = [headers for name in named if (headers := middlewares.get(name, {}).get("headers"))]
        if [(h.get("stsSeconds"), h.get("forceSTSHeader"), h.get("stsIncludeSubdomains")) for h in headers] != [(YEAR, True, False)]:
            found.append(f"{title(ingress)}: browsers are not told for a year to come by TLS, or are told so of other hosts: {headers}")
    told = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": HSTS, "value": f"max-age={YEAR}"}]}}]
    return found + [
        f"{title(route)}: browsers are not told for a year to come by TLS, or are told so of other hosts"
        for route in of_kind(objects, "HTTPRoute")
        if not is_redirect(route) and any(rule.get("filters") != told for rule in route["spec"]["rules"])
    ]


def certificate_problems(objects: Objects) -> list[str]:
    """Published hosts without a certificate where their TLS ends, and certificates of other hosts, or that nobody signs.

    Where the site brings its own Secrets, no certificates are made at all.
    """
    certificates = {(namespace_of(c), c["spec"]["secretName"]): c for c in of_kind(objects, "Certificate") if not c["spec"].get("isCA")}
    if not certificates:
        return []
    found, wanted = [], _wanted(objects)
    for place, hosts in wanted.items():
        given = certificates[place]["spec"].get("dnsNames", []) if place in certificates else []
        if sorted(given) != sorted(hosts):
            found.append(f"the Secret {'/'.join(place)} certifies {given}, and {sorted(hosts)} are served with it")
    for place, certificate in certificates.items():
        if place not in wanted and not _mounted(place, objects):
            found.append(f"{title(certificate)}: nobody serves with the Secret {place[1]}")
        # A key that outlives its certificate would still be good for whoever has got hold of it.
        if certificate["spec"]["privateKey"].get("rotationPolicy") != "Always":
            found.append(f"{title(certificate)} keeps its key when it is renewed")
    return found + [problem for certificate in of_kind(objects, "Certificate") for problem in _issuer_problems(certificate, objects)]


def _wanted(objects: Objects) -> dict[tuple[str, str], set[str]]:
    """Namespace and name of each Secret that an Ingress serves with, or that a Gateway should, to the hosts."""
    found: dict[tuple[str, str], set[str]] = {}
    for ingress in of_kind(objects, "Ingress"):
        served = {rule["host"] for rule in ingress["spec"]["rules"]}
        for tls in ingress["spec"].get("tls", []):
            found.setdefault((namespace_of(ingress), tls["secretName"]), set()).update(tls.get("hosts", []))
            served -= set(tls.get("hosts", []))
        for host in served:
            found.setdefault((namespace_of(ingress), "(none)"), set()).add(host)
    gateways = {(route["spec"]["parentRefs"][0]["namespace"], host) for route, host in _routed(objects)}
    secrets = {
        (namespace_of(c), host): c["spec"]["secretName"] for c in of_kind(objects, "Certificate") for host in c["spec"].get("dnsNames", [])
    }
    for namespace, host in gateways:
        found.setdefault((namespace, secrets.get((namespace, host), "(none)")), set()).add(host)
    return found


def _routed(objects: Objects) -> Iterator[tuple[Object, str]]:
    for route in of_kind(objects, "HTTPRoute"):
        yield from ((route, host) for host in route["spec"].get("hostnames", []))


def _mounted(place: tuple[str, str], objects: Objects) -> bool:
    namespace, secret = place
    return any(
        volume.get("secret", {}).get("secretName") == secret
        for workload in workloads(objects)
        if workload.namespace == namespace
        for volume in workload.pod.get("volumes", [])
    )


def _issuer_problems(certificate: Object, objects: Objects) -> Iterator[str]:
    """Why nobody, or the wrong one, would sign a certificate. A ClusterIssuer that the site names need not be among the objects."""
    reference = certificate["spec"].get("issuerRef", {})
    issuers = {(o["kind"], namespace_of(o), o["metadata"]["name"]): o for o in of_kind(objects, "Issuer", "ClusterIssuer")}
    namespace = namespace_of(certificate) if reference.get("kind") == "Issuer" else ""
    issuer = issuers.get((reference.get("kind", ""), namespace, reference.get("name", "")))
    if issuer is None and issuers:
        yield f"{title(certificate)}: there is no {reference}"
    elif issuer and ("selfSigned" in issuer["spec"]) != bool(certificate["spec"].get("isCA")):
        yield f"{title(certificate)}: only an authority signs itself"


def issuer_problems(objects: Objects) -> list[str]:
    """Issuers that could not prove the possession of a host, and authorities that nobody could trust or that end too soon."""
    found = []
    classes = {(namespace_of(o), o["spec"].get("ingressClassName")) for o in of_kind(objects, "Ingress")}
    # The authority asks by HTTP, where people are sent on to HTTPS.
    redirects = [o for o in of_kind(objects, "HTTPRoute") if is_redirect(o)]
    gateways = {(ref["name"], ref["namespace"], ref.get("sectionName")) for o in redirects for ref in o["spec"]["parentRefs"]}
    for issuer in of_kind(objects, "Issuer", "ClusterIssuer"):
        spec = issuer["spec"]
        if "ca" in spec and spec["ca"].get("secretName") not in _authorities(objects):
            found.append(f"{title(issuer)}: no certificate of an authority is kept in {spec['ca']}")
        if len({"acme", "ca", "selfSigned"} & set(spec)) != 1 or spec.get("selfSigned"):
            found.append(f"{title(issuer)} signs by {spec}")
        if "acme" in spec:
            found += [f"{title(issuer)}: {problem}" for problem in _acme(spec["acme"], namespace_of(issuer), classes, gateways)]
    for authority in of_kind(objects, "Certificate"):
        spec = authority["spec"]
        # People install it by hand on their devices: a name that they know again, and years before it must be done again.
        if spec.get("isCA") and (spec.get("commonName"), spec.get("duration")) != (authority["metadata"]["name"], f"{5 * 365 * 24}h"):
            found.append(f"{title(authority)} is called {spec.get('commonName')} and is good for {spec.get('duration')}")
    return found


def _authorities(objects: Objects) -> set[str]:
    return {c["spec"]["secretName"] for c in of_kind(objects, "Certificate") if c["spec"].get("isCA")}


def _acme(acme: Mapping[str, Any], namespace: str, classes: set[tuple[str, Any]], gateways: set[tuple[str, str, Any]]) -> Iterator[str]:
    if not acme.get("server", "").startswith("https://"):
        yield f"the directory is {acme.get('server')}"
    if acme.get("privateKeySecretRef") != {"name": "acme-account"}:
        yield "another account would be made with the authority, and its limits begin anew"
    for solver in acme.get("solvers", []):
        http = solver.get("http01", {})
        if "gatewayHTTPRoute" in http:
            parents = {(ref["name"], ref["namespace"], ref.get("sectionName")) for ref in http["gatewayHTTPRoute"]["parentRefs"]}
            if not parents <= gateways:
                yield f"it answers the authority at {sorted(parents, key=str)}"
        elif (namespace, http.get("ingress", {}).get("ingressClassName")) not in classes:
            yield f"it answers the authority by {http}"


def gateway_problems(objects: Objects) -> list[str]:
    """Routes that attach to another Gateway than the others, or to every listener; hosts that answer in the clear, or that nobody sends on."""
    routes = of_kind(objects, "HTTPRoute")
    parents = {title(o): [tuple(sorted(ref.items())) for ref in o["spec"].get("parentRefs", [])] for o in routes}
    gateways = {(dict(ref).get("namespace"), dict(ref).get("name")) for refs in parents.values() for ref in refs}
    found = (
        [f"the routes attach to {sorted(gateways, key=str)}"]
        if len(gateways) > 1 or any(len(refs) != 1 for refs in parents.values())
        else []
    )
    found += [
        f"{name} attaches to every listener, those without TLS too" for name, refs in parents.items() if "sectionName" not in dict(*refs)
    ]
    clear = {(_listener(o), host) for o in routes if is_redirect(o) for host in o["spec"]["hostnames"]}
    served = {(_listener(o), host) for o in routes if not is_redirect(o) for host in o["spec"].get("hostnames", ["every host"])}
    plain = {listener for listener, _ in clear}
    found += [f"{host} is answered where people come without TLS" for listener, host in sorted(served, key=str) if listener in plain]
    unsent = {host for _, host in served} - {host for _, host in clear}
    return found + [f"nobody sends who comes to {host} by HTTP on to HTTPS" for host in sorted(unsent)]


def _listener(route: Object) -> tuple[Any, ...]:
    return tuple((ref.get("namespace"), ref.get("name"), ref.get("sectionName")) for ref in route["spec"].get("parentRefs", []))
