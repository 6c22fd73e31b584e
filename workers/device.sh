#!/bin/sh
# Start one device of a topology as a Dask worker, on the machine that is to be that device:
#   workers/device.sh NAME TIER TOPOLOGY SCHEDULER [TLS]
#   e.g. workers/device.sh edge-2 edge site.yaml tcp://10.0.0.1:8786
#        workers/device.sh edge-2 edge site.yaml tls://10.0.0.1:8786 certs    (a folder made by `hddnn certs`)
set -eu
[ $# -eq 4 ] || [ $# -eq 5 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
name=$1 tier=$2 topology=$3 scheduler=$4
if [ $# -eq 5 ]; then
    # Dask's plain HTTP server, which every worker has, tells nobody anything.
    export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'
    set -- --tls-ca-file "$5/authority.crt" --tls-cert "$5/$name.crt" --tls-key "$5/$name.key" \
        --dashboard-address 127.0.0.1:0
else
    set --
fi
exec dask worker "$scheduler" --name "$name" --resources "$tier=1" --nthreads 1 --no-nanny --memory-limit 0 \
    --no-dashboard "$@" --preload hddnn.engines.dask.preload --topology "$topology" --device "$name"
