#!/bin/sh
# Before coturn is stopped: take no new calls, and end with the last one. When the grace period is over, Kubernetes waits no longer.
kill -USR1 1
while kill -0 1; do
    sleep 1
done
