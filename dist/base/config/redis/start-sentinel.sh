#!/bin/sh
# Starts this pod's Sentinel from the rendered settings, the password as it is today, and what the Sentinel knew when it last ran.
set -eu
# shellcheck source=pod.sh
. "$(dirname "$0")/pod.sh"
umask 077
trap 'exit 143' TERM # the first process of a container has no default action

find_self
NAME=$HOST
resolve_members
find_self
file=$DATA/sentinel.conf
addresses=$(echo "$MEMBERS" | awk -v ORS=, '{ print $2, $3; print $2, $4 }')

# What Sentinel wrote about the pods of today; those that a smaller set no longer has would count as voters for ever.
remembered() {
    [ -f "$file" ] || return 0
    awk -v addresses="$addresses" -v group="$GROUP" '
        BEGIN { count = split(addresses, address, ","); for (i = 1; i <= count; i++) member[address[i]] = 1 }
        $1 != "sentinel" { next }
        $2 == "current-epoch" { print }
        $3 == group && ($2 == "config-epoch" || $2 == "leader-epoch") { print }
        $3 == group && ($2 == "known-replica" || $2 == "known-sentinel") && ($4 " " $5) in member { print }
        $3 == group && $2 == "monitor" && ($4 " " $5) in member { print }
    ' "$file"
}

memory=$(remembered)
primary=$(echo "$memory" | awk '$2 == "monitor" { print $4, $5 }')
attempts=5
while [ -z "$primary" ] && [ "$attempts" -gt 0 ]; do
    primary=$(named_primary 1)
    attempts=$((attempts - 1))
    [ -n "$primary" ] || sleep 1
done
if [ -n "$primary" ]; then
    log "the primary is $primary"
else
    # Every Sentinel of a new set takes the same first member: different ones would be different sets.
    log "no memory and no other Sentinel: the first member is the primary"
    primary=$(echo "$MEMBERS" | awk 'NR == 1 { print $2, $3 }')
fi

{
    echo "sentinel monitor $GROUP $primary $MAJORITY"
    cat "$CONFIG/sentinel.conf"
    echo "dir $DATA"
    echo "port $SENTINEL_PORT"
    echo "sentinel announce-ip $HOST"
    echo "sentinel announce-port $SENTINEL_PORT"
    # The same identity for ever, also with an empty volume: a new one would be one more voter to its peers.
    echo "sentinel myid $(printf '%s' "$NAME $SENTINEL_PORT" | sha1sum | cut -c 1-40)"
    echo "requirepass $PASSWORD"
    echo "sentinel sentinel-pass $PASSWORD"
    echo "sentinel auth-pass $GROUP $PASSWORD"
    echo "$memory" | awk '$2 != "monitor"'
} >"$file.new"
mv "$file.new" "$file"
unset PASSWORD
exec "$SERVER" "$file" --sentinel
