"""What the user tells of a network: labels, sizes, statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.errors import BundleError
from hddnn.importing.facts import Facts, read_labels

NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1)


@given(names=st.lists(NAMES, min_size=1, unique=True), ends=st.sampled_from(["", "\n", "\r\n", "\n\n \n"]))
def test_a_labels_file_holds_one_name_a_line(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], ends: str
) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_bytes(("\n".join(names) + ends).encode())
    assert read_labels(file) == read_labels(str(file)) == read_labels(names) == tuple(names)


def test_windows_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffcat\r\ngrey dog\r\n".encode())
    assert read_labels(file) == ("cat", "grey dog")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "labels.txt: holds no label"),
        (b"\n\n", "labels.txt: holds no label"),
        (b"cat\n\ndog", "labels.txt: line 2: is empty"),
        (b"cat\ndog\ncat\n", "labels.txt: line 3: 'cat' stands in line 1 already"),
        (b"cat\nd\x00g", "labels.txt: line 2: is not printable text"),
        (b"cat\n\xff\n", "labels.txt: is not UTF-8 text"),
        (None, r"labels.txt: cannot be read \(No such file or directory\)"),
    ],
)
def test_wrong_labels_files(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(BundleError, match=said) as error:
        read_labels(tmp_path / "labels.txt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"task": "finest"}, "task is 'finest'; it must be one of coarse, fine"),
        ({"image_size": (0, 32)}, "the images' size is 0x32; give height x width in pixels, such as 32x32"),
        ({"mean": (0.5,)}, "mean is 0.5; it must be 3 numbers"),
        ({"std": (0.5, 0.5, float("nan"))}, "std is 0.5, 0.5, nan; it must be 3 numbers"),
        ({"std": (0.5, 0.0, 0.5)}, "std is 0.5, 0, 0.5; it must be above 0"),
        ({"std": (0.5, 1e-300, 0.5)}, "std is 0.5, 1e-300, 0.5; it is of images scaled to 0..1"),
        ({"mean": (1e300, 0.0, 0.0)}, r"mean is 1e\+300, 0, 0; it is of images scaled"),
        ({"image_size": (10**7, 32)}, "size is 10000000x32; a side has at most 4096 pixels"),
        ({"image_size": 32}, r"the images' size is 32; give height x width in pixels, such as \(32, 32\)"),
    ],
)
def test_wrong_facts(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Facts(("cat",), **wrong)


def test_labels_that_are_no_text() -> None:
    with pytest.raises(BundleError, match="labels: must be text; give the name of each class"):
        read_labels(range(3))  # type: ignore[arg-type]
