"""What an observer sees of images sent as features, by split depth and noise: privacy, accuracy, bytes, time.

Each network is split after its stem and further on; what is sent carries noise of so many standard deviations
and goes through the default codec. White box: the better of gradient descent (stem: least squares) and a decoder;
black box: the decoder. Settings that lose more than 10 points of accuracy are not attacked. A setting that comes
out below the line is attacked again with three times the work, until one of the network's stays below it.
  SSIM     of 16 images, white box / black box; unrecognizable below 0.3 by He et al. 2019
  lost     accuracy on the 2,000 packaged images, percentage points below that without noise and codec
  ms       of the end device's part for an image; one thread; the stem in OpenVINO, more in torch

    python scenarios/privacy.py --out results/privacy.nc
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hddnn import zoo
from hddnn._util import terminal
from hddnn._util.bars import track
from hddnn.cli.console import fail
from hddnn.errors import InputError
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sizing import Between
from hddnn.privacy.codec import DEFAULT

try:
    import torch

    from hddnn.audit import Auditor, Effort, Setting
    from hddnn.audit.quality import UNRECOGNIZABLE
except ModuleNotFoundError as lacking:
    name = str(lacking.name).partition(".")[0].replace("skimage", "scikit-image")
    fail(f"an audit needs {name}: pip install 'hddnn[torch]'", InputError.exit_code)

DEPTHS = {
    "mobilenet": ("stem", "block2", "block4", "block6", "block12"),
    "resnet34": ("stem", "layer1", "layer2", "layer3"),
    "wrn16_4": ("stem", "group1", "group2", "group3"),
}
NOISES = (0.0, 0.3, 1.0, 2.0)
MOST_STEPS, LEAST_STEPS = (200, 90), 4  # of decoder and gradient descent
CODECS = ("float32", "float16", "uint8", "uint6+zstd", "uint4+zstd")  # on the stem, without noise
MOST_ATTACKED, MOST_LOST = 10.0, 3.0  # points of accuracy
DIMS = ("network", "level", "noise")
VARIABLES = {
    "white_psnr_db": (DIMS, "dB", "white-box PSNR"),
    "white_ssim": (DIMS, "1", "white-box SSIM"),
    "black_psnr_db": (DIMS, "dB", "black-box PSNR"),
    "black_ssim": (DIMS, "1", "black-box SSIM"),
    "held": (
        DIMS,
        "1",
        "1: below the line in a second attack with more work, 0: not, NaN: not attacked again",
    ),
    "lost_points": (DIMS, "1", "accuracy lost, percentage points"),
    "payload_bytes": (DIMS, "byte", "bytes sent of an image"),
    "end_device_s": (DIMS[:2], "s", "end device's part, time of an image"),
    "stem_psnr_db": (("network", "codec"), "dB", "white-box PSNR after the stem, without noise"),
    "stem_ssim": (("network", "codec"), "1", "white-box SSIM after the stem, without noise"),
    "stem_bytes": (("network", "codec"), "byte", "bytes sent of an image after the stem, without noise"),
}
SEEN = ("white_psnr_db", "white_ssim", "black_psnr_db", "black_ssim")
COLOURS = ("#009E73", "#0072B2", "#E69F00", "#D55E00", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v")


@click.option("--networks", default=",".join(DEPTHS))
@click.option("--decoder-steps", type=click.IntRange(min=1), help="[default: by --minutes]")
@click.option("--gradient-steps", type=click.IntRange(min=1), help="[default: by --minutes]")
@click.option("--levels", default=5, help="Depths, from the stem on.")
@click.option("--noises", default=len(NOISES), help="Of the grid's noises, the first so many.")
@click.option("--codecs", default=len(CODECS), help="Of those tried on the stem, the first so many.")
@click.option("--threads", default=2)
@command(
    minutes=60, images=16, resumable=False,
    smoke={
        "minutes": 0.1, "networks": "mobilenet", "images": 2, "levels": 2, "noises": 1, "codecs": 2, "threads": 1,
    },
)  # fmt: skip
def main(
    settings: Settings,
    networks: str,
    decoder_steps: int | None,
    gradient_steps: int | None,
    levels: int,
    noises: int,
    codecs: int,
    threads: int,
) -> None:
    """Audit the grid."""
    images = settings.images
    torch.set_num_threads(threads)
    if settings.smoke:  # an attack to look at would take as long as those that count
        settings = settings.using(sizes={"decoder_steps": LEAST_STEPS, "gradient_steps": LEAST_STEPS})
    else:
        settings = settings.sized(lambda: steps(settings, networks.split(","), levels, noises, codecs))
    decoder_steps = decoder_steps or int(settings.sizes["decoder_steps"])
    gradient_steps = gradient_steps or int(settings.sizes["gradient_steps"])
    effort = Effort(decoder_steps, gradient_steps, tuned=4, learned=1000)
    thorough = Effort(3 * decoder_steps, 3 * gradient_steps)
    names = networks.split(",")
    sizes: dict[str, Any] = {
        "network": names,
        "level": list(range(min(levels, max(len(DEPTHS[name]) for name in names)))),
        "noise": list(NOISES[:noises]),
        "codec": list(CODECS[:codecs]),
    }
    values = {
        name: np.full([len(sizes[dim]) for dim in dims], np.nan) for name, (dims, _, _) in VARIABLES.items()
    }
    depth = np.array([[*DEPTHS[name], "", ""][: len(sizes["level"])] for name in names])
    cells = [(n, i) for n, i in np.ndindex(*depth.shape) if depth[n, i]]
    for n, i in track(cells, "splits", terminal.bars()):
        bundle = zoo.bundle(names[n])
        auditor = Auditor(bundle, depth[n, i])
        for k, noise in enumerate(sizes["noise"]):
            setting = Setting(bundle, "white-box", depth[n, i], noise, DEFAULT, images, effort=effort)
            found = _measured(auditor, setting)
            if found["lost_points"] <= MOST_LOST and _below(found) and not (values["held"][n] == 1).any():
                again = _measured(auditor, replace(setting, effort=thorough))
                found |= {key: max(found[key], again[key]) for key in SEEN}
                found["held"] = float(_below(found))
            for name, value in found.items():
                values[name][(n, i) if name == "end_device_s" else (n, i, k)] = value
        for c, name in enumerate(sizes["codec"] if i == 0 else ()):
            setting = Setting(bundle, "white-box", "stem", 0.0, name, images, effort=effort)
            best = auditor.audit(setting).best
            values["stem_psnr_db"][n, c] = best.psnr_db.mean()
            values["stem_ssim"][n, c] = best.ssim.mean()
            values["stem_bytes"][n, c] = auditor.payload_bytes(0.0, name, setting.seed)
    data = {
        name: (dims, values[name], {"units": units, "long_name": text})
        for name, (dims, units, text) in VARIABLES.items()
    }
    attributes = {"codec_of_grid": DEFAULT, "images": images, "threads": threads}
    attributes |= {"decoder_steps": decoder_steps, "gradient_steps": gradient_steps}
    cube = xr.Dataset(data, {**sizes, "depth": (("network", "level"), depth)}, attributes)
    settings.write(cube, figure(cube))
    for line in report(cube):
        print(line)


def steps(settings: Settings, names: list[str], levels: int, noises: int, codecs: int) -> dict[str, float]:
    """Return the attacks' steps: all, or as many as fit into the time.

    An attack after the stem of the quickest network is timed; those of others take longer as the networks do.
    """
    bundles = {name: zoo.bundle(name) for name in names}
    own_s = {name: bundle.card.seconds_per_image for name, bundle in bundles.items()}
    quickest = min(names, key=lambda name: own_s[name])
    auditor = Auditor(bundles[quickest], "stem")
    start_s = time.perf_counter()
    effort = Effort(LEAST_STEPS, LEAST_STEPS, tuned=4, learned=1000)
    auditor.audit(
        Setting(bundles[quickest], "white-box", "stem", 0.0, DEFAULT, settings.images, effort=effort)
    )
    attack_s = time.perf_counter() - start_s
    attacks = {name: 2 * noises * min(levels, len(DEPTHS[name])) + codecs for name in names}
    least_s = sum(attacks[name] * attack_s * own_s[name] / own_s[quickest] for name in names)
    share = settings.left_s / least_s * LEAST_STEPS / max(MOST_STEPS)
    found = [Between(LEAST_STEPS, most).clip(share * most) for most in MOST_STEPS]
    takes_s = least_s * max(found) / LEAST_STEPS
    return {"decoder_steps": found[0], "gradient_steps": found[1], "takes_s": takes_s}


def _below(found: dict[str, float]) -> bool:
    """Return whether no attack reaches the line."""
    return max(found["white_ssim"], found["black_ssim"]) < UNRECOGNIZABLE


def _measured(auditor: Auditor, setting: Setting) -> dict[str, float]:
    """Return the variables of a cell; no SSIM where too much accuracy is lost for an attack to matter."""
    defence = auditor.defence(setting.noise, setting.codec, setting.seed)
    found = {
        "lost_points": defence.lost_points,
        "payload_bytes": defence.payload_bytes,
        "end_device_s": defence.end_device_s,
    }
    if defence.lost_points > MOST_ATTACKED:
        return found
    audit = auditor.audit(setting)
    best = audit.best
    if "decoder" not in audit.found:  # a white box's is the black box's
        audit = auditor.audit(replace(setting, attack="black-box"))
    decoded = audit.found["decoder"]
    return found | {
        "white_psnr_db": best.psnr_db.mean(),
        "white_ssim": best.ssim.mean(),
        "black_psnr_db": decoded.psnr_db.mean(),
        "black_ssim": decoded.ssim.mean(),
    }


def report(cube: xr.Dataset) -> Iterator[str]:
    """Yield a line for each depth, then for each network what the attacks leave of it."""
    noises = cube.noise.values
    yield f"{'':23}" + "".join(f"{f'noise {s:g}':>23}" for s in noises)
    yield f"{'network':10}{'after':8}{'ms':>5}" + f"{'SSIM':>11}{'lost':>6}{'B':>6}" * len(noises)
    for n, name in enumerate(cube.network.values):
        for i, depth in enumerate(cube.depth.values[n]):
            if depth:
                row = cube.isel(network=n, level=i)
                cells = "".join(f"{_cell(row.isel(noise=k)):>23}" for k in range(len(noises)))
                yield f"{name if i == 0 else '':10}{depth:8}{1e3 * float(row.end_device_s):5.2f}{cells}"
    for n, name in enumerate(cube.network.values):
        stem = cube.isel(network=n)
        rates = ", ".join(f"{c} {float(stem.stem_psnr_db.sel(codec=c)):.0f}" for c in cube.codec.values)
        yield f"{name}: white box on the stem, dB by codec: {rates}"
    for n, name in enumerate(cube.network.values):
        yield conclusion(cube.isel(network=n), str(name))


def _cell(one: xr.Dataset) -> str:
    white, black = float(one.white_ssim), float(one.black_ssim)
    seen = "-" if np.isnan(white) else f"{white:4.2f}/{black:4.2f}"
    return f"{seen:>9}{float(one.lost_points):6.1f}{float(one.payload_bytes):6.0f}"


def conclusion(one: xr.Dataset, name: str) -> str:
    """Return the cheapest setting that no attack here recognizes, at a bearable loss of accuracy."""
    at = np.argwhere((one.held == 1).values)
    if not len(at):
        least = float(np.fmax(one.white_ssim, one.black_ssim).where(one.lost_points <= MOST_LOST).min())
        return (
            f"{name}: nothing stays below SSIM {UNRECOGNIZABLE} with at most {MOST_LOST:g} points lost; least is "
            f"{least:.2f}"
        )
    row = one.isel(level=at[0][0], noise=at[0][1])
    return (
        f"{name}: below {UNRECOGNIZABLE} first after {row.depth.item()}, noise {float(row.noise):g}: SSIM "
        f"{float(row.white_ssim):.3f} white, {float(row.black_ssim):.3f} black; "
        f"{float(row.lost_points):.1f} points, {float(row.payload_bytes):.0f} B, "
        f"{1e3 * float(row.end_device_s):.2f} ms"
    )


def figure(cube: xr.Dataset) -> Figure:
    """Draw SSIM against accuracy lost: a panel a network, a line a depth, dots larger with noise."""
    made = Figure(figsize=(4.7 * cube.sizes["network"], 5.4), layout="constrained")
    panels = made.subplots(1, cube.sizes["network"], sharey=True, squeeze=False)[0]
    for n, axes in enumerate(panels):
        one = cube.isel(network=n)
        handles = []
        for i, depth in enumerate(one.depth.values):
            row = one.isel(level=i)
            if not depth:
                continue
            seen = np.fmax(row.white_ssim, row.black_ssim)
            lost = row.lost_points.clip(min=0)
            axes.plot(lost, seen, color=COLOURS[i], lw=1.2)
            for k in range(cube.sizes["noise"]):
                axes.plot(lost[k], seen[k], MARKERS[i], color=COLOURS[i], mec="black", ms=5 + 2.5 * k)
            label = f"{depth}, {1e3 * float(row.end_device_s):.2f} ms"
            handles.append(Line2D([], [], color=COLOURS[i], marker=MARKERS[i], mec="black", label=label))
        axes.axhline(UNRECOGNIZABLE, color="black", ls="--", lw=1)
        axes.axvline(MOST_LOST, color="black", ls=":", lw=1)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.15, MOST_ATTACKED * 1.15)
        axes.set_xticks([0, 1, 3, 10], ["0", "1", "3", "10"])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("accuracy lost (points)")
        axes.set_title(str(one.network.values))
        under = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 3, "frameon": False}
        axes.legend(handles=handles, title="split after, ms on the end device", fontsize=8, **under)
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel("SSIM of the stronger attack")
    sizes = [
        Line2D([], [], ls="", marker="o", color="#888888", mec="black", ms=5 + 2.5 * k, label=f"noise {s:g}")
        for k, s in enumerate(cube.noise.values)
    ]
    lines = [
        Line2D([], [], color="black", ls="--", lw=1, label="unrecognizable below (He et al. 2019)"),
        Line2D([], [], color="black", ls=":", lw=1, label=f"{MOST_LOST:g} points"),
    ]
    handles = [*sizes, *lines]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return made


if __name__ == "__main__":
    main()
