#!/bin/sh
# Starts LiveKit with what no ConfigMap may or can hold: the password of Redis, which it reads from no file, and the addresses of this node.
# Its API and metrics listen on the node's own address alone, not on a public one beside it.
set -eu
CONFIG=$(dirname "$0")
# shellcheck source=/dev/null
. "$CONFIG/addresses.sh"

password=$(cat "${REDIS_PASSWORD_FILE:-/secrets/redis/password}")
# LiveKit makes a variable of every option (pkg/config/config.go, GenerateCLIFlags).
export LIVEKIT_REDIS_PASSWORD="$password" NODE_IP="$PUBLIC"
exec "${LIVEKIT:-/livekit-server}" --config "$CONFIG/config.yaml" --bind "$ADDRESS"
