"""Contract suites for classes of your own: what hddnn's own schemes, policies, runtimes and engines have to pass.

Each is a function that raises AssertionError with what is wrong; call it from a test of your own.
"""

from __future__ import annotations

from hddnn.testing.engines import check_engine
from hddnn.testing.policies import check_policy
from hddnn.testing.runtimes import check_runtime
from hddnn.testing.schemes import check_scheme

__all__ = ["check_engine", "check_policy", "check_runtime", "check_scheme"]
