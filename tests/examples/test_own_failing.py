"""Classes of one's own that fail: one line with file and line, nothing hangs, and nothing is left running."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from click.testing import CliRunner
from extending import hddnn, refused
from systems import packaged_system

from hddnn import Job, load_dataset, run
from hddnn.cli.main import main
from hddnn.errors import ExtensionError, InputError, JobLost

CODE = """
import sys
from dataclasses import dataclass
from hddnn.engines.base import EngineOptions
from hddnn.engines.closed import Closed, ClosedEngine
from hddnn.policies import Monitor, Policy
from hddnn.schemes.fixed import EndEdge

def boom(*args, **given):
    raise ValueError("boom")

def leave(*args, **given):
    sys.exit(3)

class PlanRaises(EndEdge):
    plan = boom

class PlanLeaves(EndEdge):
    plan = leave

class PlanIsNone(EndEdge):
    plan = lambda self, topology, job, costs: None

class NoNumber(EndEdge):
    predicted_s = lambda self, topology, job, costs: "soon"

class Endless(EndEdge):
    predicted_s = lambda self, topology, job, costs: float("inf")

class PredictionRaises(EndEdge):
    predicted_s = boom

class LabelRaises(EndEdge):
    label = property(boom)

@dataclass(frozen=True)
class MakingRaises(EndEdge):
    def __post_init__(self):
        boom()

class BeginRaises(Monitor):
    begin = boom

class BeginLeaves(Monitor):
    begin = leave

class TakeRaises(Monitor):
    take = boom

class TakeLeaves(Monitor):
    take = leave

class TakesJunk(Monitor):
    take = lambda self, end, now_s: 5

class TakesForEver(Monitor):
    def take(self, end, now_s):
        return self.make_attempt(end, self.work.plan.upper[0], [0])

class AnsweredRaises(Monitor):
    answered = boom

class NoEngine(Closed):
    make = lambda self, setting: "nothing"

class MakeRaises(Closed):
    make = boom

class AttributesRaise(Closed):
    attributes = boom

class Half(ClosedEngine):
    execute = lambda self, plan, progress=None: None

class NoRecord(Closed):
    make = lambda self, setting: Half(setting.topology, setting.job)

class Bare(ClosedEngine):
    __enter__ = lambda self: None

class NotEntered(Closed):
    make = lambda self, setting: Bare(setting.topology, setting.job)
"""

SYSTEM = packaged_system(2, 1, 1, seconds_per_image=1e-3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "failing.py"
    path.write_text(CODE)
    return path


PLACED = r"failing\.py, line \d+: ValueError: boom$"
LEFT = r"failing\.py, line \d+: .*it calls sys\.exit$"


@pytest.mark.parametrize("engine", ["closed", "sim"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("PlanRaises", PLACED),
        ("PlanLeaves", LEFT),
        ("PlanIsNone", r"scheme plan-is-none: plan returns NoneType, not a Plan"),
        ("NoNumber", r"predicted_s returns 'soon'"),
        ("Endless", r"predicted_s returns inf"),
        ("PredictionRaises", PLACED),
        ("LabelRaises", PLACED),
        ("MakingRaises", r"ValueError: boom$"),
    ],
)
def test_schemes(name: str, says: str, engine: str, file: Path, small_job: Job) -> None:
    with pytest.raises(ExtensionError, match=says):
        run(SYSTEM, small_job, f"{file}:{name}", engine=engine)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("BeginRaises", PLACED),
        ("BeginLeaves", LEFT),
        ("TakeRaises", PLACED),
        ("TakeLeaves", LEFT),
        ("TakesJunk", r"policy takes-junk: take returns 5, which is no Attempt"),
        ("TakesForEver", r"policy takes-for-ever: take goes on for ever"),
        ("AnsweredRaises", PLACED),
    ],
)
def test_policies(name: str, says: str, file: Path, small_job: Job) -> None:
    with pytest.raises(ExtensionError, match=says):
        run(SYSTEM, small_job, "end-edge", engine="sim", policy=f"{file}:{name}")


@pytest.mark.parametrize("name", ["BeginLeaves", "TakeLeaves", "TakesJunk", "TakesForEver", "AnsweredRaises"])
def test_policies_on_real_devices(name: str, file: Path, tmp_path: Path) -> None:
    system = tmp_path / "small.yaml"
    system.write_text(packaged_system(1, 1, 0).to_yaml())
    done = hddnn(
        "run", "--topology", str(system), "--images", "40", "--batch", "10", "--compute", "replay", "--schemes",
        "end-edge", "--policy", f"{file}:{name}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hddnn: ")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NoEngine", "make returns 'nothing', which is no engine"),
        ("MakeRaises", PLACED),
        ("AttributesRaise", PLACED),
        ("NoRecord", "execute returns None, which is no Record"),
        ("NotEntered", "entered it is None; return self there"),
    ],
)
def test_engines(name: str, says: str, file: Path, small_job: Job) -> None:
    with pytest.raises(ExtensionError, match=says):
        run(SYSTEM, small_job, "end-edge", engine=f"{file}:{name}")


def test_what_ran_before_is_kept(file: Path, small_job: Job) -> None:
    with pytest.raises(JobLost, match="predicted_s returns 'soon'") as caught:
        run(SYSTEM, small_job, ["end", f"{file}:NoNumber"], engine="closed")
    assert caught.value.cube is not None
    assert caught.value.cube.scheme.values.tolist() == ["end"]


def test_a_fault_of_hddnns_is_told_in_full(monkeypatch: pytest.MonkeyPatch, small_job: Job) -> None:
    def boom(*args: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("hddnn.schemes.mapping.Mapping.resolved", boom)
    with pytest.raises(ZeroDivisionError):
        run(SYSTEM, small_job, "mapping", engine="closed")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys\nsys.exit(0)\n", "cannot be loaded: it calls sys.exit"),
        ("raise BaseExceptionGroup('many', [ValueError()])\n", "cannot be loaded: "),
        (
            "from hddnn.schemes.fixed import EndEdge\nclass A(EndEdge):\n    name = ''\n",
            "A has the name ''; take up to 40 letters",
        ),
        (
            "from hddnn.policies import Monitor\nclass A(Monitor):\n    name = 'a\\nb'\n",
            r"A has the name 'a\nb'; take up to 40 letters",
        ),
        ("from hddnn.engines.closed import Closed\nclass A(Closed):\n    name = 5\n", "A has the name 5; "),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for option in ("--scheme", "--policy", "--engine"):
        file = f"own{option}.py"  # a file that was loaded is not loaded again
        Path(file).write_text(code)
        words = ["run", option, file]
        done = CliRunner().invoke(main, words)
        refused(CompletedProcess(words, done.exit_code, done.stdout, done.stderr), says)


def test_an_option_without_a_value_says_what_it_lacks() -> None:
    with pytest.raises(InputError, match="scheme mapping: option n_map needs a value, as in mapping:n_map="):
        run(SYSTEM, Job(load_dataset(), images=20), "mapping:n_map", engine="closed")
