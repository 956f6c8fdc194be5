"""Opens envelopes, for the authority, on its own machine: `python -m services.key_deposit.open PRIVATE_KEY FILE...`.

Needs Python 3.11 or newer, attrs and cryptography. Any JOSE library opens the envelopes too: they are JSON Web Encryptions.
"""

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.key_deposit.envelope import open_envelope, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Print whose recovery key each file holds, and the key. Returns 1 when a file does not open."""
    parser = argparse.ArgumentParser(prog="services.key_deposit.open", description="Opens the envelopes of recovery keys.")
    parser.add_argument("private_key", type=Path, help="the authority's RSA private key in PEM; its passphrase is asked for if it has one")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an envelope (.jwe)")
    options = parser.parse_args(arguments)
    try:
        key = _private_key(options.private_key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        print(f"{options.private_key}: not a readable RSA private key: {type(error).__name__}", file=sys.stderr)
        return 1
    failed = False
    for file in options.files:
        try:
            compact = file.read_text().strip()
            print(f"{parse(compact).user_id}\t{open_envelope(compact, key)}")
        except (OSError, ValueError) as error:
            failed = True
            print(f"{file}: {error}", file=sys.stderr)
    return int(failed)


def _private_key(pem: bytes) -> rsa.RSAPrivateKey:
    passphrase = getpass.getpass("passphrase: ").encode() if b"ENCRYPTED" in pem else None
    key = serialization.load_pem_private_key(pem, passphrase)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError
    return key


if __name__ == "__main__":
    sys.exit(main())
