"""Settings with mistakes, and what the report on each must say: a table for the tests of the reader and of the schema."""

from app.site import Site
from kit.options import Section

BASE = "server_name: example.com\nimages:\n  registry: registry.example.com\n"
"""The shortest site, in three lines: what a test adds begins in line 4."""

EVERYTHING = ", ".join(option.name for option in Section(Site).options)
HOST = "give the bare host name, e.g."
REGISTRY = "give a registry host with an optional path, without a scheme, e.g."
SERVER = "give the bare Matrix server name, the part of user ids after the colon, e.g."
SIZE = "give a size with its binary unit Ki, Mi, Gi or Ti, e.g."
CRON = "give six fields: second, minute, hour, day of month, month, day of week, e.g."
NETWORK = "give a network in CIDR notation, e.g."
MISTAKES = {
    "an unknown key names its neighbour": (
        BASE + "storage_clas: fast\n",
        ['4:1: unknown key "storage_clas"; did you mean "storage_classes"?'],
    ),
    "an unknown key in a section": (
        BASE + "hosts:\n  Matrix: a.example.com\n",
        ['5:3: hosts: unknown key "Matrix"; did you mean "matrix"?'],
    ),
    "a key of another section": (
        BASE + "endpoint: https://s3.example.com\n",
        ['4:1: unknown key "endpoint"; did you mean "object_storage.external.endpoint" or "backups.object_storage.external.endpoint"?'],
    ),
    "a key like no other": (
        BASE + "namespaces: {zzz: 1}\n",
        ['4:14: namespaces: unknown key "zzz"; known here: main, li, rtc, monitoring, backups'],
    ),
    "calls of nodes that nobody has named": (
        BASE + "features: {calls: true}\n",
        [
            "4:19: features.calls: true needs cluster.node_cidrs, which is missing; "
            "list them, each a network in CIDR notation, e.g. node_cidrs: [10.0.0.0/8]"
        ],
    ),
    "calls in a cluster whose nodes nobody has named": (
        BASE + "cluster: {multi_zone: true}\nfeatures: {calls: true}\n",
        [
            "5:19: features.calls: true needs cluster.node_cidrs, which cluster (line 4) lacks; "
            "list them, each a network in CIDR notation, e.g. node_cidrs: [10.0.0.0/8]"
        ],
    ),
    "numbers that are none, or too large": (
        BASE
        + "homeserver:\n  rate_limits:\n    logins_per_minute: '5'\n    messages: {per_second: -1, burst: 1.5}\n    joins: {per_second: 2000}\n",
        [
            '6:24: homeserver.rate_limits.logins_per_minute: "5" is not a number; write it without quotes; give a number of times a minute, e.g. 600',
            "7:28: homeserver.rate_limits.messages.per_second: -1 is not a number of times a second; give a number of times a second, e.g. 0.5",
            "7:39: homeserver.rate_limits.messages.burst: 1.5 is not a number of times; give a number of times, e.g. 10",
            "8:5: homeserver.rate_limits.joins.burst: is missing; give a number of times, e.g. burst: 10",
            "8:25: homeserver.rate_limits.joins.per_second: 2000 is not between 0 and 1000; give a number of times a second, e.g. 0.5",
        ],
    ),
    "another program's options, which are no mapping": (
        BASE + "homeserver: {extra: [a]}\n",
        ["4:21: homeserver.extra: a list is not a mapping; write options of Synapse below it, e.g. max_avatar_size: 10M"],
    ),
    "secrets among another program's options": (
        BASE + "homeserver:\n  extra:\n    email: {smtp_pass: hunter2, smtp_host: mail}\n    password_hash_rounds: 12\n",
        [
            "6:24: homeserver.extra.email.smtp_pass: the value (not shown) may be a secret, which must not be in this file; "
            "write `homeserver: {extra_secret: true}`, and put it into that Secret"
        ],
    ),
    "a mistake within a named entry": (
        BASE
        + "login:\n  providers:\n    Corp: {issuer: 'https://id.example.com', client_id: a}\n    b: {issuer: 'http://id.example.com', clientid: a}\n",
        [
            '6:5: login.providers: "Corp" is not a name, e.g. corporate',
            '7:5: login.providers["b"].client_id: is missing; give one line of text, e.g. client_id: Element',
            '7:17: login.providers["b"].issuer: "http://id.example.com" is not https; '
            "give an https URL, e.g. https://acme-v02.api.letsencrypt.org/directory",
            '7:42: login.providers["b"]: unknown key "clientid"; did you mean "client_id"?',
        ],
    ),
    "ports that are no range": (
        BASE + "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {media_ports: 6000-5000, relay_ports: 60000-70000}\n",
        [
            '6:22: calls.media_ports: "6000-5000" ends before it begins; write the smaller port first',
            '6:46: calls.relay_ports: "60000-70000" has ports below 1024 or above 65535',
        ],
    ),
    "addresses that are none": (
        BASE + "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {public_addresses: {10.0.0: 1.2.3.4.5}}\n",
        [
            '6:28: calls.public_addresses: "10.0.0" is no IP address',
            '6:36: calls.public_addresses["10.0.0"]: "1.2.3.4.5" is no IP address',
        ],
    ),
    "a key given twice": (
        BASE + "tls: {source: acme, source: existing}\nserver_name: other.example.com\n",
        [
            '4:21: tls: the key "source" is given twice, first in line 4; remove one',
            '5:1: the key "server_name" is given twice, first in line 1; remove one',
        ],
    ),
    "keys that are no text": (
        BASE + "1: 2\n? [a]\n: 3\n",
        ["4:1: 1 is no key; a key is plain text", "5:3: a list is no key; a key is plain text"],
    ),
    "a merge of no mapping": (BASE + "tls: {<<: 3}\n", ["4:11: tls: 3 cannot be merged; << takes a mapping or a list of mappings"]),
    "what must be given, at the beginning": (
        "features: {}\n",
        [
            f"1:1: images.registry: is missing; {REGISTRY} registry: registry.example.com/matrix",
            f"1:1: server_name: is missing; {SERVER} server_name: example.com",
        ],
    ),
    "what must be given, at its parent": (
        "server_name:\nimages: {mirror: m.example.com}\nobject_storage:\n  backend: external\n  external: {region: eu-1}\n",
        [
            f"1:1: server_name: is missing; {SERVER} server_name: example.com",
            f"2:1: images.registry: is missing; {REGISTRY} registry: registry.example.com/matrix",
            "5:3: object_storage.external.endpoint: is missing; "
            "give the http(s) URL of a server, without a path, e.g. endpoint: https://s3.example.com",
        ],
    ),
    "a section that is none": (
        BASE + "namespaces: [a]\ntls: acme\n",
        [
            "4:13: namespaces: a list, where a mapping is needed; put its options below it, each on its line: main, li, rtc, monitoring, backups",
            '5:6: tls: "acme", where a mapping is needed; put its options below it, each on its line: '
            "source, acme, cluster_issuer, cert_manager_namespace, secret_names",
        ],
    ),
    "texts that are none": (
        BASE + "hosts:\n  matrix: {a: b}\n  rtc: [a]\n",
        [
            f"5:11: hosts.matrix: a mapping, where one value is needed; {HOST} matrix.example.com",
            f"6:8: hosts.rtc: a list, where one value is needed; {HOST} matrix.example.com",
        ],
    ),
    "numbers where texts are meant": (
        BASE + "hosts:\n  matrix: 8448\n  rtc: 1e3\nsecrets: {provider: external, store: {name: 2024}}\n",
        [
            f"5:11: hosts.matrix: 8448 is a number; {HOST} matrix.example.com",
            f"6:8: hosts.rtc: 1e3 is a number; {HOST} matrix.example.com",
            "7:45: secrets.store.name: 2024 is a number in YAML, where text is needed; put it in quotes",
        ],
    ),
    "booleans": (
        BASE + 'features:\n  li: yes\n  push: Off\n  calls: "true"\n  monitoring: 1\n  antivirus: [true]\n  federation: maybe\n',
        [
            '5:7: features.li: "yes" is text in YAML 1.2, not a boolean; write true',
            '6:9: features.push: "Off" is text in YAML 1.2, not a boolean; write false',
            '7:10: features.calls: "true" is text in YAML 1.2, not a boolean; write true without quotes',
            "8:15: features.monitoring: 1 is not a boolean; write true or false",
            "9:14: features.antivirus: a list is not a boolean; write true or false",
            '10:15: features.federation: "maybe" is text in YAML 1.2, not a boolean; write true or false',
        ],
    ),
    "the booleans of YAML 1.1": (
        f"%YAML 1.1\n---\n{BASE}features: {{li: yes}}\n",
        ["6:16: features.li: yes is text in YAML 1.2, not a boolean; write true"],
    ),
    "choices": (
        BASE + "tls: {source: Acme}\ningress: {type: nginx}\nsecrets: {provider: [manual]}\n",
        [
            '4:15: tls.source: "Acme" is not allowed; give one of acme, cluster-issuer, internal-ca, existing; did you mean "acme"?',
            '5:17: ingress.type: "nginx" is not allowed; give one of ingress, gateway',
            "6:21: secrets.provider: a list is not allowed; give one of generate, external, manual",
        ],
    ),
    "lists": (
        BASE + "cluster:\n  node_cidrs: 10.0.0.0/8\n  pod_cidrs: {a: b}\n  service_cidrs: [10.0.0.0/8, 3, ~, [x]]\n",
        [
            '5:15: cluster.node_cidrs: "10.0.0.0/8" is not a list; write it in brackets, e.g. [10.0.0.0/8]',
            "6:14: cluster.pod_cidrs: a mapping is not a list; write it in brackets, e.g. [10.0.0.0/8]",
            f"7:31: cluster.service_cidrs[1]: 3 is a number; {NETWORK} 10.0.0.0/8",
            "7:34: cluster.service_cidrs[2]: is empty; give a value, or remove it",
            f"7:37: cluster.service_cidrs[3]: a list, where one value is needed; {NETWORK} 10.0.0.0/8",
        ],
    ),
    "networks": (
        BASE + "cluster:\n  node_cidrs: [10.1.2.3/8, 10.0.0.1, 10.0.0.0/33, fd00::1/8, fd00::1]\n",
        [
            '5:16: cluster.node_cidrs[0]: "10.1.2.3/8" has bits set beyond its prefix; write 10.0.0.0/8',
            f'5:28: cluster.node_cidrs[1]: "10.0.0.1" has no prefix length; {NETWORK} 10.0.0.1/32',
            '5:38: cluster.node_cidrs[2]: "10.0.0.0/33" is not a network; give an address and a prefix length, e.g. 10.0.0.0/8 or fd00::/8',
            '5:51: cluster.node_cidrs[3]: "fd00::1/8" has bits set beyond its prefix; write fd00::/8',
            f'5:62: cluster.node_cidrs[4]: "fd00::1" has no prefix length; {NETWORK} fd00::1/128',
        ],
    ),
    "annotations": (
        BASE + 'ingress:\n  annotations:\n    timeout: 300\n    on: yes\n    off: true\n    none:\n    a/b/c: x\n    half: "\\ud800"\n',
        [
            '6:14: ingress.annotations["timeout"]: 300 is a number in YAML, where text is needed; put it in quotes',
            '8:10: ingress.annotations["off"]: true is a boolean in YAML, where text is needed; put it in quotes',
            '9:5: ingress.annotations["none"]: is empty; give a value, or remove it',
            '10:5: ingress.annotations: "a/b/c" is not an annotation name, e.g. example.com/name',
            '11:11: ingress.annotations["half"]: "\\ud800" has half a surrogate pair; write the character itself',
        ],
    ),
    "annotations that are none": (
        BASE + "ingress: {annotations: [a]}\n",
        ["4:24: ingress.annotations: a list is not a mapping; write each entry on its line below, e.g. example.com/name: value"],
    ),
    "tags": (
        BASE + "tls: !x {}\nhosts: {rtc: !y z.example.com}\n",
        [
            "4:6: tls: a mapping has a tag (!name) that means nothing here; remove the tag",
            '5:14: hosts.rtc: "z.example.com" has a tag (!name) that means nothing here; remove the tag',
        ],
    ),
    "host names": (
        BASE
        + """hosts:
  matrix: https://matrix.example.com
  element: element.example.com/app
  admin: admin.example.com:8443
  rtc: RTC.example.com
  turn: 192.0.2.1
  matrix_li: '*.example.com'
  element_li: element_li.example.com
  admin_li: ''
""",
        [
            f'5:11: hosts.matrix: "https://matrix.example.com" is a URL; {HOST} matrix.example.com',
            f'6:12: hosts.element: "element.example.com/app" has a path; {HOST} element.example.com',
            f'7:10: hosts.admin: "admin.example.com:8443" has a port; {HOST} admin.example.com',
            f'8:8: hosts.rtc: "RTC.example.com" has upper-case letters; {HOST} rtc.example.com',
            f'9:9: hosts.turn: "192.0.2.1" is an IP address; {HOST} matrix.example.com',
            f'10:14: hosts.matrix_li: "*.example.com" is a wildcard; {HOST} example.com',
            f'11:15: hosts.element_li: "element_li.example.com" has an underscore; {HOST} element-li.example.com',
            f'12:13: hosts.admin_li: "" is empty; {HOST} matrix.example.com',
        ],
    ),
    "more host names": (
        BASE + f'hosts:\n  matrix: matrix.example.com.\n  rtc: -x.example.com\n  turn: {"a" * 300}\n  admin: "a\\nb"\n',
        [
            f'5:11: hosts.matrix: "matrix.example.com." ends in a dot; {HOST} matrix.example.com',
            f'6:8: hosts.rtc: "-x.example.com" is not allowed; {HOST} matrix.example.com',
            f'7:9: hosts.turn: "{"a" * 80}…" has 300 characters, of which at most 253 are allowed; {HOST} matrix.example.com',
            f'8:10: hosts.admin: "a\\nb" is not allowed; {HOST} matrix.example.com',
        ],
    ),
    "server names": (
        "server_name: '@alice:example.com'\nimages: {registry: r.example.com}\n"
        "features: {federation: true}\nfederation: {allowed_domains: [example.com:99999, 'https://example.org:8448/']}\n",
        [
            f'1:14: server_name: "@alice:example.com" is a user id; {SERVER} example.com',
            '4:32: federation.allowed_domains[0]: "example.com:99999" has the port 99999; ports end at 65535',
            f'4:51: federation.allowed_domains[1]: "https://example.org:8448/" is a URL; {SERVER} example.org',
        ],
    ),
    "registries and images": (
        "server_name: example.com\nimages: {registry: 'https://r.example.com/x/', mirror: 'm.example.com/y:latest'}\n"
        "object_storage: {minio: {image: quay.io/minio/minio}}\n",
        [
            f'2:20: images.registry: "https://r.example.com/x/" is a URL; {REGISTRY} r.example.com/x',
            f'2:56: images.mirror: "m.example.com/y:latest" has a tag; {REGISTRY} registry.example.com/matrix',
            '3:33: object_storage.minio.image: "quay.io/minio/minio" has neither tag nor digest; '
            "give an image with its tag or digest, e.g. registry.example.com/minio:RELEASE.2025-09-07T16-13-09Z",
        ],
    ),
    "a moving tag": (
        BASE + "object_storage: {minio: {image: 'quay.io/minio/minio:latest'}}\n",
        [
            '4:33: object_storage.minio.image: "quay.io/minio/minio:latest" has the tag "latest", which changes without notice; '
            "give a version"
        ],
    ),
    "sizes": (
        BASE + "media: {max_upload_size: 100}\nstorage_sizes: {database: 50GB, write_ahead_log: 1.5Gi, object_storage_drive: 0Gi}\n",
        [
            f"4:26: media.max_upload_size: 100 has no unit; {SIZE} 100Mi",
            f'5:27: storage_sizes.database: "50GB" has another unit; {SIZE} 50Gi',
            f'5:50: storage_sizes.write_ahead_log: "1.5Gi" is not a whole number; {SIZE} 100Gi',
            f'5:79: storage_sizes.object_storage_drive: "0Gi" is nothing; {SIZE} 100Gi',
        ],
    ),
    "a cron schedule of five fields": (
        BASE + "backups:\n  schedule: 30 2 * * *\n",
        [
            '5:13: backups.schedule: "30 2 * * *" has five fields; the first field here is seconds, so that all five would be misread; '
            f"{CRON} 0 30 2 * * *"
        ],
    ),
    "an impossible minute": (
        BASE + "backups: {schedule: 0 61 2 * * *}\n",
        [f'4:21: backups.schedule: "0 61 2 * * *" is not allowed; {CRON} 0 0 2 * * *'],
    ),
    "a range that ends before it begins": (
        BASE + "backups: {schedule: 0 0 2 * * FRI-MON}\n",
        ['4:21: backups.schedule: "0 0 2 * * FRI-MON" has the range FRI-MON, which ends before it begins; write the smaller end first'],
    ),
    "ages": (
        BASE + "backups: {retention: 30}\nmedia: {local_lifetime: 30m}\n",
        [
            "4:22: backups.retention: 30 is a number; give a number of days, weeks or months, e.g. 30d",
            '5:25: media.local_lifetime: "30m" is not allowed; give a number of days, weeks or years, e.g. 90d',
        ],
    ),
    "URLs": (
        BASE + "object_storage:\n  backend: external\n  external: {endpoint: s3.example.com/bucket}\n"
        "tls: {acme: {server: 'http://ca.example.com', email: nobody}}\n",
        [
            '6:24: object_storage.external.endpoint: "s3.example.com/bucket" is not allowed; '
            "give the http(s) URL of a server, without a path, e.g. https://s3.example.com",
            '7:22: tls.acme.server: "http://ca.example.com" is not https; '
            "give an https URL, e.g. https://acme-v02.api.letsencrypt.org/directory",
            '7:54: tls.acme.email: "nobody" is not allowed; give an e-mail address, e.g. ops@example.com',
        ],
    ),
    "people and apps": (
        BASE + "well_known: {support: {admin: {matrix_id: admin@example.com}}}\nfeatures: {push: true}\n"
        "push: {apns: {key_id: abcde12345, team_id: x}, fcm_apps: {a b: example-app, c: Example App}}\n",
        [
            '4:43: well_known.support.admin.matrix_id: "admin@example.com" is an e-mail address; give a Matrix user id, e.g. @admin:example.com',
            "5:18: features.push: true needs cluster.service_cidrs, which is missing; "
            "list them, each a network in CIDR notation, e.g. service_cidrs: [10.0.0.0/8]",
            '6:23: push.apns.key_id: "abcde12345" is not allowed; give an id of ten capital letters and digits, e.g. ABCDE12345',
            '6:44: push.apns.team_id: "x" is not allowed; give an id of ten capital letters and digits, e.g. ABCDE12345',
            '6:59: push.fcm_apps: "a b" is not an app id, e.g. com.example.app.ios',
            '6:80: push.fcm_apps["c"]: "Example App" is not allowed; give the id of a Firebase project, e.g. example-app',
        ],
    ),
    "choices that need another option": (
        BASE
        + "object_storage:\n  backend: external\nsecrets:\n  provider: external\n"
        + "tls:\n  source: cluster-issuer\ningress:\n  type: gateway\n",
        [
            "5:12: object_storage.backend: external needs object_storage.external, which object_storage (line 4) lacks; "
            "add external: with at least endpoint below it",
            "7:13: secrets.provider: external needs secrets.store, which secrets (line 6) lacks; add store: with at least name below it",
            "9:11: tls.source: cluster-issuer needs tls.cluster_issuer, which tls (line 8) lacks; "
            "give the name of a Kubernetes object, e.g. cluster_issuer: my-name",
            "11:9: ingress.type: gateway needs ingress.gateway, which ingress (line 10) lacks; "
            "add gateway: with at least name, namespace below it",
        ],
    ),
    "options without effect": (
        BASE + "object_storage:\n  external:\n    endpoint: https://s3.example.com\nfederation: {}\nfeatures:\n  federation: false\n",
        [
            "5:3: object_storage.external: has no effect with object_storage.backend: minio (the default); "
            "remove it, or write object_storage.backend: external",
            "7:1: federation: has no effect with features.federation: false (line 9); remove it, or write features.federation: true",
        ],
    ),
    "values that must differ": (
        BASE + "hosts:\n  element: matrix.example.com\n  rtc: a.example.com\n  turn: a.example.com\nnamespaces: {li: matrix}\n",
        [
            '5:12: hosts.element: "matrix.example.com" is also hosts.matrix (its default); they must differ',
            '7:9: hosts.turn: "a.example.com" is also hosts.rtc (line 6); they must differ',
            '8:18: namespaces.li: "matrix" is also namespaces.main (its default); they must differ',
        ],
    ),
    "secrets are not repeated": (
        BASE + "password: hunter2\nobject_storage:\n  backend: external\n  external:\n    endpoint: https://key:hunter2@s3.example.com\n"
        '    ca_secret: "hunter 2"\n    region: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n'
        'tls: {cluster_issuer: "-----BEGIN PRIVATE KEY-----"}\n',
        [
            f'4:1: unknown key "password"; known here: {EVERYTHING}',
            "8:15: object_storage.external.endpoint: the value (not shown) holds a user name; "
            "give the http(s) URL of a server, without a path, e.g. https://s3.example.com",
            "9:16: object_storage.external.ca_secret: the value (not shown) is not allowed; "
            "give the name of a Kubernetes object, e.g. my-name",
            "10:13: object_storage.external.region: the value (not shown) is not allowed; give a region name, e.g. us-east-1",
            "11:7: tls.cluster_issuer: has no effect with tls.source: acme (the default); remove it, or write tls.source: cluster-issuer",
            "11:23: tls.cluster_issuer: the value (not shown) is not allowed; give the name of a Kubernetes object, e.g. my-name",
        ],
    ),
}
