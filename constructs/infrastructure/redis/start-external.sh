#!/bin/sh
# Starts the proxy with the password in its environment: HAProxy reads no file into a health check.
set -eu
password=$(cat "${REDIS_PASSWORD_FILE:-/secrets/redis/password}")
case $password in
    '' | *[!A-Za-z0-9._~-]*)
        echo "start-external.sh: the password in the Secret must be letters, digits and . _ ~ - only, and not empty" >&2
        exit 1
        ;;
esac
export REDIS_PASSWORD="$password"
exec "${HAPROXY:-haproxy}" -W -db -f "$(dirname "$0")/haproxy.cfg"
