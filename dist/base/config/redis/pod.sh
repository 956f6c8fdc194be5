# shellcheck shell=sh disable=SC2034
# Read by the scripts that start and stop the programs of a pod of the set: what is theirs alone, beside what the proxy has too.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

DATA=${REDIS_DATA:-/data}
RUN=${REDIS_RUN:-/run/redis}
SERVER=${REDIS_SERVER:-valkey-server}
