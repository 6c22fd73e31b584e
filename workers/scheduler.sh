#!/bin/sh
# Start the Dask scheduler of a system, with TLS when a folder made by `hddnn certs` is given:
#   workers/scheduler.sh [PORT] [TLS]        e.g. workers/scheduler.sh 8786 certs
set -eu
[ $# -le 2 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
port=${1:-8786}
[ $# -eq 2 ] || exec dask scheduler --port "$port"
# Dask's plain HTTP server, which every scheduler has, tells nobody anything.
export DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES='[]'
exec dask scheduler --port "$port" --protocol tls --no-dashboard --dashboard-address 127.0.0.1:0 \
    --tls-ca-file "$2/authority.crt" --tls-cert "$2/scheduler.crt" --tls-key "$2/scheduler.key"
