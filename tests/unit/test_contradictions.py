"""What a site cannot mean is refused at its place, though each value is well formed; and what it asks for in vain is a warning."""

from pathlib import Path

import pytest

from app.settings import SettingsError, located, parse_site, read_site, warnings
from kit.options import OptionError

BASE = "server_name: example.com\nimages: {registry: registry.example.com}\n"

CONTRADICTIONS = [
    ("namespaces: {main: kube-system}", '3:20: namespaces.main: "kube-system" is Kubernetes\''),
    ("namespaces: {main: default}", '3:20: namespaces.main: "default" is Kubernetes\''),
    ("namespaces: {rtc: traefik}", '3:19: namespaces.rtc: "traefik" is traefik\'s'),
    ("namespaces: {li: cnpg-system}", '3:18: namespaces.li: "cnpg-system" is barman-cloud-plugin\'s'),
    (
        "features: {monitoring: true}\nnamespaces: {monitoring: watch}\nmonitoring: {mode: operator, operator: {namespace: watch}}",
        '4:26: namespaces.monitoring: "watch" is that of monitoring.operator.namespace',
    ),
    (
        "features: {monitoring: true}\nmonitoring: {mode: operator, keda: {}}",
        "4:36: monitoring.keda: KEDA asks your own Prometheus here; give monitoring.operator.url",
    ),
    (
        "features: {monitoring: true}\nnamespaces: {monitoring: scaling}\nmonitoring: {keda: {namespace: scaling}}",
        '4:26: namespaces.monitoring: "scaling" is that of monitoring.keda.namespace',
    ),
    ("namespaces: {main: dns}\ncluster: {dns: {namespace: dns}}", '3:20: namespaces.main: "dns" is that of cluster.dns.namespace'),
    (
        "namespaces: {main: edge}\ningress: {type: gateway, gateway: {name: a, namespace: edge}}",
        '3:20: namespaces.main: "edge" is that of ingress.gateway.namespace',
    ),
    (
        "features: {push: true}\ncluster: {service_cidrs: [10.43.0.0/16]}",
        "3:18: features.push: true, and there is no app to push to; name yours in push.fcm_apps or push.apns",
    ),
    ("cluster: {service_cidrs: [0.0.0.0/0]}", "3:26: cluster.service_cidrs: 0.0.0.0/0 is every address there is"),
    ("cluster: {api_server_cidrs: ['::/0']}", "3:29: cluster.api_server_cidrs: ::/0 is every address there is"),
    (
        "cluster: {pod_cidrs: [10.42.0.0/16], service_cidrs: [10.42.0.0/16]}",
        "3:53: cluster.service_cidrs: 10.42.0.0/16 and 10.42.0.0/16 of cluster.pod_cidrs overlap",
    ),
    (
        "backups: {generation: 2, restore: {generation: 2}}",
        "3:23: backups.generation: 2 is not after backups.restore.generation, 2: a restored database archives in a place of its own; give 3",
    ),
    (
        "backups: {restore: {generation: 1}}",
        "3:10: backups.generation: 1 is not after backups.restore.generation, 1",
    ),
    (
        "backups: {generation: 2, restore: {generation: 1, time: '2026-02-30T12:00:00Z'}}",
        '3:57: backups.restore.time: "2026-02-30T12:00:00Z" is no time that exists',
    ),
    (
        "backups: {schedule: 0 0 2 30 2 *}",
        '3:21: backups.schedule: "0 0 2 30 2 *" names a day that never comes; give a day that every year has',
    ),
    (
        "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}\n"
        "backups: {object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}}",
        "4:68: backups.object_storage.external.endpoint: https://s3.example.com has media too, whose fate backups are not to share",
    ),
    (
        "object_storage: {backend: external, external: {endpoint: 'http://s3.storage.svc:80'}}",
        "3:58: object_storage.external.endpoint: s3.storage.svc is a Service of this cluster, and policies know it by its pods alone; name them",
    ),
    (
        "backups: {object_storage: {backend: external, external: {endpoint: 'http://s3.storage.svc.cluster.local'}}}",
        "3:68: backups.object_storage.external.endpoint: s3.storage.svc.cluster.local is a Service of this cluster",
    ),
    (
        "object_storage: {backend: external, external: {endpoint: 'http://s3.b.svc', pods: {namespace: matrix, labels: {a: b}}}}",
        "3:95: object_storage.external.pods.namespace: matrix is the platform's own, which is closed",
    ),
    ("storage_sizes: {database: 1Ki}", "3:27: storage_sizes.database: 1Ki is no size of such a volume; give 1Gi to 64Ti"),
    ("storage_sizes: {write_ahead_log: 900Ti}", "3:34: storage_sizes.write_ahead_log: 900Ti is no size"),
    ("storage_sizes: {pools: {main: [{servers: 4, drive: 1Ki}]}}", "3:31: storage_sizes.pools.main: 1Ki is no size of such a volume"),
    (
        "storage_sizes: {pools: {main: [{servers: 5, drives: 1, drive: 5Gi}]}}",
        "3:31: storage_sizes.pools.main: 5 servers with 1 drives make erasure sets of 5, and with EC:4 MinIO does not start with fewer than 8",
    ),
    ("media: {max_upload_size: 2000Ti}", "3:26: media.max_upload_size: 2000Ti in one request"),
    (
        "features: {antivirus: true}\nmedia: {max_upload_size: 600Mi}",
        "4:26: media.max_upload_size: 600Mi is more than clamd scans with what it unpacks; give at most 511Mi",
    ),
    (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {public_addresses: {10.9.0.1: 192.0.2.1}}",
        "5:27: calls.public_addresses: 10.9.0.1 is no address of a node",
    ),
    (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {media_ports: 40000-41000, load_balancer: {}}",
        "5:22: calls.media_ports: has no effect with calls.load_balancer",
    ),
    (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {load_balancer: {livekit: {coturn-0: 192.0.2.1}}}",
        "5:34: calls.load_balancer.livekit: coturn-0 is no pod of LiveKit",
    ),
    (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {load_balancer: {service: node-port, balancer_class: a}}",
        "5:61: calls.load_balancer.balancer_class: is of load balancers that the cluster makes",
    ),
    ("federation: {internet: false}\nfeatures: {federation: true}", "3:24: federation.internet: no other server can be called then"),
    (
        "federation: {networks: [0.0.0.0/0]}\nfeatures: {federation: true}",
        "3:24: federation.networks: 0.0.0.0/0 is every address there is, those of the cluster among them",
    ),
    (
        "federation: {networks: [10.0.0.0/8]}\nfeatures: {federation: true}\ncluster: {pod_cidrs: [10.42.0.0/16]}",
        "3:24: federation.networks: 10.0.0.0/8 has addresses of the cluster itself: 10.42.0.0/16 of cluster.pod_cidrs",
    ),
    (
        "federation: {key_servers: [a.example.org], allowed_domains: [b.example.org]}\nfeatures: {federation: true}",
        '3:27: federation.key_servers: "a.example.org" is none of federation.allowed_domains',
    ),
    (
        "federation: {key_servers: [example.com]}\nfeatures: {federation: true}",
        '3:27: federation.key_servers: "example.com" is this server',
    ),
    (
        "federation: {ca_secret: partners}\nfeatures: {federation: true}",
        "3:14: federation.ca_secret: has no effect with federation.internet: true (the default)",
    ),
    ("push: {gateways: networks, gateway_networks: ['::/0']}", "3:46: push.gateway_networks: ::/0 is every address there is"),
    ("push: {gateways: networks}", "3:18: push.gateways: networks needs push.gateway_networks, which push (line 3) lacks"),
    ("push: {gateway_networks: [192.0.2.0/24]}", "3:8: push.gateway_networks: has no effect with push.gateways: none (the default)"),
    ("push: {fcm_apps: {a: example-app}}", "3:8: push.fcm_apps: has no effect with features.push: false (the default)"),
    (
        "mail: {server: smtp.example.com, sender: a@example.com, networks: [10.0.0.0/8]}\ncluster: {service_cidrs: [10.43.0.0/16]}",
        "3:67: mail.networks: 10.0.0.0/8 has addresses of the cluster itself: 10.43.0.0/16 of cluster.service_cidrs",
    ),
    (
        "mail: {server: 'smtp://smtp.example.com', sender: a@example.com}",
        '3:16: mail.server: "smtp://smtp.example.com" is a URL; give the host name of a mail server',
    ),
    ("mail: {server: smtp.example.com, sender: Matrix}", '3:42: mail.sender: "Matrix" has no address; give an e-mail address'),
    ("mail: {server: smtp.example.com}", "3:1: mail.sender: is missing; give an e-mail address"),
    (
        "features: {li: true}\nli: {country_code: DE, owner: a, officers: {a@b.example: A (investigator), c@b.example: C (approver)}}\n"
        "postgresql: {backend: external, external: {host: db.example.com, ca_secret: a, cidrs: [192.0.2.0/24]}}",
        "5:23: postgresql.backend: external, and features.li follows the platform's own PostgreSQL",
    ),
    ("postgresql: {backend: external}", "3:23: postgresql.backend: external needs postgresql.external, which postgresql (line 3) lacks"),
    (
        "postgresql: {backend: external, external: {host: db.example.com, ca_secret: a, cidrs: []}}",
        "3:87: postgresql.external.cidrs: is empty; list them",
    ),
    (
        "cluster: {pod_cidrs: [10.42.0.0/16]}\n"
        "postgresql: {backend: external, external: {host: db.example.com, ca_secret: a, cidrs: [10.42.0.0/24]}}",
        "4:87: postgresql.external.cidrs: 10.42.0.0/24 has addresses of the cluster itself",
    ),
    (
        "postgresql: {backend: external, external: {host: db.example.com, ca_secret: a, cidrs: [192.0.2.0/24]}}\nbackups: {retention: 8w}",
        "4:1: backups: has no effect with postgresql.backend: external (line 3)",
    ),
    (
        "postgresql: {backend: external, external: {host: 192.0.2.1, ca_secret: a, cidrs: [192.0.2.0/24]}}",
        '3:50: postgresql.external.host: "192.0.2.1" is an IP address',
    ),
    (
        "redis: {backend: external, external: {servers: [redis.example.com], ca_secret: a, cidrs: [192.0.2.0/24]}}",
        '3:49: redis.external.servers[0]: "redis.example.com" has no port',
    ),
    (
        "redis: {backend: external, external: {servers: ['a.example:1', 'b.example:1'], ca_secret: a, cidrs: [192.0.2.0/24]}}",
        "3:48: redis.external.servers: are several, of which none but Sentinels tell which is the primary",
    ),
    (
        "redis: {backend: external, external: {servers: ['a.example:1'], sentinels: ['a.example:2'], ca_secret: a, cidrs: [192.0.2.0/24]}}",
        "3:76: redis.external.sentinels: 1 have no majority that survives a loss; list all, 3 or more",
    ),
    (
        "redis: {backend: external, external: {servers: ['192.0.2.1:6380'], ca_secret: a, cidrs: [192.0.2.0/24]}}",
        "3:38: redis.external.certificate_name: is needed: 192.0.2.1:6380 is an address, and a certificate has names",
    ),
    (
        "tls: {acme: {email: 'mailto:ops@example.com'}}",
        '3:21: tls.acme.email: "mailto:ops@example.com" is a URL; give an e-mail address, e.g. ops@',
    ),
]


@pytest.mark.parametrize(("choice", "message"), CONTRADICTIONS, ids=[message.split(":")[2] for _, message in CONTRADICTIONS])
def test_what_cannot_be_meant_is_refused_at_its_place(choice: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_site(f"{BASE}{choice}\n")
    assert str(error.value).startswith(f"site.yaml:{message}"), str(error.value)
    assert str(error.value).endswith("1 error; nothing was written.")


@pytest.mark.parametrize(
    "choice",
    [
        "namespaces: {main: chat, li: chat-li, rtc: chat-rtc}",
        "cluster: {pod_cidrs: [10.42.0.0/16, fd00:42::/56], service_cidrs: [10.43.0.0/16], node_cidrs: [10.0.0.0/24]}",
        "storage_sizes: {database: 1Gi}\nmedia: {max_upload_size: 10Gi}",
        # Not asked where there are no calls.
        "features: {calls: false}",
    ],
)
def test_what_can_be_meant_is_accepted(choice: str) -> None:
    parse_site(f"{BASE}{choice}\n")


def test_an_error_that_is_found_later_has_the_place_of_its_option(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"{BASE}ingress:\n  class_name: haproxy\n")
    error = located(file, OptionError("ingress.class_name", "cannot"))
    assert str(error) == f"{file}:4:15: ingress.class_name: cannot\n1 error; nothing was written."
    # Of an option that the file does not give, the section; of a section that it does not give, the file.
    assert str(located(file, OptionError("ingress.type", "cannot"))).startswith(f"{file}:4:3: ingress.type: cannot")
    assert str(located(file, OptionError("cluster.node_cidrs", "cannot"))).startswith(f"{file}:1:1: cluster.node_cidrs: cannot")


def test_what_is_switched_on_and_not_deployed_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"{BASE}storage_classes:\n  media_cache: local\n  database: local\n")
    read_site(file)
    (line,) = warnings(file)
    assert line.startswith(f"{file}:4:3: warning: storage_classes.media_cache: Reserved: its component is not deployed")


def test_what_is_off_is_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"{BASE}features: {{monitoring: false}}\n")
    assert warnings(file) == []
