"""A device: a Dask worker's plugin that holds the device's networks, and answers what it is asked about them.

It is loaded (and checked, and warmed up) before its worker starts, and goes to the worker's constructor: a
registered device is a ready one. What its tasks do is in the pipeline.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from dask._task_spec import Task
from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from hddnn._util.host import boot_id
from hddnn._version import __version__
from hddnn.engines.dask.device.faults import DeviceFaults
from hddnn.engines.dask.device.guard import Guard
from hddnn.engines.dask.device.loading import Networks
from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.device.pipeline import PLUGIN, Order, Pipeline
from hddnn.engines.dask.device.probing import Prober
from hddnn.engines.dask.wire.messages import FORGET, HEAD_START, HELLO, MEASURE, PUSH, SET_FAULT, DeviceSpec


class Device(WorkerPlugin):
    """Host one device's networks on a Dask worker.

    `load` it before the worker starts, so that what is wrong ends the process before it registers.
    """

    name = PLUGIN

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self.faults = DeviceFaults(spec.device.name)

    def load(self, networks: Networks | None = None) -> None:
        """Load, check and warm up the networks; networks: those that this process has already.

        Raises BundleError for a damaged or unfitting network, or one that does not give its known answer here,
        ClusterError when there is too little memory for them.
        """
        loaded = (networks or Networks()).load(self.spec)
        self._network, self._stems = loaded.own, loaded.stems

    # ---- called by the worker

    def setup(self, worker: Worker) -> None:
        """Add the handlers that the client calls."""
        spec = self.spec
        self._worker = worker
        packer = Packer(spec.device.name, self._stems, spec.trusts)
        self.pipeline = Pipeline(spec, self._network, packer, self.faults, worker.log_event)
        Guard(worker, self.pipeline.refused)
        worker.handlers.update(
            {
                HELLO: self.hello,
                MEASURE: self.measure,
                PUSH: self.pipeline.push,
                HEAD_START: self.pipeline.head_start,
                FORGET: self.pipeline.forget,
                SET_FAULT: self.faults.set,
                **Prober(worker, spec, self._network, packer).handlers(),
            }
        )

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Have the pipeline know when a task's inputs are in hand, and when it is over."""
        if finish == "constrained":  # it waits for nothing but its turn: every task asks for its tier
            task = self._worker.state.tasks[key].run_spec
            if isinstance(task, Task) and task.args and isinstance(task.args[0], Order):
                order, *below = task.args
                payloads = [payload for made in below for payload in self._worker.data[made.key]]
                self.pipeline.in_hand(order, payloads)
        elif finish in ("released", "forgotten"):
            self.pipeline.released(key)

    # ---- called by the client, on the worker's event loop

    def hello(self) -> dict[str, Any]:
        """Tell what this device is, and what its clock shows."""
        spec = self.spec
        return {
            "version": __version__,
            "tier": spec.device.tier,
            "network": self._network.bundle.digest,
            "network_name": self._network.bundle.card.name,
            "trusted": spec.device.trusted,
            "stems": {name: stem.bundle.stem_digest for name, stem in self._stems.items()},
            "trusts": list(spec.trusts),
            "temperature": self._network.bundle.card.temperature,
            "compute": spec.compute,
            "time_scale": spec.time_scale,
            "own_speed": spec.device.service_time is None,
            "seconds_per_image": {Path(name).name: s for name, s in spec.device.seconds_per_image.items()},
            "seconds_per_batch": {Path(name).name: s for name, s in spec.device.seconds_per_batch.items()},
            "links": [link.model_dump() for link in spec.links.values()],
            "boot_id": boot_id(),
            "heartbeat_s": spec.heartbeat_s,
            "clock_s": time.monotonic(),
        }

    async def measure(self) -> tuple[float, float]:
        """Return the seconds that this device takes now for an image, and for a batch on top."""
        time = await asyncio.to_thread(self._network.measure, self.spec.batch_size)
        return time.seconds_per_image, time.seconds_per_batch
