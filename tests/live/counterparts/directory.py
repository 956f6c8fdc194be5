"""A directory (OpenLDAP's slapd) over TLS: `python -m tests.live.counterparts.directory`, with what it needs as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path("/tmp/directory")
CONFIGURATION = """\
include {folder}/core.schema
include {folder}/cosine.schema
include {folder}/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/tls.crt
TLSCertificateKeyFile {folder}/tls.key
security simple_bind=128
database mdb
suffix "dc=example,dc=org"
directory {folder}/data
# Nobody reads without a name; a person checks their own password.
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=matrix,dc=example,dc=org" read by self read by * none
"""


def main() -> None:
    """Serve until the end. Given are `port`, `certificate`, `key` (PEM), `schemas` (name to text) and `entries` (LDIF)."""
    given = json.load(sys.stdin)
    (FOLDER / "data").mkdir(parents=True)
    files = {f"{name}.schema": text for name, text in given["schemas"].items()}
    files |= {"tls.crt": given["certificate"], "tls.key": given["key"], "entries.ldif": given["entries"]}
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    (FOLDER / "slapd.conf").write_text(CONFIGURATION.format(folder=FOLDER))
    subprocess.run(["/usr/sbin/slapadd", "-q", "-f", FOLDER / "slapd.conf", "-l", FOLDER / "entries.ldif"], check=True, timeout=30)
    print("ready", flush=True)
    # `stats`: one line for each question.
    os.execv("/usr/sbin/slapd", ["slapd", "-f", str(FOLDER / "slapd.conf"), "-h", f"ldaps://0.0.0.0:{given['port']}", "-d", "stats"])


if __name__ == "__main__":
    main()
