"""One word for one thing: what code and pages used to call by another name keeps the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What was said before -> what is said now. Words that are good English are found where they are names alone:
#: of a class, of what is called, of an attribute.
OLD = {
    r"(?i)scenario[ _-](files?|seconds?|times?|s)\b|seconds? of (the|a) scenario": "topology file, model time",
    r"(?i)\bparcels?\b|bundles? of (batches|images)": "BatchGroup, upload",
    r"\bvia\s*[=:(\]]|\.via\b|\bvia_|_via\b": "encoder",
    r"\.(un)?dependable\b|\b(un)?dependable_\w|\w_(un)?dependable\b|\b(un)?dependable\s*=[^=]": "trusted",
    r"(?i)\bledgers?\b": "transfers",
    r"\bCourse\b": "PlannedRun",
    r"\bclass (Told|Hearing)\b|\b(Told|Hearing)\s*[](),|]|\bBook\b": "Listener, RecordSink, the driver's inbox",
    r"\bdef _?(tell|heard|hearing)(_\w+)?\(|\.heard\b|\.tell\(\w": "notify, on_message",
    r"(?i)\broster\b": "membership, Membership",
    r"\bPeers?\b|\bpeers\.py\b|(dask\.|client\.)peers\b": "DiscoveredDevice",
    r"\bkeeping\s*[=.(]|(dask\.|client\.|import )keeping\b": "supervisor",
    r"\bclass Watch\b|\bWatch\(|\b(class )?Heart\b(?! )": "HeartbeatMonitor, HeartbeatSender",
    r"(?i)(\b|_)afflict\w*": "DeviceFaults",
    r"\bTroubles\b|(sim\.|import )troubles\b|\bstruck\b": "FaultInjector, faulted",
    r"\bclass Machine\b|\bMachine\(|(sim\.|import )(machine|pieces)\b": "SimDevice, state",
    r"(?i)\bagenda\b": "event queue",
    r"\bclass Stages\b|\bStages\(": "Pipeline",
    r"\bclass (Stand|Ran)\b|\b(Stand|Ran)\(": "Testbed, RunResult",
    r"\bstand_in\w*|\w_stand_in\b": "the paper's substitute",
}
# Not yet: `end` and `upper` as the arrays of a plan (hop), `card.task` (a Task and its label level), a lower bound
# where a device runs at its own speed (predicted). They change with routes and tasks.

SUFFIXES = {".py", ".md", ".yaml", ".yml", ".html", ".css", ".js", ".cfg", ".ipynb"}


def files() -> Iterator[Path]:
    """Yield what is looked at; the changelog tells what things were called."""
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    for folder in ("hddnn", "docs", "scenarios"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.stem != "changelog" and "__pycache__" not in path.parts:
                yield path


def found(old: str, text: str) -> list[tuple[int, str]]:
    """Return where an old word stands in a text: line, and that line."""
    lines = text.splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if re.search(old, line)]


@pytest.mark.parametrize("old", OLD, ids=list(OLD.values()))
def test_an_old_word_is_gone(old: str) -> None:
    said = [
        f"{path.relative_to(ROOT)}:{number}: {line[:120]}"
        for path in files()
        for number, line in found(old, path.read_text(encoding="utf-8"))
    ]
    assert not said, f"say {OLD[old]} instead:\n" + "\n".join(said)


@pytest.mark.parametrize(
    "line",
    [
        "scenario_s = 3.0", "in seconds of the scenario", "a parcel of images", "a bundle of batches",
        "group.via = edge", "if device.dependable:", "dependable_uppers = 2", "ledger: Ledger", "class Course:",
        "class Told(Protocol):", "def tell(self) -> None:", "self._told.heard(event)", "roster = Roster()",
        "peer: Peer", "keeping = keep()", "class Watch:", "Heart()", 'SET_FAULT = "hddnn_afflict"',
        "Troubles(job)", "devices that are struck", "class Machine:", "agenda: list[float]", "Stages(spec)",
        "Ran(1, 2)", "use a stand_in_network here",
    ],
)  # fmt: skip
def test_an_old_word_is_found(line: str) -> None:
    assert any(found(old, line) for old in OLD)


@pytest.mark.parametrize(
    "line",
    [
        "Told in a line, once.", "trust: undependable", "Watch it live: hddnn dashboard", "Stand before it.",
        "Told of a bench's course.", "place = stream.tell()", "a device that hears no heartbeat",
        "written for a machine", "Stages that are left out are none.",
    ],
)  # fmt: skip
def test_english_is_left_alone(line: str) -> None:
    assert not any(found(old, line) for old in OLD)
