"""The values of Element's chart matrix-stack (github.com/element-hq/ess-helm, charts/matrix-stack/values.yaml of chart 26.8)."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from app.errors import UserError
from app.moving_in import synapse
from app.moving_in.given import read_text
from app.moving_in.taking import Taking, size

_OWN = frozenset(
    {"serverName", "elementWeb", "elementAdmin", "matrixAuthenticationService", "matrixRTC", "initSecrets", "wellKnownDelegation"}
)
_HOSTS = {
    "synapse": "matrix",
    "elementWeb": "element",
    "elementAdmin": "admin",
    "matrixAuthenticationService": "auth",
    "matrixRTC": "rtc",
}
_SECRETS = {"signingKey": "signing_key", "macaroon": "macaroon_secret_key", "registrationSharedSecret": "registration_shared_secret"}
_PLACEMENT = frozenset({"resources", "tolerations", "topologySpreadConstraints", "nodeSelector", "affinity", "priorityClassName"})


def is_values(data: Mapping[str, Any]) -> bool:
    """Whether a file has values of that chart."""
    return bool(_OWN & data.keys()) or (isinstance(data.get("synapse"), Mapping) and "server_name" not in data)


def take_values(taking: Taking) -> list[Mapping[str, Any]]:
    """Take over what the values say; the parts of homeserver.yaml among them."""
    parts: list[Mapping[str, Any]] = []
    for key, value in sorted(taking.given.data.items(), key=lambda pair: pair[0] != "serverName"):
        taking.at = key
        if value is None:
            continue
        if reader := _READERS.get(key):
            if isinstance(value, Mapping) or key in ("serverName", "clusterDomain"):
                parts += reader(taking, value) or []
            else:
                taking.say("not taken over: it is no mapping, as the chart has it")
        elif key in _PLACEMENT:
            taking.say("not taken over: the profile says what pods request and how they are spread; the section placement changes it")
        else:
            taking.say("the chart's own: not needed")
    # What the chart deploys unless it is told not to (values.yaml).
    if "matrixAuthenticationService" not in taking.given.data:
        taking.at = "matrixAuthenticationService"
        _service(taking, {})
    parts.append({})
    return parts


def _server_name(taking: Taking, value: Any) -> None:
    taking.take("server_name", str(value))


def _domain(taking: Taking, value: Any) -> None:
    if str(value).rstrip(".") != "cluster.local":
        taking.take("cluster.domain", str(value).rstrip("."))


def _cert_manager(taking: Taking, value: Mapping[str, Any]) -> None:
    if issuer := value.get("clusterIssuer"):
        if taking.take("tls.cluster_issuer", issuer, "clusterIssuer"):
            taking.take("tls.source", "cluster-issuer", "clusterIssuer")
    elif value.get("issuer"):
        taking.say(
            "not taken over: an Issuer belongs to one namespace; make a ClusterIssuer of it, and name that in tls.cluster_issuer", "issuer"
        )


def _ingress(taking: Taking, value: Mapping[str, Any]) -> None:
    if value.get("className"):
        taking.take("ingress.class_name", value["className"], "className")
        taking.say("taken over; write ingress.controller_namespace where the controller is not in the namespace traefik", "className")
    if value.get("annotations"):
        taking.take("ingress.annotations", value["annotations"], "annotations")
    if value.get("tlsSecret"):
        taking.take("tls.source", "existing", "tlsSecret")
        taking.say("taken over as tls.source: existing; copy the Secret into each namespace, by the names of tls.secret_names", "tlsSecret")
    if value.get("tlsEnabled") is False:
        taking.say("not taken over: hosts are served by TLS alone here; give certificates (tls)", "tlsEnabled")


def _pull(taking: Taking, value: Mapping[str, Any]) -> None:
    names = [one.get("name") for one in value.get("pullSecrets") or [] if isinstance(one, Mapping)]
    if names:
        taking.take("images.pull_secrets", names, "pullSecrets")


def _storage(taking: Taking, value: Mapping[str, Any]) -> None:
    if value.get("storageClassName"):
        taking.take("storage_classes.default", value["storageClassName"], "storageClassName")


def _host(taking: Taking, value: Mapping[str, Any]) -> None:
    """The host of a component, where it is not the one that it has here anyway."""
    ingress = value.get("ingress")
    host = ingress.get("host") if isinstance(ingress, Mapping) else None
    name = _HOSTS[taking.at]
    if host and host != f"{name}.{str(taking.tree.get('server_name', '')).partition(':')[0]}":
        taking.take(f"hosts.{name}", host, "ingress.host")


def _calls(taking: Taking, value: Mapping[str, Any]) -> None:
    _host(taking, value)
    if value.get("enabled") is not False:
        taking.say(
            "not taken over: calls are off until you name nodes for them: features: {calls: true}, cluster: {node_cidrs: [...]}, and their labels "
            "(docs/01-DEPLOYMENT-GUIDE.md)"
        )


def _service(taking: Taking, value: Mapping[str, Any]) -> None:
    if value.get("enabled") is False:
        return
    _host(taking, value)
    taking.take("features.authentication_service", True)
    taking.say(
        "taken over: the accounts' passwords and sessions are in its database, which is moved as Synapse's is; its encryption key goes into the "
        "Secret matrix-authentication-service"
    )
    for name in sorted(value.keys() & {"additional", "postgres"}):
        taking.say("not taken over: write authentication_service.extra, or the section postgresql", name)


def _well_known(taking: Taking, value: Mapping[str, Any]) -> None:
    if value.get("enabled") is False:
        taking.take("well_known.publish", False)
    additional = value.get("additional")
    client = additional.get("client") if isinstance(additional, Mapping) else None
    if client and client != "{}":
        try:
            said = json.loads(str(client))
        except ValueError:
            taking.say("not taken over: it is no JSON; write well_known.client", "additional.client")
            return
        taking.take("well_known.client", said, "additional.client")


def _synapse(taking: Taking, value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    _host(taking, value)
    for theirs, ours in _SECRETS.items():
        taking.secret("synapse", ours, "as it was" if theirs in value else "as it is in the Secret <release>-generated", theirs)
    media = value.get("media")
    if isinstance(media, Mapping) and (amount := size(media.get("maxUploadSize"))):
        taking.take("media.max_upload_size", amount, "media.maxUploadSize")
    for number, _ in enumerate(value.get("appservices") or []):
        taking.say(
            "not taken over: fetch that registration from its ConfigMap or Secret, and give it with --from", f"appservices[{number}]"
        )
    if value.get("postgres"):
        taking.say(
            "not taken over: the deployment guide moves what is in it (Moving in); to keep that server, write the section postgresql",
            "postgres",
        )
    known = {*_SECRETS, "ingress", "media", "appservices", "postgres", "additional", "enabled"}
    for name in sorted(value.keys() - known):
        taking.say("the platform's own: the profile says what there is of each process, and what it requests", name)
    return _additional(taking, value.get("additional") or {})


def _additional(taking: Taking, additional: Any) -> list[Mapping[str, Any]]:
    """Parts of homeserver.yaml within the values."""
    parts: list[Mapping[str, Any]] = []
    for name, of in additional.items() if isinstance(additional, Mapping) else ():
        text = of.get("config") if isinstance(of, Mapping) else None
        if not isinstance(text, str):
            taking.say("not taken over: fetch it from its Secret, and give it with --from", f"additional.{name}")
            continue
        line = taking.given.lines.get(taking.at, 1)
        try:
            given = read_text(text, f"{taking.given.name}, synapse.additional.{name}", line)
        except UserError as error:
            taking.say(f"not taken over: {error}", f"additional.{name}")
            continue
        parts.append(given.data)
        synapse.take_synapse(Taking(given, taking.tree, taking.notes))
    return parts


_READERS: Mapping[str, Callable[[Taking, Any], Any]] = {
    "serverName": _server_name,
    "clusterDomain": _domain,
    "certManager": _cert_manager,
    "ingress": _ingress,
    "image": _pull,
    "storage": _storage,
    "synapse": _synapse,
    "elementWeb": _host,
    "elementAdmin": _host,
    "matrixAuthenticationService": _service,
    "matrixRTC": _calls,
    "wellKnownDelegation": _well_known,
}
