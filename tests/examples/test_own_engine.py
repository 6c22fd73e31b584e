"""An engine of one's own: by path and by entry point, in a run and a sweep, and told in one line when wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import xarray as xr
from extending import EXAMPLES, ROOT, hddnn, installed, python, refused

EXAMPLE = EXAMPLES / "own_engine.py"
PAGE = ROOT / "docs" / "how-to" / "engine.md"
WORDS = ("run", "--topology", "laptop", "--images", "500", "--schemes", "end-edge", "--out", "cube.nc")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a package that has the example as its engine `careful`."""
    folder = tmp_path_factory.mktemp("site")
    return installed(folder, EXAMPLE.read_text(), "hddnn.engines", careful="my_site:Cautious")


def makespan_s(folder: Path) -> float:
    with xr.open_dataset(folder / "cube.nc") as cube:
        return float(cube.makespan_s.item())


def test_by_path_with_options(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "own.py")
    taken_s = []
    for engine in ("sim", "own.py:Cautious:rounds=1", "own.py:Cautious:rounds=5"):
        done = hddnn(*WORDS, "--engine", engine, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        taken_s.append(makespan_s(tmp_path))
    assert taken_s[0] == taken_s[1] < taken_s[2]
    assert "simulated, the slowest of a few rounds" in done.stdout
    with xr.open_dataset(tmp_path / "cube.nc") as cube:
        assert (cube.attrs["engine"], cube.attrs["times"], cube.attrs["rounds"]) == (
            "cautious",
            "simulated",
            5,
        )


def test_by_the_entry_point_of_an_installed_package(tmp_path: Path, site: Path) -> None:
    done = hddnn(*WORDS, "--engine", "careful:rounds=2", cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr


def test_swept(tmp_path: Path, site: Path) -> None:
    done = python(
        str(ROOT / "scenarios" / "pipelining.py"), "--engine", "careful", "--images", "400", "--schemes",
        "end-edge,mapping", "--out", "cube.nc", cwd=tmp_path, path=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "cube.nc") as cube:
        assert cube.attrs["engine"] == "cautious"
        assert (cube.makespan_s > 0).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--engine", "carefull"), "did you mean 'careful'? known: dask, sim, closed, careful"),
        (("--engine", "careful:rounds=0"), "rounds is 0; it must be at least 1"),
        (("--engine", "careful:turns=2"), "engine careful has no option turns; it has rounds"),
        (("--engine", "careful", "--time-scale", "2"), "engine careful has no option time_scale; it has rounds"),
        (("--engine", "careful", "--journal", "log"), "engine cautious runs no process that could be killed"),
        (("--engine", "my_site:CautiousEngine"), "my_site:CautiousEngine is no engine: it does not derive from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(
    words: tuple[str, ...], says: str, tmp_path: Path, site: Path
) -> None:
    refused(hddnn(*WORDS, *words, cwd=tmp_path, path=site), says)


def test_the_page_shows_the_example() -> None:
    shown = re.search(r'```python title="my_site.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert shown is not None
    code = EXAMPLE.read_text()
    assert shown[1].endswith(code[code.index("@dataclass") : code.index("\n\n\ndef main")] + "\n")
