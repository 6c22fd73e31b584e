"""A process that runs one ONNX network in ONNX's reference evaluator, and ends.

    hddnn.importing.evaluating FOLDER BATCH BUDGET_S      (see hddnn._util.children)

FOLDER holds given.onnx and images.npy; each output is put there as an .npy file, 0.npy and so on. The number of
images answered and that of the outputs are printed. BATCH: the only size that the network is made for, 0 for any.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from hddnn.importing.reading import reason
from hddnn.importing.references import bounded


def main() -> None:
    folder, batch, budget_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    images = np.load(folder / "images.npy")
    try:
        model = onnx.load(folder / "given.onnx")
        session = ReferenceEvaluator(model)
        held = {tensor.name for tensor in model.graph.initializer}  # which old files list as inputs, too
        (name,) = [name for name in session.input_names if name not in held]
        with np.errstate(all="ignore"):
            count, outputs = bounded(
                lambda batch: session.run(None, {name: batch}), images, batch or None, budget_s, least=1
            )
    except Exception as error:  # written in Python, it raises anything
        sys.exit(reason(error))
    for i, output in enumerate(outputs):
        np.save(folder / f"{i}.npy", _plain(output))
    print([count, len(outputs)])


def _plain(output: object) -> np.ndarray:
    """Return an output of a type that a file can hold: bfloat16 and the like as float32, a sequence as nothing."""
    if not isinstance(output, np.ndarray | np.generic) or output.dtype.kind not in "fiubV":
        return np.zeros(0, np.float32)
    return np.asarray(output, np.float32 if output.dtype.kind == "V" else None)


if __name__ == "__main__":
    main()
