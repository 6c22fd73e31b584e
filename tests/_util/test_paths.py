"""Writing beside a place and moving it there: the old or the new, never half of one, and no rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from hddnn._util.paths import beside, check_place, written
from hddnn.errors import HddnnError, InputError


def half_write(out: Path, error: BaseException, text: str = "half") -> None:
    """Fail in the middle of writing a file."""
    with written(out) as half:
        half.write_text(text)
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "made" / "cube.nc"
    with written(out) as half:
        half.write_text("1")
        assert not out.exists()
        assert half.suffix == ".nc"  # by which some writers tell the format
        with written(out) as another:  # of another process, or thread
            another.write_text("2")
            assert another != half
        assert out.read_text() == "2"
    assert out.read_text() == "1"
    assert names(out.parent) == ["cube.nc"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_what_fails_leaves_the_old_file(tmp_path: Path, kind: type[BaseException]) -> None:
    out = tmp_path / "cube.nc"
    out.write_text("old")
    with pytest.raises(kind):
        half_write(out, kind())
    assert out.read_text() == "old"
    assert names(tmp_path) == ["cube.nc"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "cube.zarr"
    for name in ("one", "two"):
        with written(out) as half:
            half.mkdir()
            (half / name).touch()
        assert names(out) == [name]
    with pytest.raises(KeyError):
        half_write(out, KeyError())
    assert names(out) == ["two"]
    assert names(tmp_path) == ["cube.zarr"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    full = OSError(28, "No space left")
    with pytest.raises(HddnnError, match=r"^cannot write .*cube\.nc: No space left$"):
        half_write(tmp_path / "cube.nc", full)
    with pytest.raises(HddnnError, match=r"^cannot write .*cube\.nc: "):
        half_write(tmp_path / "file" / "cube.nc", full)
    with pytest.raises(OSError, match="No space left"), beside(tmp_path / "cube.nc"):
        raise full
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "place", ["{long}.nc", "{long}/cube.nc", "not/there/{long}/cube.nc", "not/there/{long}", "n/" * 3000]
)
def test_a_name_that_is_too_long_is_refused_wherever_it_stands(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match=r"^cannot write to .*too long"):
        check_place(tmp_path / place.format(long="x" * 400))
    assert names(tmp_path) == []


def test_the_longest_name_is_taken(tmp_path: Path) -> None:
    check_place(tmp_path / "not" / "there" / ("x" * 255))
    with pytest.raises(InputError, match="take at most 255 bytes"):
        check_place(tmp_path / "not" / "there" / ("ä" * 128))
