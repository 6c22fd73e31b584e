"""Decide which neural network runs on which device, and where each image goes.

    from hddnn import Job, Topology, load_dataset, run

    topology = Topology.load("paper")
    job = Job(load_dataset("sample"), images=1000, batch_size=50)
    cube = run(topology, job, ["end-edge", "mapping"])
    print(cube.makespan_s)
"""

from hddnn._version import __version__
from hddnn.api import Observer, run
from hddnn.data import Dataset, Job, load_dataset
from hddnn.labels import LabelHierarchy
from hddnn.topology import Device, Link, Topology

__all__ = [
    "Dataset",
    "Device",
    "Job",
    "LabelHierarchy",
    "Link",
    "Observer",
    "Topology",
    "__version__",
    "load_dataset",
    "run",
]
