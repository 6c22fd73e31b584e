#!/bin/sh
# Start one device of a topology as a Dask worker, on the machine that is to be that device:
#   workers/device.sh NAME TIER TOPOLOGY SCHEDULER        e.g. workers/device.sh edge-2 edge site.yaml tcp://10.0.0.1:8786
set -eu
[ $# -eq 4 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
exec dask worker "$4" --name "$1" --resources "$2=1" --nthreads 1 --no-nanny --memory-limit 0 --no-dashboard \
    --preload hddnn.engines.dask.preload --topology "$3" --device "$1"
