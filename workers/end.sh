#!/bin/sh
# Start one end device of a topology as a Dask worker, on the machine that is to be that device:
#   workers/end.sh DEVICE --topology FILE [--tls DIR] SCHEDULER [OPTIONS of `dask worker`]
#   e.g. workers/end.sh end-2 --topology site.yaml --tls certs tls://10.0.0.1:8786 --interface eth0
#        workers/end.sh end-2 --topology site.yaml --scheduler-file /mnt/shared/scheduler.json
exec hddnn worker "$@" --tier end
