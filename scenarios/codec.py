"""Codecs: bytes, time and answers, for each network whose features may have to go up.

Features of batches of 50 images through every codec, on one thread; all codecs in turn in each round.
  bytes    of a payload an image
  encode   and decode, ms a batch, medians of rounds; the stem's own time and the coarse network's are measured in
           the same rounds
  loss     points of accuracy lost on all images; answers: share that stays as it was

    python scenarios/codec.py --out results/codec.nc
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hddnn import load_dataset, runtimes, zoo
from hddnn._util import terminal
from hddnn._util.bars import track
from hddnn.data.datasets import Dataset
from hddnn.experiments.script import Settings, command
from hddnn.privacy.codec import DEFAULT, NAMES, codec
from hddnn.results import plots
from hddnn.results.records import Grader
from hddnn.runtimes import Runtime

NETWORKS = ("resnet34", "wrn16_4")
BATCH = 50
PAPER_BYTES = 65536
#: The cube and the figure have all; the table those without compression, with the default's, and of its quantizer.
SHOWN = tuple(
    name for name in NAMES
    if name.partition("+")[0] == DEFAULT.partition("+")[0] or name.endswith(f"+{DEFAULT.partition('+')[2]}")
    or name == "float32"
)  # fmt: skip
TARGET_BYTES, TARGET_POINTS = PAPER_BYTES / 5, 0.5  # at most
VARIABLES = {
    "bytes_per_image": ("byte", "payload an image"),
    "encode_s": ("s", "to encode a batch of 50, the stem apart"),
    "decode_s": ("s", "to decode a batch of 50"),
    "accuracy": ("1", "share of right fine answers"),
    "same": ("1", "share of answers that are those to float32 features"),
}
ALONE = {
    "stem_s": "the stem's own time, a batch of 50",
    "coarse_s": "the coarse network's time in the same rounds, a batch of 50",
}


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def measure(
    network: Runtime, coarse: Runtime, data: Dataset, images: int, rounds: int
) -> dict[str, np.ndarray]:
    """Return each variable by codec for one network, and `stem_s` and `coarse_s`, those of whole batches."""
    card = network.bundle.card
    grader = Grader.of(card.task, card.labels, data)
    batches = [network.stem(data.images[i : i + BATCH]) for i in range(0, images, BATCH)]
    truth, plain = grader.truth[:images], np.array([])
    values = {name: np.zeros(len(NAMES)) for name in VARIABLES}
    for row, name in enumerate(track(NAMES, f"answers of {card.name}", terminal.bars())):
        it = codec(name)
        payloads = [it.encode(features) for features in batches]
        back = [it.decode(data, features.shape) for data, features in zip(payloads, batches, strict=True)]
        labels = grader.label_map[np.concatenate([network.body(features).argmax(1) for features in back])]
        plain = labels if name == "float32" else plain
        values["bytes_per_image"][row] = sum(map(len, payloads)) / images
        values["accuracy"][row] = (labels == truth).mean()
        values["same"][row] = (labels == plain).mean()
    spent = {"encode_s": np.zeros((rounds, len(NAMES))), "decode_s": np.zeros((rounds, len(NAMES)))}
    spent |= {"stem_s": np.zeros(rounds), "coarse_s": np.zeros(rounds)}
    for repeat in track(range(rounds), f"times of {card.name}", terminal.bars()):
        at = repeat % len(batches)
        features, pixels = batches[at], data.images[at * BATCH : (at + 1) * BATCH]
        spent["stem_s"][repeat] = timed(partial(network.stem, pixels))
        spent["coarse_s"][repeat] = timed(partial(coarse.run, pixels))
        for row, name in enumerate(NAMES):
            it, payload = codec(name), codec(name).encode(features)
            spent["encode_s"][repeat, row] = timed(partial(it.encode, features))
            spent["decode_s"][repeat, row] = timed(partial(it.decode, payload, features.shape))
    return values | {name: np.median(times, axis=0) for name, times in spent.items()}


def figure(cube: xr.Dataset) -> Figure:
    """Draw bytes against time, one panel a network; colours are quantizers, markers compressors."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, len(NETWORKS), sharey=True)
    markers = {"": "o", "zstd": "s", "lz4": "^", "blosc2": "D"}
    colours = {
        name: f"C{i}" for i, name in enumerate(dict.fromkeys(name.partition("+")[0] for name in NAMES))
    }
    for axis, network in zip(axes, NETWORKS, strict=True):
        for name in NAMES:
            one, (quantizer, _, compressor) = cube.sel(network=network, codec=name), name.partition("+")
            chosen = {"edgecolor": "black", "linewidth": 1.5, "zorder": 3} if name == DEFAULT else {}
            axis.scatter(
                1e3 * (one.encode_s + one.decode_s),
                one.bytes_per_image / 1e3,
                s=60,
                marker=markers[compressor],
                color=colours[quantizer],
                **chosen,
            )
        axis.axhline(TARGET_BYTES / 1e3, color="grey", linestyle=":")
        axis.set(xlabel="encode and decode a batch of 50, ms", title=network)
        for which in ("x", "y"):
            plots.log_axis(axis, which)
    axes[0].set_ylabel("payload, kB an image")
    axes[0].text(
        axes[0].get_xlim()[0] * 1.1, TARGET_BYTES / 1e3 * 1.05, "a fifth of the paper's", color="grey"
    )
    handles = [Line2D([], [], color=c, marker="o", ls="", label=name) for name, c in colours.items()]
    handles += [
        Line2D([], [], color="grey", marker=m, ls="", label=f"+{name}" if name else "not compressed")
        for name, m in markers.items()
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


def sizes(settings: Settings, networks: list[Runtime], coarse: Runtime, data: Dataset) -> dict[str, float]:
    """Return images and rounds: of the time, two thirds are for the answers."""
    start_s = time.perf_counter()
    for network in networks:
        measure(network, coarse, data, BATCH, 1)
    batch_s = time.perf_counter() - start_s  # of both, a batch of answers and a round
    batches = settings.batches(BATCH).clip(settings.left_s * 2 / 3 / batch_s)
    rounds = settings.between["repeats"].clip(max(settings.left_s - batches * batch_s, 0.0) / batch_s)
    return {
        "images": settings.images_of(batches, BATCH),
        "repeats": rounds,
        "takes_s": (batches + rounds) * batch_s,
    }


@command(
    minutes=3,
    images=(BATCH, 2000),
    repeats=(9, 25),
    resumable=False,
    smoke={"minutes": 0.05, "repeats": (1, 1)},
)
def main(settings: Settings) -> None:
    """Measure every codec on every network."""
    data = load_dataset()
    coarse = runtimes.load("openvino", zoo.bundle("mobilenet"))
    coarse.warm_up(BATCH)
    networks = [runtimes.load("openvino", zoo.bundle(name), parts=("stem", "body")) for name in NETWORKS]
    settings = settings.sized(lambda: sizes(settings, networks, coarse, data))
    images = settings.images
    parts = [measure(network, coarse, data, images, settings.repeats) for network in networks]
    cube = xr.Dataset(
        {
            name: (
                ("network", "codec"),
                np.stack([part[name] for part in parts]),
                {"units": u, "long_name": text},
            )
            for name, (u, text) in VARIABLES.items()
        }
        | {
            name: ("network", [float(part[name]) for part in parts], {"units": "s", "long_name": text})
            for name, text in ALONE.items()
        },
        {"network": list(NETWORKS), "codec": list(NAMES)},
        {"batch_size": BATCH, "images": images, "rounds": settings.repeats, "threads": 1},
    )
    cube["lost_points"] = 100 * (cube.accuracy.sel(codec="float32") - cube.accuracy)
    cube.lost_points.attrs = {"units": "1", "long_name": "points of accuracy lost against float32"}
    settings.write(cube, figure(cube))
    for network in NETWORKS:
        print(
            f"{network}: the stem takes {1e3 * float(cube.stem_s.sel(network=network)):.1f} ms a batch of {BATCH}"
        )
        print(
            "codec             bytes/image  of the paper's  encode ms  decode ms  points lost  same answers"
        )
        for name in SHOWN:
            one = cube.sel(network=network, codec=name)
            print(
                f"{name:16} {float(one.bytes_per_image):12.0f} {float(one.bytes_per_image) / PAPER_BYTES:15.3f}"
                f" {1e3 * float(one.encode_s):10.2f} {1e3 * float(one.decode_s):10.2f}"
                f" {float(one.lost_points):12.2f} {float(one.same):13.1%}"
            )
    chosen = cube.sel(codec=DEFAULT)
    share = float(((chosen.encode_s + chosen.stem_s) / chosen.coarse_s).max())
    print(
        f"default {DEFAULT}: at most {float(chosen.bytes_per_image.max()) / PAPER_BYTES:.3f} of the paper's bytes"
        f" (target {TARGET_BYTES / PAPER_BYTES:.1f}), {float(chosen.lost_points.max()):.2f} points lost"
        f" (target {TARGET_POINTS}),"
    )
    print(
        f"  encoding {1e3 * float(chosen.encode_s.max()):.1f} ms"
        f" ({1e3 * float((chosen.encode_s + chosen.stem_s).max()):.1f} ms with the stem),"
        f" {share:.2f} of what the coarse network takes in the same rounds (target below 1)"
    )


if __name__ == "__main__":
    main()
