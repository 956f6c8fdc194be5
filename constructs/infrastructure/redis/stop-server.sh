#!/bin/sh
# Before this pod's server is stopped: if it is the primary, let another become it first. Bounded, so that nothing can keep a node from
# being drained.
set -eu
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

[ "$(client -p "$PORT" ROLE | head -n 1)" = master ] || exit 0

# Valkey 9 can hand over without losing a write: it stops writes until the replica has them all.
reply=$(request_failover COORDINATED)
[ "$reply" = OK ] || reply=$(request_failover)
log "asked for another primary: $reply"
attempts=20
while [ "$reply" = OK ] && [ "$attempts" -gt 0 ]; do
    case $(named_primary "$MAJORITY") in
        '' | "$HOST $PORT") ;;
        *) exit 0 ;;
    esac
    attempts=$((attempts - 1))
    sleep 0.5
done
