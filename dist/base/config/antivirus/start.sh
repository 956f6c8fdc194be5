#!/bin/sh
# Starts clamd when there are signatures: without any it would exit. freshclam fetches them beside it, as often as it takes.
set -eu
until [ -e /var/lib/clamav/platform.hsb ]; do
    sleep 2
done
exec clamd --config-file /etc/clamav/clamd.conf
