#!/bin/sh
# Before this pod's server is stopped: if it is the primary, let another become it first. Bounded, so that nothing can keep a node from
# being drained.
set -eu
# shellcheck source=pod.sh
. "$(dirname "$0")/pod.sh"

[ ! -f "$RUN/members" ] || MEMBERS=$(cat "$RUN/members")
find_self

[ "$(client -p "$PORT" ROLE | head -n 1)" = master ] || exit 0

# Valkey 9 hands over without losing a write: it stops them until the replica has them all. Where it cannot, this script stops them, for as long
# as a failover may take; the replica has some tenths of a second to catch up before it is promoted.
reply=$(request_failover COORDINATED)
if [ "$reply" != OK ]; then
    client -p "$PORT" CLIENT PAUSE 10000 WRITE >/dev/null
    reply=$(request_failover "")
fi
log "asked for another primary: $reply"
attempts=10
while [ "$reply" = OK ] && [ "$attempts" -gt 0 ]; do
    case $(named_primary "$MAJORITY") in
        '' | "$HOST $PORT") ;;
        *) exit 0 ;;
    esac
    attempts=$((attempts - 1))
    sleep 0.5
done
