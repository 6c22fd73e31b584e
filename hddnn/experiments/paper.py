"""The numbers of the paper's tables, to be set beside ours.

NaN where it has none, infinite where its job never ends.

Zhang et al., "Towards Ubiquitous Intelligent Computing: Heterogeneous Distributed Deep Neural Networks", IEEE
Transactions on Big Data. Its cloud runs WRN-28-10; the packaged one that stands for it is WRN-16-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

#: Images in a batch, which it calls a task, and in a job.
BATCH, IMAGES = 50, 10_000
N_END = 8  # end devices at most

#: Table 1: network -> device -> s an image, inference alone, batch 50.
INFERENCE_S = {
    "mobilenet": {"end": 5.20e-3, "edge": 2.03e-3, "cloud": 0.25e-3},
    "resnet34": {"end": 15.7e-3, "edge": 5.53e-3, "cloud": 0.79e-3},
    "wrn16_4": {"end": 1.170, "edge": 0.227, "cloud": 6.99e-3},
}

#: Table 2: tier -> setting -> s an image inside the running system. "alone" is table 1's.
SYSTEM_S = {
    "end": {"alone": 5.20e-3, "no communication": 7.4e-3, "0 s": 10.4e-3},
    "edge": {"alone": 5.53e-3, "no communication": 6.0e-3, "0 s": 8.4e-3, "0.5 s": 18.3e-3},
    "cloud": {"alone": 6.99e-3, "no communication": 7.4e-3, "0 s": 10.8e-3, "1 s": 31.0e-3},
}

#: Table 3: scheme -> fine accuracy with 1 to 8 end devices.
FINE_ACCURACY = {
    "end-edge": (0.61,) * 8,
    "mapping": (0.61, 0.61, 0.61, 0.61, 0.63, 0.65, 0.66, 0.67),
    "end-cloud": (0.73,) * 8,
}


@dataclass(frozen=True)
class Encoder:
    """A row of table 4: the encryption module's output, its parameters, and the bytes of its weights."""

    height: int
    width: int
    channels: int
    parameters: int
    stem_bytes: float


#: Table 4.
ENCODERS = {
    "resnet34": Encoder(16, 16, 64, 9472, 50.1e3),
    "wrn16_4": Encoder(32, 32, 16, 432, 11.9e3),
}

#: Table 5: latency, s -> overhead of encoding at the end device, and at an edge device.
ENCODING_OVERHEAD = {
    0.5: (0.571, 0.440),
    1.0: (0.332, 0.272),
    1.5: (0.247, 0.206),
    2.0: (0.179, 0.159),
}

#: Table 6: policy -> finish time in s with 0 to 6 failing devices.
FAILURES_S = {
    "none": (24.9, *[inf] * 6),
    "reassign": (25.7, 33.7, 43.2, 65.2, 92.8, 138, 226),
    "monitor": (26.4, 27.2, 27.3, 27.7, 28.0, 30.7, 38.3),
}


@dataclass(frozen=True)
class Network:
    """What table 1 says of a network apart from its times: parameters, bytes of weights, accuracies."""

    parameters: float
    weights_bytes: float
    accuracy_coarse: float
    accuracy_fine: float


#: Table 1; of WRN-28-10 in the row of the network that stands for it.
NETWORKS = {
    "mobilenet": Network(0.84e6, 10.3e6, 0.50, nan),
    "resnet34": Network(21.4e6, 85.7e6, 0.73, 0.61),
    "wrn16_4": Network(40.6e6, 324.9e6, 0.83, 0.73),
}
