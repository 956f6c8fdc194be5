#!/bin/sh
# Waits until the primary of Redis answers, without which LiveKit ends at once.
set -eu
# The first process of a container is not ended by a signal that it does not handle, and the pod's grace period is that of calls.
trap 'exit 143' TERM
CLI=${REDIS_CLI:-valkey-cli}
REDISCLI_AUTH=$(cat "${REDIS_PASSWORD_FILE:-/secrets/redis/password}")
export REDISCLI_AUTH

until [ "$(timeout 5 "$CLI" -h "$REDIS_HOST" -p "$REDIS_PORT" ping 2>&1)" = PONG ]; do
    echo "wait.sh: Redis at $REDIS_HOST:$REDIS_PORT does not answer yet" >&2
    sleep 1
done
