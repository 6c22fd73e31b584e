"""The store of own networks: whole networks or none, and packaged ones whatever state it is in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hddnn import zoo
from hddnn._util.paths import networks_dir
from hddnn.cli.main import main
from hddnn.errors import BundleError, InputError
from hddnn.zoo import store


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HDDNN_NETWORKS", str(tmp_path / "networks"))
    return tmp_path / "networks"


def put(name: str) -> None:
    """Keep a copy of a packaged network under a name of its own."""
    with store.kept(name, replace=True) as folder:
        shutil.copytree(zoo.bundle("mobilenet").path, folder, dirs_exist_ok=True)


def test_kept_and_removed(place: Path) -> None:
    put("gulls")
    assert zoo.own_names() == ("gulls",)
    put("gulls")  # replaces
    zoo.remove("gulls")
    assert zoo.own_names() == ()
    assert not list(place.iterdir())


def test_what_fails_leaves_the_old_network(place: Path) -> None:
    put("gulls")
    (place / "gulls" / "mark").touch()
    with (
        pytest.raises(BundleError, match="cannot keep a network"),
        store.kept("gulls", replace=True) as folder,
    ):
        (folder / "nowhere" / "half").touch()
    assert (place / "gulls" / "mark").exists()
    assert [path.name for path in place.iterdir()] == ["gulls"]


def test_when_the_place_is_taken_meanwhile_the_old_network_comes_back(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("gulls")
    check, asked = store.check_free, []

    def refuse_the_second_time(name: str, *, replace: bool = False) -> None:
        asked.append(name)
        if len(asked) == 2:
            raise BundleError("somebody was quicker")
        check(name, replace=replace)

    monkeypatch.setattr(store, "check_free", refuse_the_second_time)
    with pytest.raises(BundleError, match="somebody was quicker"):
        put("gulls")
    assert [path.name for path in place.iterdir()] == ["gulls"]
    assert zoo.bundle("gulls").card.name == "mobilenet"


def test_a_store_that_cannot_be_looked_into_leaves_the_packaged_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(path: Path, pattern: str) -> None:
        if path == networks_dir():
            raise PermissionError(13, "Permission denied")
        return glob(path, pattern)

    glob = Path.glob
    monkeypatch.setattr(Path, "glob", locked)
    assert zoo.names() == zoo.packaged_names()


@pytest.mark.parametrize(
    "name", ["a" * 101, "", ".", "a/b", "a b", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BundleError, match="is no network's name; use letters, digits"):
        store.check_free(name)


def test_a_folder_that_is_no_network_is_in_the_way(place: Path) -> None:
    (place / "gulls").mkdir(parents=True)
    with pytest.raises(BundleError, match="gulls is in the way, and no network; delete it"):
        put("gulls")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDDNN_NETWORKS")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="no home folder: set HDDNN_CACHE and HDDNN_NETWORKS"):
        zoo.names()


def test_a_damaged_network_hides_no_other(place: Path) -> None:
    put("gulls")
    put("terns")
    file = place / "gulls" / "body.onnx"
    file.write_bytes(file.read_bytes()[:-10])
    listed = CliRunner().invoke(main, ["zoo", "list"])
    assert listed.exit_code == 2
    assert "wrn16_4" in listed.stdout
    assert "gulls/body.onnx is damaged" in listed.stderr
    assert "hddnn zoo remove gulls" in listed.stderr
    assert listed.stderr.count("\n") == 1
