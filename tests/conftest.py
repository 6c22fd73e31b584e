"""Shared fixtures: data, small systems, and a watch over what tests leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import slowly
import warm
from hypothesis import settings

from hddnn.data.datasets import Dataset, Job, load_dataset

SHARED = Path(__file__).parents[2] / "shared" / "data" / "cifar100" / "unpack.py"

# The machines that run this are shared: a slow example is no finding. A run of the suite has the same examples as
# the one before, so that a failure belongs to the change; HYPOTHESIS_PROFILE=search looks among new ones.
settings.register_profile("hddnn", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("search", deadline=None, print_blob=True, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hddnn"))


def pytest_configure() -> None:
    # Before the tests are collected, since some are made for each network that is there: the packaged ones.
    os.environ["HDDNN_NETWORKS"] = os.devnull
    # A shell starts what runs in its background deaf to Ctrl-C, and all that this starts would be so, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    warm.end()


@pytest.fixture(scope="session")
def sample() -> Dataset:
    return load_dataset("sample")


@pytest.fixture(scope="session")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return CIFAR-100's whole test set, from HDDNN_TEST_CIFAR100 or unpacked for the tests."""
    root = os.environ.get("HDDNN_TEST_CIFAR100")
    if root is None:
        if not SHARED.exists():
            pytest.skip("no official files: set HDDNN_TEST_CIFAR100 to a folder that holds cifar-100-python/")
        root = str(tmp_path_factory.mktemp("cifar100"))
        subprocess.run([sys.executable, str(SHARED), root], check=True, stdout=subprocess.DEVNULL)
    return load_dataset("cifar100", Path(root))


@pytest.fixture(scope="session", autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep caches and temporary files of this run apart from the user's and from another run's."""
    place = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDDNN_CACHE", str(place / "cache"))
        patch.setenv("HDDNN_NETWORKS", str(place / "networks"))
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", None)
        yield place


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(own_places: Path) -> Iterator[None]:
    """Fail a test file that leaves a process or a device's folder."""
    yield
    children = psutil.Process(os.getpid()).children(recursive=True)
    left = [child for child in children if child.pid not in warm.ready_pids() and not _ends_alone(child)]
    assert not left, f"processes left: {left}"
    assert not list(own_places.glob("hddnn-*")), "device folders left"


def _ends_alone(child: psutil.Process) -> bool:
    # The interpreter's own bookkeeping process lives until the tests end.
    try:
        return "resource_tracker" in " ".join(child.cmdline()) or child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="session")
def small_job(sample: Dataset) -> Job:
    """Return 9 batches of 20 images, the last one smaller."""
    return Job(sample, images=170, batch_size=20)


@pytest.fixture(scope="session")
def slowly_run() -> Callable[..., list[str]]:
    """Return what makes the words of a command so many times slower; skip where that is not permitted."""
    if reason := slowly.missing():
        pytest.skip(reason)
    return slowly.command
