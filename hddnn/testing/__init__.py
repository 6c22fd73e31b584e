"""Contract suites for classes of your own: what hddnn's own schemes, policies, runtimes and engines have to pass.

Each is a function that raises AssertionError with what is wrong; call it from a test of your own.
"""

from __future__ import annotations

from hddnn.testing.policies import check_policy
from hddnn.testing.runtimes import check_runtime

__all__ = ["check_policy", "check_runtime"]
