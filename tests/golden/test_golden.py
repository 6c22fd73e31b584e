"""Golden records: what closed and sim answer for a grid of settings, to the last bit, however the code looks.

`python tests/golden/test_golden.py` writes the file anew: only where numbers are meant to change.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "records.json"

FAULTS = {
    "none": "",
    "crash": "crash:end-1@3,crash:edge-1@0.2s",
    "hang": "hang:edge-2@0.1s+0.4s,drop:end-3~0.2",
    "slow": "slow:cloud-1x3@0s,partition:edge-1@0.3s+0.5s",
}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the options of each run; all four schemes are run in each."""
    for trust, encode_at in itertools.product(("dependable", "undependable"), ("end", "edge")):
        if (trust, encode_at) == ("undependable", "edge"):
            continue  # an undependable edge device has nothing to encode
        where = {"trust": trust, "encode_at": encode_at}
        yield f"closed {trust} {encode_at}", {**where, "engine": "closed"}
        for policy, (name, faults) in itertools.product(
            ("none", "reassign", "monitor", "hedge"), FAULTS.items()
        ):
            run = {**where, "engine": "sim", "policy": policy, "faults": faults}
            yield f"sim {trust} {encode_at} {policy} {name}", run


def digests(trust: str, **options: Any) -> dict[str, str]:
    """Run a case, and return a hash of each variable of its cube."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from systems import packaged_system

    from hddnn import Job, load_dataset, run

    system = packaged_system(4, 2, 1, seconds_per_image=1e-3, latency_s=0.02, edge_trust=trust)
    job = Job(load_dataset(), images=730, batch_size=20, seed=7)
    # Without a compressor the size of features is the same on every machine.
    cube = run(system, job, ["end", "end-cloud", "end-edge", "mapping"], codec="uint8", **options)
    found = {}
    for name, variable in cube.variables.items():
        values = variable.values
        data = (
            "\0".join(values.ravel().tolist()).encode()
            if values.dtype.kind in "UO"
            else np.ascontiguousarray(values)
        )
        found[str(name)] = blake2b(data, digest_size=6).hexdigest()
    return found


@pytest.mark.parametrize(("name", "options"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_the_record_is_the_golden_one(name: str, options: dict[str, Any]) -> None:
    assert digests(**options) == json.loads(GOLDEN.read_text())[name]


def test_the_golden_records_are_of_different_runs() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert list(golden) == [name for name, _ in cases()]
    assert len({record["makespan_s"] for record in golden.values()}) > 20


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: digests(**options) for name, options in cases()}, indent=0) + "\n")
