"""Hold a bundle against the network that it was made of, and say what helps where it answers otherwise."""

from __future__ import annotations

import numpy as np

from hddnn import runtimes
from hddnn.errors import BundleError
from hddnn.importing import checking, explaining
from hddnn.importing.checking import Answers, Differs, Trial, agree, reason
from hddnn.importing.explaining import Cause
from hddnn.importing.reading import LEAST_OPSET, opset_given
from hddnn.importing.references import (
    EVALUATOR,
    NAMES,
    ONNXRUNTIME,
    OPENVINO,
    TORCH,
    Answered,
    backend,
    bounded,
    evaluate,
    of,
)
from hddnn.runtimes import Runtime
from hddnn.zoo import Bundle


def compare(bundle: Bundle, answers: Answers, trial: Trial) -> tuple[Runtime, str]:
    """Return a bundle, loaded into its runtime, and by whom it was found to answer there as its network does.

    Raises BundleError when it answers otherwise, naming the operator where one shows, and what would help.
    """
    try:
        loaded = checking.check(bundle, answers, trial)
    except Differs as fault:
        cause = _cause(fault, bundle, answers, trial)
        raise BundleError(f"{cause.clause}; {cause.advice or _advice(bundle, answers, trial)}") from fault
    return loaded, _confirmed(bundle, answers, trial)


def _confirmed(bundle: Bundle, answers: Answers, trial: Trial) -> str:
    """Return the reference, with a second one where it is what the bundle runs in, and so no reference.

    Raises BundleError when the others run the file, and answer otherwise.
    """
    if answers.by.name != NAMES[bundle.card.runtime]:
        return answers.by.name
    for name in (OPENVINO, EVALUATOR):
        why = ""
        try:
            _, outputs = _by(name, trial, trial.inputs(answers.images))
        except RuntimeError as error:
            why = reason(error)
            continue
        if agree(outputs[answers.output], answers, trial.network):
            return f"{answers.by.name} and {name}"
    if why:  # of the evaluator; that OpenVINO answers otherwise may be why the user wants this runtime
        return f"{answers.by.name} alone ({why})"
    raise BundleError(
        f"{trial.network.where}: neither {OPENVINO} nor {EVALUATOR} answers as {ONNXRUNTIME}, so that nobody can "
        "say what is right; export it otherwise"
    )


def _by(name: str, trial: Trial, images: np.ndarray) -> Answered:
    """Let somebody else run the file as it was given. Raises RuntimeError when it cannot."""
    network = trial.network
    if name == EVALUATOR:
        return evaluate(network.given, images, network.batch)
    return bounded(backend(name, network.given, trial.threads), images, network.batch)


def _cause(fault: Differs, bundle: Bundle, answers: Answers, trial: Trial) -> Cause:
    """Say which operator is the trouble, or else what was seen."""
    network, runtime, by = trial.network, NAMES[bundle.card.runtime], answers.by
    try:
        backend(runtime, network.model.SerializeToString(), trial.threads)
    except RuntimeError as error:
        return Cause(f"{network.where} cannot be run by {runtime}: {reason(error)}")
    if by.name == TORCH:
        by = of(network.given, network.batch, trial.threads)
        try:
            _, outputs = by.run(trial.inputs(answers.images))
        except RuntimeError:
            return Cause(str(fault))
        if not agree(outputs[answers.output], answers, network):
            return Cause(
                f"{network.where}: what torch exports answers otherwise than the module itself",
                "write what it does otherwise, or take another version of torch",
            )
    images = trial.inputs(fault.images[:3])
    cause = explaining.why(network, images, by.name, runtime, trial.threads, answers.tolerance)
    return Cause(str(fault)) if cause is None else Cause(f"{network.where}: {cause.clause}", cause.advice)


def _advice(bundle: Bundle, answers: Answers, trial: Trial) -> str:
    """Say what helps: the other runtime where it was tried and is right."""
    if answers.by.name == EVALUATOR and opset_given(trial.network) < LEAST_OPSET:
        return (
            f"{EVALUATOR} is no judge of so old an opset: pip install 'hddnn[bench]' has {ONNXRUNTIME} asked"
        )
    if bundle.card.runtime != "openvino":
        return "export it otherwise"
    lacks = runtimes.missing("onnxruntime")
    if lacks:
        return "pip install 'hddnn[bench]' and try --runtime onnxruntime (runtime='onnxruntime')"
    other = Bundle(bundle.path, bundle.card.model_copy(update={"runtime": "onnxruntime"}))
    try:
        checking.check(other, answers, trial)
        _confirmed(other, answers, trial)
    except BundleError:
        return "export it otherwise"
    return "it answers as it should with --runtime onnxruntime (runtime='onnxruntime')"
