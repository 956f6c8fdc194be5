"""What the values of options look like: names, hosts, networks, images, sizes, schedules."""
# ruff: noqa: RUF009 - what option and required return are attrs fields

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Annotated

from attrs import frozen

from kit.network import PortRange
from kit.options import Entries, Number, Text, option, required
from kit.quantities import Bytes, Cpu, parse_bytes, parse_cpu

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1123, lower case
_HOST = rf"({_LABEL}\.)*[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?"  # the last label starts with a letter: this is no IPv4 address
_PORT = "[1-9][0-9]{0,4}"
_PATH_PART = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"  # of an image name: github.com/distribution/reference
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = rf"{_BYTE}(\.{_BYTE}){{3}}"
_SERVER = rf"({_HOST}|{_ADDRESS})"
_ADDRESS_SPEC = rf"[A-Za-z0-9!#$&'*+/=?^_`{{|}}~.-]+@{_HOST}"  # of e-mail: RFC 5322, 3.2.3, without quoted local parts
_REPOSITORY = rf"{_SERVER}(:{_PORT})?(/{_PATH_PART})*"

_HOST_MISTAKES = {
    "[a-zA-Z][a-zA-Z0-9+.-]*://.*": "is a URL",
    ".*/.*": "has a path",
    r"[0-9]+(\.[0-9]+)+(:[0-9]+)?|.*:.*:.*": "is an IP address",
    ".*:[0-9]*": "has a port",
    r"\*.*": "is a wildcard",
    r".*[^\x00-\x7f].*": "has letters that DNS does not have",
    ".*[A-Z].*": "has upper-case letters",
    ".*_.*": "has an underscore",
    r".*\.": "ends in a dot",
}


def _bare_host(text: str) -> str:
    """The host name that was probably meant: no scheme, port or path, in lower case, and in the form that DNS has for other letters."""
    host = re.split("[/:]", text.strip().lower().rpartition("://")[2])[0].replace("_", "-").strip("*.")
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _lower(text: str) -> str:
    return text.strip().lower().replace("_", "-").replace(" ", "-")


def _network(text: str) -> str:
    """A network in CIDR notation, written as Kubernetes wants it. Raises ValueError when it is none."""
    from ipaddress import ip_network

    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is not a network; give an address and a prefix length, e.g. 10.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"has bits set beyond its prefix; write {network}")


def _address(text: str) -> str:
    """An IP address in its shortest form. Raises ValueError when it is none."""
    from ipaddress import ip_address

    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("is no IP address") from None


def _udp_ports(text: str) -> PortRange:
    """A range of UDP ports that any user may open. Raises ValueError for another."""
    first, last = map(int, text.split("-"))
    if first > last:
        raise ValueError("ends before it begins; write the smaller port first")
    if first < 1024 or last > 65_535:
        raise ValueError("has ports below 1024 or above 65535")
    return PortRange(first, last, "UDP")


_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _schedule(text: str) -> str:
    """A six-field cron schedule whose ranges ascend. Raises ValueError when one does not."""
    number = {name: place for place, name in [*enumerate(_MONTHS.split("|"), 1), *enumerate(_DAYS.split("|"))]}
    for low, high in re.findall("([0-9A-Z]+)-([0-9A-Z]+)", text):
        if int(number.get(low, low)) > int(number.get(high, high)):
            raise ValueError(f"has the range {low}-{high}, which ends before it begins; write the smaller end first")
    return text


def _port_in_range(text: str) -> str:
    """A text that may hold a port. Raises ValueError when that is no TCP port."""
    port = re.search(rf":({_PORT})(/|$)", text)
    if port and int(port[1]) > 65535:
        raise ValueError(f"has the port {port[1]}; ports end at 65535")
    return text


def _encodable(text: str) -> str:
    """A text that UTF-8 can hold. Raises ValueError for one with half a surrogate pair, which YAML escapes can make."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has half a surrogate pair; write the character itself")
    return text


def _pinned(text: str) -> str:
    """An image reference that always means the same image. Raises ValueError for the tag `latest`."""
    if text.endswith(":latest"):
        raise ValueError('has the tag "latest", which changes without notice; give a version')
    return text


def _cron_field(number: str, names: str = "") -> str:
    value = f"({number}{names and '|' + names})"
    item = rf"([*?]|{value}(-{value})?)(/[1-9][0-9]*)?"
    return f"{item}(,{item})*"


# The scheduler of CloudNativePG reads this syntax (github.com/robfig/cron v1). It would also take five fields, and then mean
# seconds, minutes, hours, days and months by them, so that "0 2 * * *" runs every hour: refused here.
_SIX_FIELDS = " ".join(
    [
        _cron_field("[0-5]?[0-9]"),
        _cron_field("[0-5]?[0-9]"),
        _cron_field("[01]?[0-9]|2[0-3]"),
        _cron_field("0?[1-9]|[12][0-9]|3[01]"),
        _cron_field("0?[1-9]|1[0-2]", _MONTHS),
        _cron_field("[0-6]", _DAYS),
    ]
)

ServerName = Annotated[
    str,
    Text(
        "the bare Matrix server name, the part of user ids after the colon",
        rf"{_HOST}(:{_PORT})?",
        "example.com",
        max_length=230,  # leaves room for the local part in a user id (255 bytes) and for `matrix-li.` in a host name (253)
        mistakes={"@.*": "is a user id", **{k: v for k, v in _HOST_MISTAKES.items() if v != "has a port"}},
        mend=_bare_host,
        read=_port_in_range,
    ),
]
HostName = Annotated[str, Text("the bare host name", _HOST, "matrix.example.com", max_length=253, mistakes=_HOST_MISTAKES, mend=_bare_host)]
Server = Annotated[
    str,
    Text(
        "the host name of a server, with its port where that is not the usual one",
        rf"{_HOST}(:{_PORT})?",
        "alerts.example.com",
        max_length=260,
        mistakes={pattern: mistake for pattern, mistake in _HOST_MISTAKES.items() if mistake != "has a port"},
        mend=_bare_host,
        read=_port_in_range,
    ),
]
ServerAddress = Annotated[
    str,
    Text(
        "the host name of a server, or its IPv4 address, with its port",
        rf"{_SERVER}:{_PORT}",
        "redis.example.com:6380",
        max_length=260,
        mistakes={"[a-zA-Z][a-zA-Z0-9+.-]*://.*": "is a URL", "[^:]*": "has no port", ".*[A-Z].*": "has upper-case letters"},
        read=_port_in_range,
    ),
]
Label = Annotated[str, Text("a name of lower-case letters, digits and hyphens, at most 63", _LABEL, "matrix", mend=_lower)]
Name = Annotated[
    str,
    Text("the name of a Kubernetes object", rf"{_LABEL}(\.{_LABEL})*", "my-name", max_length=253, mend=_lower),
]
"""A DNS-1123 subdomain."""
Listeners = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("the bare host name", _HOST, "matrix.example.com", max_length=253, mistakes=_HOST_MISTAKES, mend=_bare_host),
        value=Text("the name of a listener", rf"{_LABEL}(\.{_LABEL})*", "https-matrix", max_length=253, mend=_lower),
    ),
]
"""Host to the listener of a Gateway."""
Cidr = Annotated[
    str,
    Text(
        "a network in CIDR notation",
        "[0-9a-fA-F.:]+/[0-9]{1,3}",
        "10.0.0.0/8",
        max_length=43,
        mistakes={"[0-9a-fA-F]*[.:][0-9a-fA-F.:]*": "has no prefix length"},
        mend=lambda text: f"{text}/{128 if ':' in text else 32}" if re.fullmatch("[^/]*[.:][^/]*", text) else text,
        read=_network,
    ),
]
AddressMap = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("an IP address", "[0-9a-fA-F.:]+", "10.0.0.5", max_length=39, read=_address),
        value=Text("an IP address", "[0-9a-fA-F.:]+", "192.0.2.5", max_length=39, read=_address),
    ),
]
BalancerClass = Annotated[
    str,
    Text(
        "the class of a load balancer",
        rf"({_HOST}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
        "service.k8s.aws/nlb",
        max_length=317,
    ),
]
PodAddresses = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("the name of a pod", _LABEL, "livekit-0", mend=_lower),
        value=Text("an IP address", "[0-9a-fA-F.:]+", "192.0.2.5", max_length=39, read=_address),
    ),
]
UdpPorts = Annotated[PortRange, Text("a range of ports", "[1-9][0-9]{0,4}-[1-9][0-9]{0,4}", "50000-54999", read=_udp_ports)]
Repository = Annotated[
    str,
    Text(
        "a registry host with an optional path, without a scheme",
        _REPOSITORY,
        "registry.example.com/matrix",
        max_length=200,
        mistakes={
            "[a-zA-Z]+://.*": "is a URL",
            ".*/": "ends in a slash",
            ".*[A-Z].*": "has upper-case letters",
            ".*[:@][^/]*": "has a tag",
        },
        mend=lambda text: text.strip().lower().rpartition("://")[2].rstrip("/"),
        read=_port_in_range,
    ),
]
Image = Annotated[
    str,
    Text(
        "an image with its tag or digest",
        rf"{_REPOSITORY}(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}|(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?@sha256:[0-9a-f]{{64}})",
        "registry.example.com/minio:RELEASE.2025-09-07T16-13-09Z",
        max_length=500,
        mistakes={"[a-zA-Z]+://.*": "is a URL", "[^:@]*|.*:[0-9]+/[^:@]*": "has neither tag nor digest"},
        read=_pinned,
    ),
]
Url = Annotated[
    str,
    Text(
        "the http(s) URL of a server, without a path",
        rf"https?://{_SERVER}(:{_PORT})?",
        "https://s3.example.com",
        max_length=300,
        mistakes={"[^/]*": "has no https://", "https?://[^/]*@.*": "holds a user name", "https?://[^/]*/.*": "has a path"},
        mend=lambda text: f"https://{text}" if "://" not in text else "/".join(text.split("/")[:3]),
        read=_port_in_range,
    ),
]
HttpsUrl = Annotated[
    str,
    Text(
        "an https URL",
        rf"https://{_HOST}(:{_PORT})?(/[!-~]*)?",
        "https://acme-v02.api.letsencrypt.org/directory",
        max_length=500,
        mistakes={"http://.*": "is not https"},
        read=_port_in_range,
    ),
]
LdapUrl = Annotated[
    str,
    Text(
        "the URL of an LDAP server",
        rf"ldaps?://{_SERVER}(:{_PORT})?",
        "ldaps://ldap.example.com",
        max_length=300,
        mistakes={"[^/]*": "has no ldaps://", "ldaps?://[^/]*/.*": "has a path", "https?://.*": "is the URL of a website"},
        mend=lambda text: f"ldaps://{text}" if "://" not in text else "/".join(text.split("/")[:3]),
        read=_port_in_range,
    ),
]
Line = Annotated[
    str,
    Text(
        "one line of text",
        r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\x00-\x20\x7f-\xa0\u2028\u2029]",
        "Element",
        max_length=100,
        read=_encodable,
    ),
]
UserId = Annotated[
    str,
    Text(
        "a Matrix user id",
        rf"@[!-9;-~]+:{_HOST}(:{_PORT})?",
        "@admin:example.com",
        max_length=255,
        mistakes={"[^@]+@[^@]+": "is an e-mail address"},
        mend=lambda text: re.sub("^([^@]+)@([^@]+)$", r"@\1:\2", text.strip().lower()),
        read=_port_in_range,
    ),
]
RoomAlias = Annotated[
    str,
    Text(
        "the alias of a room",
        rf"#[!-9;-~]+:{_HOST}(:{_PORT})?",
        "#hall:example.com",
        max_length=255,
        mistakes={"![^:]+(:.*)?": "is the id of a room"},
        mend=lambda text: text if text.startswith("#") else f"#{text}",
        read=_port_in_range,
    ),
]
Email = Annotated[
    str,
    Text(
        "an e-mail address",
        # RFC 5322, 3.2.3, without quoted local parts.
        rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]+@{_HOST}",
        "ops@example.com",
        max_length=254,
        mistakes={"mailto:.*": "is a URL"},
        mend=lambda text: text.strip().removeprefix("mailto:"),
    ),
]


MailServer = Annotated[
    str,
    Text(
        "the host name of a mail server, with its port where that is not the usual one",
        rf"{_HOST}(:{_PORT})?",
        "smtp.example.com",
        max_length=260,
        mistakes={k: v for k, v in _HOST_MISTAKES.items() if v != "has a port"},
        mend=_bare_host,
        read=_port_in_range,
    ),
]
Mailbox = Annotated[
    str,
    Text(
        "an e-mail address, with a name before it or without",
        # Synapse would replace what follows a percent sign.
        rf"{_ADDRESS_SPEC}|[^<>@%,;:\x22\x5c\x00-\x1f\x7f-\x9f\u2028\u2029]+ <{_ADDRESS_SPEC}>",
        "Matrix <noreply@example.com>",
        max_length=300,
        mistakes={"mailto:.*": "is a URL", "[^@]*": "has no address"},
        mend=lambda text: text.strip().removeprefix("mailto:"),
        read=_encodable,
    ),
]
Delay = Annotated[str, Text("a number of seconds, minutes or hours", "[1-9][0-9]{0,4}[smh]", "10m")]


@frozen
class Interval:
    """A time between two runs of something, as it is written in site.yaml."""

    text: str

    @property
    def seconds(self) -> int:
        """How long it is."""
        return int(self.text[:-1]) * {"s": 1, "m": 60, "h": 3600}[self.text[-1]]

    def __str__(self) -> str:
        return self.text


Every = Annotated[
    Interval,
    Text("up to 999 seconds or minutes, or up to 24 hours", "[1-9][0-9]{0,2}[sm]|([1-9]|1[0-9]|2[0-4])h", "10m", read=Interval),
]
TimeOfDay = Annotated[str, Text("a time of day in UTC, or never", "([01][0-9]|2[0-3]):[0-5][0-9]|never", "03:30")]


@frozen
class OldSigningKey:
    """A key that the homeserver signed with: its public half in base64, and when it ended, in milliseconds since 1970."""

    public: str
    ended_ms: int

    def __str__(self) -> str:
        """As it is written in site.yaml."""
        return f"{self.public} until {datetime.fromtimestamp(self.ended_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _old_signing_key(text: str) -> OldSigningKey:
    """`KEY until TIME`. Raises ValueError for a key of another length, and for a time that does not exist."""
    public, _, time = text.partition(" until ")
    try:
        length = len(b64decode(public + "=", validate=True))
    except ValueError:
        length = 0
    if length != 32:
        raise ValueError("has no public key of ed25519, which is 32 bytes in base64; /_matrix/key/v2/server shows it")
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise ValueError(f"has a time that does not exist: {error}") from None
    return OldSigningKey(public, int(moment.timestamp()) * 1000)


OldSigningKeys = Annotated[
    tuple[tuple[str, OldSigningKey], ...],
    Entries(
        key=Text("the id of a signing key", "ed25519:[A-Za-z0-9_]+", "ed25519:a_AbCd"),
        value=Text(
            "the public key and the time of its end in UTC",
            "[A-Za-z0-9+/]{43} until [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
            "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw until 2026-01-31T12:00:00Z",
            mistakes={".*[a-zA-Z0-9+/]{43}=.*": "has a key with padding"},
            read=_old_signing_key,
        ),
    ),
]


@frozen
class OfficerRoles:
    """Somebody's name, and what they may do in a case."""

    name: str
    roles: tuple[str, ...]

    def __str__(self) -> str:
        """As it is written in site.yaml."""
        return f"{self.name} ({', '.join(self.roles)})"


def _officer(text: str) -> OfficerRoles:
    name, _, roles = text.removesuffix(")").rpartition(" (")
    return OfficerRoles(name, tuple(roles.split(", ")))


_ROLE = "(investigator|approver|auditor)"
Officers = Annotated[
    tuple[tuple[str, OfficerRoles], ...],
    Entries(
        key=Text("the common name of a certificate, without blanks, commas and quotes", "[!#-&(-+.-~-]{1,64}", "anna@authority.example"),
        value=Text(
            "a name and in brackets one or more of investigator, approver and auditor",
            rf"[^\n()]*[^\n() ] \({_ROLE}(, {_ROLE})*\)",
            "Anna Adler (investigator)",
            read=_officer,
        ),
    ),
]
CountryCode = Annotated[
    str, Text("a country by its two capital letters (ISO 3166)", "[A-Z]{2}", "DE", mend=lambda text: text.strip().upper())
]


def _size(example: str) -> Text:
    return Text(
        "a size with its binary unit Ki, Mi, Gi or Ti",
        "[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti)",
        example,
        mistakes={
            "0+(Ki|Mi|Gi|Ti)": "is nothing",
            "[0-9]+": "has no unit",
            "[0-9]+ ?[kKMGT]i?B?": "has another unit",
            ".*[.].*": "is not a whole number",
        },
        mend=lambda text: re.sub(r"^([0-9]+) *([kKMGT])i?B?$", lambda found: f"{found[1]}{found[2].upper()}i", text.strip()),
        read=parse_bytes,
    )


VolumeSize = Annotated[Bytes, _size("100Gi")]
FileSize = Annotated[Bytes, _size("100Mi")]
MemoryAmount = Annotated[Bytes, _size("512Mi")]
CpuAmount = Annotated[
    Cpu,
    Text(
        "an amount of processors, or of thousandths of one",
        "[1-9][0-9]{0,4}m|[1-9][0-9]{0,2}",
        "250m",
        mistakes={"[0-9]+[.][0-9]+": "is a fraction"},
        mend=lambda text: f"{int(float(text) * 1000)}m" if re.fullmatch(r"[0-9]+[.][0-9]+", text) else text,
        read=parse_cpu,
    ),
]
Schedule = Annotated[
    str,
    Text(
        "six fields: second, minute, hour, day of month, month, day of week",
        _SIX_FIELDS,
        "0 0 2 * * *",
        mistakes={
            r" *[^ ]+( +[^ ]+){4} *": "has five fields; the first field here is seconds, so that all five would be misread",
            "@.*": "is a macro",
        },
        mend=lambda text: f"0 {' '.join(text.split())}" if len(text.split()) == 5 else " ".join(text.upper().split()),
        read=_schedule,
    ),
]
_APP_ID = Text("an app id", "[A-Za-z0-9][-A-Za-z0-9._]{0,63}", "com.example.app.ios")
AppleId = Annotated[
    str, Text("an id of ten capital letters and digits", "[A-Z0-9]{10}", "ABCDE12345", mend=lambda text: text.strip().upper())
]
Topics = Annotated[
    tuple[tuple[str, str], ...], Entries(key=_APP_ID, value=Text("a bundle id", "[A-Za-z0-9][-A-Za-z0-9.]{0,154}", "com.example.app"))
]
Projects = Annotated[
    tuple[tuple[str, str], ...],
    Entries(key=_APP_ID, value=Text("the id of a Firebase project", "[a-z][-a-z0-9]{4,28}[a-z0-9]", "example-app", mend=_lower)),
]
Sha256 = Annotated[
    str,
    Text(
        "a SHA-256 in lower-case hexadecimal",
        "[0-9a-f]{64}",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        mend=_lower,
    ),
]
IcapServers = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("a name", "[a-z][a-z0-9]*(-[a-z0-9]+)*", "other", max_length=40),
        value=Text(
            "the URL of an ICAP service",
            rf"icap://{_SERVER}(:{_PORT})?/[!-~]+",
            "icap://av.example.com:1344/scan",
            max_length=300,
            read=_port_in_range,
        ),
    ),
]
Generation = Annotated[int, Number("a whole number from 1", 1, 9999, "2")]


def _moment(text: str) -> str:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - the letter Z is part of the form
    except ValueError:
        raise ValueError("is no time that exists") from None
    return text


Moment = Annotated[
    str,
    Text(
        "a time in UTC, to the second",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
        "2026-01-31T12:00:00Z",
        mend=lambda text: text.strip().upper().replace(" ", "T"),
        read=_moment,
    ),
]
BackupAge = Annotated[str, Text("a number of days, weeks or months", "[1-9][0-9]{0,4}[dwm]", "30d")]
"""`retentionPolicy` of the barman-cloud plugin: d, w, m."""
MediaAge = Annotated[str, Text("a number of days, weeks or years", "[1-9][0-9]{0,4}[dwy]", "90d")]
KeptAge = Annotated[
    str,
    Text(
        "a number of days, weeks or years, 0d for not at all, or forever",
        "0d|[1-9][0-9]{0,4}[dwy]|forever",
        "90d",
        mistakes={"true|false": "says no time"},
        mend=lambda text: {"true": "forever", "false": "0d"}.get(text, text.strip()),
    ),
]
MetricsAge = Annotated[str, Text("a number of days, weeks or years", "[1-9][0-9]{0,4}[dwy]", "15d")]
"""A duration of Synapse, of which `m` would be minutes."""
Bucket = Annotated[
    str,
    Text("a bucket name of 3 to 63 lower-case letters, digits and hyphens", "[a-z0-9][-a-z0-9]{1,61}[a-z0-9]", "matrix-media", mend=_lower),
]
Region = Annotated[str, Text("a region name", "[a-z0-9]+(-[a-z0-9]+)*", "us-east-1", max_length=63)]
Labels = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("a label", rf"({_HOST}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?", "app.kubernetes.io/name", max_length=317),
        value=Text("the value of a label", "([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", "bridge"),
    ),
]
Annotations = Annotated[
    tuple[tuple[str, str], ...],
    Entries(
        key=Text("an annotation name", rf"({_HOST}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?", "example.com/name", max_length=317),
        value=Text("text", r"[\s\S]*", "value", read=_encodable),
    ),
]
PortNumber = Annotated[int, Number("a port", 1, 65_535, "8080")]


@frozen(kw_only=True)
class OthersPods:
    """The pods of something in this cluster that is not the platform's: policies know it by them, and by the port where they listen."""

    namespace: Label = required("Their namespace, which is none of the platform's.")
    labels: Labels = required("Labels that they have, and no other pod of their namespace.")
    port: PortNumber | None = option(None, "The port of the pods.", otherwise="that of the URL")
