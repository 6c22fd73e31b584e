"""The user's own networks: bundles by name, in one folder of this machine."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hddnn._util.paths import networks_dir
from hddnn._util.validation import unknown
from hddnn.errors import BundleError

PACKAGED = Path(__file__).parent / "bundles"
# A name becomes a folder, a part of task keys, and stands in topology files, where a "/" would make it a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def packaged_names() -> tuple[str, ...]:
    """Return the names of the packaged networks."""
    return _names_in(PACKAGED)


def own_names() -> tuple[str, ...]:
    """Return the names of the user's own networks."""
    return tuple(name for name in _names_in(networks_dir()) if name not in packaged_names())


def folder_of(name: str) -> Path:
    """Return the folder of a packaged network, or the one that an own network has or would have."""
    return (PACKAGED if name in packaged_names() else networks_dir()) / name


def check_free(name: str, *, replace: bool = False) -> None:
    """Raise BundleError when an own network cannot have this name; replace: an own one may give way."""
    if not _NAME.fullmatch(name):
        raise BundleError(
            f"'{name}' is no network's name; use letters, digits, '.', '_' and '-', at most 100 of them"
        )
    if name in packaged_names():
        raise BundleError(f"'{name}' is a packaged network; give yours another name")
    if name in own_names():
        if not replace:
            raise BundleError(
                f"there is a network '{name}' already; replace it with --replace (replace=True)"
            )
    elif folder_of(name).exists():
        raise BundleError(f"{folder_of(name)} is in the way, and no network; delete it")


@contextmanager
def kept(name: str, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill with a bundle; it becomes the network `name` when the block ends well.

    Whoever looks sees the whole network or none. Raises BundleError when the name is taken, or the store cannot be
    written.
    """
    check_free(name, replace=replace)
    fresh, old, moved, placed = _aside(name), _aside(name), False, False
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if replace and name in own_names():
            folder_of(name).rename(old)
            moved = True
        check_free(name)  # another process may have been quicker
        fresh.rename(folder_of(name))
        placed = True
    except OSError as error:
        raise BundleError(
            f"cannot keep a network in {fresh.parent} ({error.strerror or error}); set HDDNN_NETWORKS to a folder "
            "that you may write to"
        ) from error
    finally:
        # Asked of nothing on the disk, which may be what has failed.
        if moved and not placed:
            with suppress(OSError):
                old.rename(folder_of(name))
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)


def remove(name: str) -> None:
    """Delete an own network.

    Args:
        name: What it was added as.

    Raises:
        BundleError: There is no own network of that name, or it cannot be deleted.
    """
    if name in packaged_names():
        raise BundleError(f"'{name}' is a packaged network, which stays; only own ones can be removed")
    if name not in own_names():
        raise BundleError(unknown("network", name, own_names(), label="own networks"))
    gone = _aside(name)
    try:
        folder_of(name).rename(gone)  # at once: nobody meets half of it
        shutil.rmtree(gone)
    except OSError as error:
        raise BundleError(f"cannot remove {folder_of(name)} ({error.strerror or error})") from error


def _aside(name: str) -> Path:
    """Return a new path beside an own network; its dot in front keeps it from being taken for a network."""
    return networks_dir() / f".{name}.{uuid.uuid4().hex[:12]}"


def _names_in(place: Path) -> tuple[str, ...]:
    try:
        found = [card.parent.name for card in place.glob("*/card.json")]
    except OSError:  # a store that this user may not look into has nothing for them
        return ()
    return tuple(sorted(name for name in found if _NAME.fullmatch(name)))
