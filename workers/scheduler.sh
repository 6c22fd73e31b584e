#!/bin/sh
# Start the Dask scheduler of a system, on port 8786 unless told otherwise:
#   workers/scheduler.sh [--tls DIR] [OPTIONS of `dask scheduler`]
#   e.g. workers/scheduler.sh --tls certs --host 10.0.0.1
#        workers/scheduler.sh --scheduler-file /mnt/shared/scheduler.json
exec hddnn scheduler "$@"
