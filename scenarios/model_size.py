"""The last rows of the paper's Table 1: parameters, files of weights, and accuracies of the whole networks.

Accuracies are those of the networks' cards, on the 10,000 test images; a test measures them again. Weights lie in
16-bit floats here, in 32 bits in the paper.

    python scenarios/model_size.py --out results/model_size.nc
"""

from __future__ import annotations

from hddnn import zoo
from hddnn.experiments import paper
from hddnn.experiments.script import Settings, command, set_beside
from hddnn.experiments.sweep import Dim, Variable

VARIABLES = {
    "parameters": Variable("1", "parameters"),
    "weights_bytes": Variable("byte", "files of weights"),
    "accuracy_coarse": Variable("1", "accuracy of coarse labels on the 10,000 test images"),
    "accuracy_fine": Variable("1", "accuracy of fine labels on the 10,000 test images"),
}


def measure(network: str) -> dict[str, float]:
    """Return what a bundle's card and files say."""
    bundle = zoo.bundle(network)
    accuracy = {f"accuracy_{level}": share for level, share in bundle.card.accuracy.items()}
    return {"parameters": bundle.card.parameters, "weights_bytes": bundle.size_bytes, **accuracy}


@command()
def main(settings: Settings) -> None:
    """Read the bundles."""
    names = list(paper.NETWORKS)
    cube = settings.sweep(measure, {"network": Dim(names, "1", "network")}, VARIABLES, {})
    set_beside(cube, paper.NETWORKS, "table 1")
    settings.write(cube)
    for network in names:
        one = cube.sel(network=network)
        print(
            f"{network:9} {one.parameters / 1e6:6.2f} M parameters (paper {one.paper_parameters / 1e6:.2f} M), "
            f"{one.weights_bytes / 1e6:5.1f} MB (paper {one.paper_weights_bytes / 1e6:.1f} MB), coarse "
            f"{one.accuracy_coarse:.3f} (paper {one.paper_accuracy_coarse:.2f}), fine {one.accuracy_fine:.3f} "
            f"(paper {one.paper_accuracy_fine:.2f})"
        )


if __name__ == "__main__":
    main()
