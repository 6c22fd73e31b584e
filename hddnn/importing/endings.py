"""How a network ends: in logits, or in what logits can be made of again, so that confidence means something.

Confidence is the softmax of logits. Of probabilities it would be nearly the same for every class. So a Softmax is
left off, or the logarithm taken. A Sigmoid is left off, too: what it was given, z, is the log of a class's odds by
itself, and of a picture that shows exactly one of the classes the softmax of z is the probability of each.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx

from hddnn.errors import BundleError
from hddnn.importing.parts import last, without
from hddnn.importing.reading import Network
from hddnn.tasks.calibration import probabilities

#: logits; shares: probabilities that sum to one, or to any other number; odds: each class's own probability.
Kind = Literal["logits", "shares", "odds"]
#: They squeeze all scores into a range, in which they are no logits, and tell nothing that could be taken off.
_SQUEEZES = ("HardSigmoid", "Tanh", "Softsign", "Erf", "Hardmax")
_SUMS = (
    "Gemm",
    "MatMul",
    "Conv",
    "Add",
    "Sum",
    "Sub",
    "GlobalAveragePool",
    "ReduceMean",
    "BatchNormalization",
)
_LEAST = 1e-6  # a smaller probability is rounding of those beside it
_ODDS = (1e-4, 1 - 1e-3)  # beyond, float32 and the curve that stands for a sigmoid tell too little


def kind_of(network: Network, output: str, values: np.ndarray) -> Kind:
    """Return what an output holds; values: what comes out there, (N, classes).

    Raises BundleError, naming the operator at the end, for scores of which no confidence can be made.
    """
    if values.shape[1] == 1:
        return "logits"
    node = last(network.model.graph, output)
    op = "" if node is None or node.domain else node.op_type
    ending = f"{network.where} ends in {op} '{node.output[0]}'" if op and node is not None else network.where
    if op in _SQUEEZES:
        raise BundleError(
            f"{ending}, which squeezes its scores so that no confidence can be made of them; export it without"
        )
    if op == "Sigmoid":
        return "odds"
    sums = values.sum(axis=1)
    are_shares = bool((values >= 0).all()) and sums.max() > 0
    if are_shares and np.allclose(sums, 1, atol=1e-3 if network.dtype is not np.float16 else 1e-2):
        return "shares"
    if op == "Softmax":
        raise BundleError(
            f"{ending}, which is not over its {values.shape[1]} classes; export it with that axis"
        )
    if are_shares and op not in _SUMS:
        varies = np.ptp(values, axis=0).max() > 1e-3 * sums.max()
        if varies and np.allclose(sums, sums[0], rtol=1e-4):
            return "shares"
        if values.max() <= 1 and op != "Relu":
            raise BundleError(
                f"{ending} with scores between 0 and 1 that do not sum to one, so that no confidence can be made "
                "of them; export it without what makes them so"
            )
    return "logits"


def opened(graph: onnx.GraphProto, output: str, kind: Kind) -> tuple[str, bool, str]:
    """Take off a graph what makes logits something else.

    Returns its output now, whether the logarithm has to be taken of that, and what was done, empty for nothing.
    """
    node = last(graph, output)
    wanted = {"shares": "Softmax", "odds": "Sigmoid"}.get(kind)
    if node is not None and node.op_type == wanted:
        return without(graph, node, output), False, f"the final {wanted} was left off"
    if kind == "shares":
        return output, True, "the logarithm of its probabilities"
    return output, False, ""


def scores(values: np.ndarray, kind: Kind, *, from_logits: bool = False) -> np.ndarray:
    """Return answers as numbers whose differences count, (N, classes): logits, less their mean.

    values: what the network answers, or with from_logits, the logits that a bundle answers in its place.
    """
    if kind == "shares":
        shares = probabilities(values) if from_logits else values / values.sum(axis=1, keepdims=True)
        values = np.log(np.maximum(shares, _LEAST))
    elif kind == "odds":
        low, high = _log_odds(np.array(_ODDS))
        values = np.clip(values, low, high) if from_logits else _log_odds(np.clip(values, *_ODDS))
    return values - values.mean(axis=1, keepdims=True) if values.shape[1] > 1 else values


def _log_odds(shares: np.ndarray) -> np.ndarray:
    return np.log(shares / (1 - shares))
