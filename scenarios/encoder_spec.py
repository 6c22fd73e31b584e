"""Table 4 of the paper: the first layer of each upper network, which an end device downloads to encode images.

python scenarios/encoder_spec.py --out results/encoder_spec.nc
"""

from __future__ import annotations

from hddnn import zoo
from hddnn.data.datasets import load_dataset
from hddnn.experiments import paper
from hddnn.experiments.script import Settings, command, set_beside
from hddnn.experiments.sweep import Dim, Variable
from hddnn.privacy.codec import DEFAULT
from hddnn.privacy.sizes import payload_bytes
from hddnn.system.topology import Topology

VARIABLES = {
    "height": Variable("1", "rows of its output"),
    "width": Variable("1", "columns of its output"),
    "channels": Variable("1", "channels of its output"),
    "parameters": Variable("1", "its parameters"),
    "stem_bytes": Variable("byte", "its file of weights"),
    "feature_bytes": Variable("byte", "output of an image, float32"),
    "payload_bytes": Variable("byte", "the same as sent, in the default codec"),
}


def sent_bytes(network: str) -> float:
    """Return the bytes of an image's features as sent in the default codec, mean of a batch."""
    cloud = {"name": "cloud", "tier": "cloud", "network": network, "trust": "undependable"}
    end = {"name": "end", "tier": "end", "network": "mobilenet"}
    system = Topology.from_dict({"name": network, "devices": [end, cloud]})
    return float(payload_bytes(system, DEFAULT, load_dataset().images)[network][1])


def measure(network: str) -> dict[str, float]:
    """Return what a bundle's card and files say of its first layer."""
    bundle = zoo.bundle(network)
    channels, height, width = bundle.card.stem_shape
    return {
        "height": height, "width": width, "channels": channels, "parameters": bundle.card.stem_parameters,
        "stem_bytes": bundle.stem_path.stat().st_size, "feature_bytes": bundle.card.feature_bytes,
        "payload_bytes": sent_bytes(network),
    }  # fmt: skip


@command()
def main(settings: Settings) -> None:
    """Read the bundles."""
    names = list(paper.ENCODERS)
    cube = settings.sweep(measure, {"network": Dim(names, "1", "network")}, VARIABLES, {"codec": DEFAULT})
    set_beside(cube, paper.ENCODERS, "table 4")
    settings.write(cube)
    for network in names:
        one = cube.sel(network=network)
        print(
            f"{network:9} output {one.height:.0f}x{one.width:.0f}x{one.channels:.0f} (paper "
            f"{one.paper_height:.0f}x{one.paper_width:.0f}x{one.paper_channels:.0f}), {one.parameters:.0f} "
            f"parameters (paper {one.paper_parameters:.0f}), file {one.stem_bytes / 1e3:.1f} kB (paper "
            f"{one.paper_stem_bytes / 1e3:.1f} kB), {one.feature_bytes:.0f} B an image, "
            f"{one.payload_bytes:.0f} B sent"
        )


if __name__ == "__main__":
    main()
