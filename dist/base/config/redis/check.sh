#!/bin/sh
# Answers the kubelet's probes: check.sh server|sentinel alive|ready.
set -eu
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

find_self

case "$1 $2" in
    # A server that loads its snapshot is busy, not dead.
    'server alive') client -p "$PORT" PING | grep -q -E '^(PONG|LOADING)' ;;
    # A replica is ready when it has the primary's data: until then a rolling update must not take the next pod.
    'server ready') client -p "$PORT" INFO replication | grep -q -E '^(role:master|master_link_status:up)' ;;
    'sentinel alive') client -p "$SENTINEL_PORT" PING | grep -q '^PONG' ;;
    'sentinel ready') client -p "$SENTINEL_PORT" SENTINEL CKQUORUM "$GROUP" | grep -q '^OK' ;;
    *) die "usage: check.sh server|sentinel alive|ready" ;;
esac
