#!/bin/sh
# Starts this pod's server in the role that the Sentinels give it. It never decides by itself: without the answer of a majority it waits,
# because a second primary is worse than one server less.
set -eu
# shellcheck source=pod.sh
. "$(dirname "$0")/pod.sh"
umask 077
trap 'exit 143' TERM # the first process of a container has no default action

# Whether the other servers have data: "yes", "no" where all answer and none has any, or nothing as long as nobody knows.
others_have_data() {
    echo "$MEMBERS" | {
        silent=0
        while read -r pod host port _; do
            [ "$pod" != "$POD" ] || continue
            keys=$(client -h "$host" -p "$port" DBSIZE </dev/null) || keys=
            case $keys in
                0) ;;
                [1-9]*) echo yes && return ;;
                *) silent=$((silent + 1)) ;;
            esac
        done
        [ "$silent" -gt 0 ] || echo no
    }
}

resolve_members
find_self
patience=30
echo "$MEMBERS" >"$RUN/members" # for the hook that runs before the stop
while :; do
    primary=$(named_primary "$MAJORITY")
    case $primary in
        '') log "waiting: fewer than $MAJORITY Sentinels answer" ;;
        "$HOST $PORT")
            # The Sentinels have not missed this server yet. What it held in memory is gone, and the replicas would copy that loss:
            # one of them shall be the primary instead. Only when there is none that could, this server is, with its snapshot.
            # Without one (a new set, or a volume that was lost) it is if all others are as empty; else it waits for one of them.
            if [ ! -s "$DATA/dump.rdb" ]; then
                data=$(others_have_data)
                [ "$data" != no ] || { primary='' && break; }
                if [ -z "$data" ] && [ "$patience" -gt 0 ]; then
                    patience=$((patience - 1))
                    log "named primary without a snapshot: waiting for the other servers"
                    sleep 1
                    continue
                fi
            fi
            reply=$(request_failover "")
            log "named primary; asked for another: $reply"
            [ "$reply" != NOGOODSLAVE ] || [ ! -s "$DATA/dump.rdb" ] || { primary='' && break; }
            ;;
        *) break ;;
    esac
    sleep 1
done

file=$RUN/server.conf
{
    cat "$CONFIG/server.conf"
    echo "dir $DATA"
    echo "port $PORT"
    echo "replica-announce-ip $HOST"
    echo "replica-announce-port $PORT"
    echo "requirepass $PASSWORD"
    echo "masterauth $PASSWORD"
    [ -z "$primary" ] || echo "replicaof $primary"
} >"$file"
log "starting as ${primary:+replica of }${primary:-primary}"
unset PASSWORD
exec "$SERVER" "$file"
