# shellcheck shell=sh disable=SC2034
# Read by the scripts beside it: where things are, and how the Sentinels are asked. POSIX sh with busybox or coreutils.

# shellcheck source=/dev/null
. "$(dirname "$0")/members.sh"

CONFIG=$(dirname "$0")
CLI=${REDIS_CLI:-valkey-cli}

log() {
    echo "$(basename "$0"): $*" >&2
}

die() {
    log "$*"
    exit 1
}

# The characters that need no quoting in any of the files that the password is written to.
PASSWORD=$(cat "${REDIS_PASSWORD_FILE:-/secrets/redis/password}")
case $PASSWORD in
    '' | *[!A-Za-z0-9._~-]*) die "the password must be letters, digits and . _ ~ - only, and not empty" ;;
esac

# Set PORT and SENTINEL_PORT of this pod, and HOST: its name, or its address once the members are resolved.
find_self() {
    POD=${POD_NAME:-$(hostname)}
    self=$(echo "$MEMBERS" | awk -v pod="$POD" '$1 == pod')
    [ -n "$self" ] || die "$POD is none of the pods of members.sh"
    read -r _ HOST PORT SENTINEL_PORT <<EOF
$self
EOF
}

# Put addresses for the names in MEMBERS: a pod's Service keeps its address for life. Servers, Sentinels and the proxy are given addresses,
# because Sentinel looks names up while everything else in it waits: it would fall silent, and with it the set, within seconds of a failure of
# DNS. It so happens only here, where waiting harms nobody.
resolve_members() {
    resolved=
    while read -r pod host ports; do
        until address=$(getent hosts "$host" | awk 'NR == 1 { print $1 }') && [ -n "$address" ]; do
            log "$host has no address yet"
            sleep 1
        done
        resolved="$resolved${resolved:+
}$pod $address $ports"
    done <<EOF
$MEMBERS
EOF
    MEMBERS=$resolved
}

# The command-line client with the password in its environment, where other users cannot see it. It gives up after two seconds: a node
# that has died does not even refuse.
client() {
    REDISCLI_AUTH=$PASSWORD timeout 2 "$CLI" "$@" 2>/dev/null
}

# "epoch address port" of the primary, one line from each Sentinel that answers; all are asked at once. The address comes from the second
# command, because a Sentinel that leads a failover keeps the old one in the first's answer until all replicas have moved.
# The PONG between them tells a whole answer from one that was cut short, whose last lines would pass for an address.
opinions() {
    echo "$MEMBERS" | {
        while read -r _ host _ sentinel_port; do
            printf 'SENTINEL MASTER %s\nPING\nSENTINEL GET-MASTER-ADDR-BY-NAME %s\n' "$GROUP" "$GROUP" |
                client -h "$host" -p "$sentinel_port" |
                awk '{ line[NR] = $0 }
                    line[NR - 1] == "config-epoch" { epoch = $0 }
                    $0 == "PONG" { pong = NR }
                    END { if (epoch != "" && pong && NR == pong + 2) print epoch, line[NR - 1], line[NR] }' &
        done
        wait
    }
}

# "address port" of the primary by the newest configuration, the one with the highest epoch, if at least $1 Sentinels answer; else nothing.
named_primary() {
    opinions | sort -k 1,1nr | awk -v least="$1" 'NR == 1 { newest = $2 " " $3 } END { if (NR >= least) print newest }'
}

# Ask the Sentinels, those of the other pods first, to make a replica the primary; $1 may be COORDINATED. Prints the first answer other
# than a refusal for want of a replica, or NOGOODSLAVE when a majority has refused so; nothing when too few answer.
request_failover() {
    refusals=0
    for address in $(echo "$MEMBERS" | awk -v pod="$POD" '$1 == pod { own = $2 "/" $4; next } { print $2 "/" $4 } END { print own }'); do
        # shellcheck disable=SC2086 # no word at all where $1 is empty
        reply=$(client -h "${address%/*}" -p "${address#*/}" SENTINEL FAILOVER "$GROUP" $1) || continue
        case $reply in
            NOGOODSLAVE*) refusals=$((refusals + 1)) ;;
            ?*) echo "$reply" && return ;;
        esac
    done
    [ "$refusals" -lt "$MAJORITY" ] || echo NOGOODSLAVE
}
