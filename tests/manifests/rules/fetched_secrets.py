"""ExternalSecrets: which entry of the store each key comes from, and that together they are what the platform has declared."""

import re

from tests.manifests.rules.objects import Declared, Objects, namespace_of, of_kind, title

PREFIX = "matrix-platform"

# Go's text/template: the value of a fetched key whose name has a hyphen in it.
_FETCHED = re.compile(r'\{\{ index \. "([^"]+)" \}\}')
_BRACE = '{{ "{" }}'
"""A brace that stands for itself."""
SHARED = {("redis-exporter", "password"): "redis"}
"""Secret and key to the Secret of the same namespace whose value it is."""
ELSEWHERE = {
    ("li-proxy", "access_token"): ("chat/key-vault", "access_token"),
    ("li-proxy", "proxy_token"): ("chat/key-vault", "proxy_token"),
    ("li-sync-main", "publisher"): ("chat/postgresql-main-li-publisher", "password"),
    ("li-sync-main", "replication"): ("chat/postgresql-main-li-replication", "password"),
    ("key-vault-reader", "password"): ("chat-li/postgresql-li-key-vault-reader", "password"),
}
"""The same for values of another namespace: its Secret, and the key there."""
_PASSWORD = '{{ index . "password" }}'
_EXPORTERS_FILE = f'{{{{ "{{" }}}}"redis://localhost:6379":"{_PASSWORD}","redis://localhost:26379":"{_PASSWORD}"}}'
_ACTION = re.compile(r"\{\{.*?\}\}")


def fetched_secret_problems(objects: Objects, declared: Declared) -> list[str]:
    """ExternalSecrets that read another place than docs/01-DEPLOYMENT-GUIDE.md says, or make another Secret than is declared."""
    found = []
    stores = {tuple(sorted(o["spec"].get("secretStoreRef", {}).items())) for o in of_kind(objects, "ExternalSecret")}
    if len(stores) > 1:
        found.append(f"the stores are {sorted(stores)}")
    for o in of_kind(objects, "ExternalSecret"):
        spec, namespace, name = o["spec"], namespace_of(o), o["metadata"]["name"]
        composed = spec["target"].get("template", {}).get("data", {})
        fetched = [item["secretKey"] for item in spec.get("data", [])]
        if spec["target"].get("name") != name:
            found.append(f"{title(o)} makes the Secret {spec['target'].get('name')}")
        if sorted([*fetched, *composed]) != sorted(declared.get((namespace, name), set())):
            found.append(f"{title(o)} makes the keys {sorted([*fetched, *composed])}")
        for item in spec.get("data", []):
            key, entry = item["secretKey"], f"{PREFIX}/{namespace}/{SHARED.get((name, item['secretKey']), name)}"
            other, there = ELSEWHERE.get((name, key), ("", key))
            if item["remoteRef"] != {"key": f"{PREFIX}/{other}" if other else entry, "property": there}:
                found.append(f"{title(o)}: {key} is read from {item['remoteRef']}")
        for key, text in composed.items():
            found += [
                f"{title(o)}: {key} is composed of {part}" for part in set(_ACTION.findall(text)) - {_BRACE} if not _FETCHED.fullmatch(part)
            ]
            found += [
                f"{title(o)}: {key} is composed of {part}, which is not fetched" for part in _FETCHED.findall(text) if part not in fetched
            ]
        if "passwords.json" in composed and composed["passwords.json"] != _EXPORTERS_FILE:
            found.append(f"{title(o)}: the exporter of Redis finds no password in passwords.json")
        if "template" in spec["target"] and spec["target"]["template"].get("type") not in ("Opaque", "kubernetes.io/basic-auth"):
            found.append(f"{title(o)} makes a Secret of the type {spec['target']['template'].get('type')}")
        if {"access-key", "secret-key"} <= set(fetched) and not _is_credentials_file(composed.get("credentials", "")):
            found.append(f"{title(o)}: the AWS SDK reads no keys from the file credentials")
    return found


def _is_credentials_file(text: str) -> bool:
    """Whether a text is an AWS shared credentials file of the keys that stand beside it."""
    lines = ["[default]", 'aws_access_key_id = {{ index . "access-key" }}', 'aws_secret_access_key = {{ index . "secret-key" }}', ""]
    return text.split("\n") == lines
