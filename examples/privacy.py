"""What leaves the end devices when the server is trusted, and when it is not: one word of the topology differs.

    python examples/privacy.py

Simulated, so that it takes seconds; `hddnn run` sends the same payloads in earnest. Features are no secret: see
docs/how-to/privacy.md.
"""

from __future__ import annotations

import xarray as xr

from hddnn import Job, Topology, load_dataset, run

IMAGE_BYTES = 32 * 32 * 3


def site(trust: str) -> Topology:
    """Return a site with two cameras, a gateway in the house, and a server that may or may not see images."""
    return Topology.from_dict(
        {
            "name": "site",
            "devices": [
                {"name": "camera", "count": 2, "tier": "end", "network": "mobilenet"},
                {"name": "gateway", "tier": "edge", "network": "resnet34"},
                {"name": "server", "tier": "cloud", "network": "wrn16_4", "trust": trust},
            ],
            "links": [
                {"from": "end", "to": "edge"},  # in the house: it costs nothing
                {"from": "end", "to": "cloud", "latency_s": 0.02, "bandwidth_bps": 50e6},
                {"from": "edge", "to": "cloud", "latency_s": 0.02, "bandwidth_bps": 50e6},
            ],
        }
    )


def show(cube: xr.Dataset, what: str) -> None:
    """Print what each device sent on, and how large it was beside the image itself."""
    sent = cube[[name for name in cube.data_vars if str(name).startswith("transfer_")]].to_dataframe()
    sent = sent[sent.transfer_source != "client"]
    print(what)
    for (source, target, kind), payloads in sent.groupby(
        ["transfer_source", "transfer_target", "transfer_kind"]
    ):
        size = "smaller" if payloads.transfer_n_bytes.sum() / (len(payloads) * 50) < IMAGE_BYTES else "larger"
        size = "as large as the images" if kind == "images" else f"{size} than the images"
        print(f"  {source:8} to {target:8} {kind:8} {len(payloads)} payloads, {size}")
    to_server = set(sent[sent.transfer_target == "server"].transfer_kind)
    print(f"  the server saw: {', '.join(sorted(to_server))}")


def main() -> None:
    """Run End-Cloud on three sites."""
    job = Job(load_dataset("sample"), images=200, batch_size=50)
    show(run(site("dependable"), job, ["end-cloud"], engine="sim"), "a server that is trusted")
    show(run(site("undependable"), job, ["end-cloud"], engine="sim"), "a server that is not: cameras encode")
    by_edge = run(site("undependable"), job, ["end-cloud"], engine="sim", encode_at="edge")
    show(by_edge, "a server that is not: the gateway encodes")


if __name__ == "__main__":
    main()
