#!/bin/sh
# Starts the proxy with the password and the addresses of the pods in its environment: HAProxy reads no file into a health check.
set -eu
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
trap 'exit 143' TERM USR1 # the first process of a container has no default action

resolve_members
while read -r pod address _; do
    # The address of redis-0 is in REDIS_0.
    export "$(echo "$pod" | tr a-z- A-Z_)=$address"
done <<EOF
$MEMBERS
EOF
export REDIS_PASSWORD="$PASSWORD"
exec "${HAPROXY:-haproxy}" -W -db -f "$CONFIG/haproxy.cfg"
