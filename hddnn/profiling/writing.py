"""Write a topology file with measured numbers; what they spread by stands in its comments."""

from __future__ import annotations

import os
from pathlib import Path

from hddnn._util.paths import check_place, store
from hddnn.errors import InputError
from hddnn.profiling.measuring import Measured
from hddnn.profiling.report import batches, link_cells, network_cells
from hddnn.system.devices import Device
from hddnn.system.topology import Topology, packaged_topologies

SUFFIXES = (".yaml", ".yml")


def check_out(spec: str, out: Path | None, *, in_place: bool) -> Path:
    """Return where the file goes. Raises InputError unless that can be written; makes nothing.

    spec: the topology as it was given. A file's comments would be lost, so it is not replaced unless in_place.
    """
    if (out is None) != in_place:
        raise InputError("give either --out FILE or --in-place")
    packaged = spec in packaged_topologies()
    if out is None:
        if packaged:
            raise InputError(f"{spec} is a packaged topology, which stays as it is; give --out FILE")
        out = Path(spec)
    elif not packaged and out.exists() and Path(spec).exists() and out.samefile(spec):
        raise InputError(
            f"{out} is the topology itself, whose comments would be lost; give --in-place for that"
        )
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out} is no name of a topology file; let it end with .yaml")
    check_place(out)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    return out


def write(measured: Measured, out: Path) -> None:
    """Write the measured topology, replacing what was there. Raises HddnnError when that fails, as on a full disk.

    Own networks that are given by their place are so relative to the file.
    """
    topology = measured.topology
    placed = tuple(_relative(device, out.absolute().parent) for device in topology.devices)
    text = Topology(**{**dict(topology), "devices": placed}).to_yaml()
    store(f"{_comment(measured)}\n{text}", out)


def _relative(device: Device, folder: Path) -> Device:
    def place(network: str) -> str:
        if "/" not in network:
            return network
        relative = os.path.relpath(network, folder)
        return relative if "/" in relative else f"./{relative}"

    return device.placed(place)


def _comment(measured: Measured) -> str:
    lines = [
        f"Measured by `hddnn profile`: {batches(measured)}; features in {measured.codec}.",
        "Medians, and the quartiles; of links the outermost quartiles of all pairs of devices.",
    ]
    for one in measured.networks:
        device, network, ms, quartiles, batch_ms, image_ms = network_cells(one)
        whole = f"{ms} ms for {measured.batch_size} ({quartiles})"
        lines.append(f"{device}, {network}: {whole}; {batch_ms} ms a batch + {image_ms} ms an image")
    for link in measured.links:
        between, _, latency, latencies, rate, rates = link_cells(link)
        told = f"{rate} Mbit/s ({rates})" if link.bandwidth_bps else "bandwidth too high to tell"
        lines.append(f"{between}: {latency} ms ({latencies}), {told}")
    return "\n".join(f"# {line}" for line in lines)
