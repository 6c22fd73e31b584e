#!/bin/sh
# Start one edge device of a topology as a Dask worker, on the machine that is to be that device:
#   workers/edge.sh DEVICE --topology FILE [--tls DIR] SCHEDULER [OPTIONS of `dask worker`]
#   e.g. workers/edge.sh edge-2 --topology site.yaml --tls certs tls://10.0.0.1:8786 --interface eth0
#        workers/edge.sh edge-2 --topology site.yaml --scheduler-file /mnt/shared/scheduler.json
exec hddnn worker "$@" --tier edge
