"""What all tests on machines of their own need."""

from __future__ import annotations

import pytest
from hosts import missing


@pytest.fixture(scope="session", autouse=True)
def namespaces() -> None:
    """Skip the tests of this folder where this machine cannot have such hosts."""
    # Not at collection: to find out, a network is built, and a run of other tests has no use for it.
    if lack := missing():
        pytest.skip(lack)
