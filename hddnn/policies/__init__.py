"""Policies: what is done about devices that fail, are cut off, or are late. Pure: events in, actions out."""

from __future__ import annotations

from hddnn._util.validation import unknown
from hddnn.errors import InputError
from hddnn.policies.base import Policy, Work
from hddnn.policies.hedge import Hedge
from hddnn.policies.monitor import Monitor
from hddnn.policies.reassign import Reassign
from hddnn.policies.settings import FALLBACKS, Action, Attempt, Cancel, End, Fallback, PolicySettings, Send

__all__ = [
    "FALLBACKS", "POLICIES", "Action", "Attempt", "Cancel", "End", "Fallback", "Policy", "PolicySettings", "Send",
    "Work", "make_policy",
]  # fmt: skip

#: The registry: put a policy of your own in it under its name.
POLICIES: dict[str, type[Policy]] = {kind.name: kind for kind in (Policy, Reassign, Monitor, Hedge)}


def make_policy(name: str, work: Work, settings: PolicySettings) -> Policy:
    """Return a policy for one job. Raises InputError for an unknown name, listing those there are."""
    if name not in POLICIES:
        raise InputError(unknown("policy", name, list(POLICIES)))
    return POLICIES[name](work, settings)
