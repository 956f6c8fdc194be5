#!/bin/sh
# Starts coturn with what no ConfigMap may or can hold: the shared secret, which coturn reads from its settings alone, and the addresses of
# this node. The settings are written to memory, and the secret is in no argument that other processes of the node could see.
set -eu
CONFIG=$(dirname "$0")
# shellcheck source=/dev/null
. "$CONFIG/addresses.sh"
umask 077

die() {
    echo "start.sh: $*" >&2
    exit 1
}

secret=$(cat "${TURN_SECRET_FILE:-/secrets/turn/shared_secret}")
case $secret in
    '' | *[!A-Za-z0-9._~-]*) die "the shared secret must be letters, digits and . _ ~ - only, and not empty" ;;
esac

# Whether an address is on an interface of this node, and not only on a router before it.
is_here() {
    awk -v address="$1" '$1 == "|--" { leaf = $2 } /host LOCAL/ && leaf == address { found = 1 } END { exit !found }' /proc/net/fib_trie
}

mapping=
if [ "$PUBLIC" = "$ADDRESS" ] || is_here "$PUBLIC"; then
    here=$PUBLIC
else
    here=$ADDRESS
    mapping="external-ip=$PUBLIC/$ADDRESS"
fi

settings=${COTURN_RUN:-/run/coturn}/turnserver.conf
{
    cat "$CONFIG/turnserver.conf"
    echo "static-auth-secret=$secret"
    echo "listening-ip=$here"
    echo "relay-ip=$here"
    echo "allowed-peer-ip=$here"
    echo "prometheus-address=$ADDRESS"
    echo "$mapping"
} >"$settings"

# coturn reads its certificate anew when it is told to, and the file changes when the certificate is renewed.
certificate=$(sed -n 's/^cert=//p' "$settings")
if [ -n "$certificate" ]; then
    (
        known=$(cksum <"$certificate")
        while sleep "${CERTIFICATE_PERIOD:-3600}"; do
            current=$(cksum <"$certificate")
            [ "$current" = "$known" ] || { known=$current && kill -USR2 $$; }
        done
    ) &
fi
exec "${TURNSERVER:-turnserver}" -c "$settings"
