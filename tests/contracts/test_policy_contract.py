"""The contract of policies: hddnn's own and the examples keep to it, and the suite sees what does not."""

from __future__ import annotations

import random
import re
import textwrap
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from hddnn.errors import InputError
from hddnn.planning.plan import NO_DEVICE
from hddnn.policies import POLICIES, Cancel, End, Monitor, Policy, Send, Work
from hddnn.testing import check_policy

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_policy.py"


@pytest.mark.parametrize("name", list(POLICIES.own))
def test_hddnns_own_keep_to_it(name: str) -> None:
    check_policy(name)


@pytest.mark.parametrize(
    "text",
    [f"{EXAMPLE}:Wary", "monitor:attempts=2:fallback=fail", "none:deadline_s=0.3", "hedge:timeout_s=0"],
)
def test_the_example_and_other_options_keep_to_it(text: str) -> None:
    check_policy(text)


def test_the_example_of_the_base_class_keeps_to_it_and_answers_what_was_lost() -> None:
    code = (Policy.__doc__ or "").partition("::\n")[2]
    space: dict[str, Any] = {"Policy": Policy}
    exec(textwrap.dedent(code), space)
    check_policy(space["Stubborn"])


# ---- what the suite sees


class Forgets(Monitor):
    """Do not tell the base of fine answers."""

    def answered(self, stage: Any, batch: int, device: int, now_s: float) -> Any:
        return super().answered(stage, batch, device, now_s) if stage == "coarse" else []


class Waits(Monitor):
    """Wait for ever for devices that are gone."""

    def left(self, device: int, now_s: float) -> Any:
        return []

    def due_s(self) -> float:
        return float("inf")


class Spins(Policy):
    """Want to be called at once, always."""

    def due_s(self) -> float:
        return 0.0

    def tick(self, now_s: float) -> Any:
        return []


class Repeats(Policy):
    """Send what has ended once more."""

    def answered(self, stage: Any, batch: int, device: int, now_s: float) -> Any:
        actions = super().answered(stage, batch, device, now_s)
        if self.ended[batch] and self.room(0) > 0:
            actions.append(Send(self.make_attempt(0, NO_DEVICE, [batch])))
        return actions


class Floods(Policy):
    """Take no notice of the windows."""

    def start(self, now_s: float) -> Any:
        batches = list(range(self.work.plan.n_batches))
        return [Send(self.make_attempt(0, int(self.work.plan.upper[batch]), [batch])) for batch in batches]


class Shows(Policy):
    """Have edge devices encode that may not see images."""

    def encoder_of(self, batch: int) -> int:
        return next(i for i in self.of_tier("edge") if not self.devices[i].trusted)


class EndsTwice(Policy):
    """End what is ended."""

    def give_up(self, outcome: str) -> Any:
        actions = super().give_up(outcome)
        return actions + [action for action in actions if isinstance(action, End)]


class Slangs(Policy):
    """Have an outcome that nobody knows."""

    def give_up(self, outcome: str) -> Any:
        return super().give_up("oops")


class TakesBack(Policy):
    """Take back what was never sent."""

    def start(self, now_s: float) -> Any:
        return [Cancel(7), *super().start(now_s)]


class Mute(Policy):
    """Return nothing."""

    def accepted(self, number: int, now_s: float) -> Any:
        return None


class Clocked(Policy):
    """Read a clock."""

    def accepted(self, number: int, now_s: float) -> Any:
        self.begun_s = time.monotonic()
        return super().accepted(number, now_s)


class Gambles(Policy):
    """Draw without a seed."""

    def take(self, end: int, now_s: float) -> Any:
        if now_s and random.random() < 0.5:
            self._touched.add(end)
            return None
        return super().take(end, now_s)


class Breaks(Policy):
    """Raise an error."""

    def left(self, device: int, now_s: float) -> Any:
        return self.devices["end"]  # type: ignore[call-overload]


class Itself(Policy):
    """Begin without a copy."""

    def begun(self, work: Work) -> Self:
        self.begin(work)
        return self


class Shares(Monitor):
    """Keep the state of all plans in one list."""

    seen: ClassVar[deque[int]] = deque()

    def joined(self, device: int, now_s: float) -> Any:
        self.seen.append(device)
        return super().joined(device, now_s) if len(self.seen) % 2 else []


class Bare(Monitor):
    """Have an option in a class that is no dataclass of its own."""

    pause_s: float = 1.0


@dataclass(eq=False, kw_only=True)
class Unreadable(Monitor):
    """Have an option of a type that is nowhere."""

    pause: Seconds = 1.0  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            Forgets,
            r"scheme end-cloud, no faults: at [\d.]+ s: `open` is 30, but 29 batches have not ended: does an",
        ),
        (
            Waits,
            r"faults .*: \d+ batches have not ended and nothing happens any more: due_s has to return when",
        ),
        (Spins, "it goes on for ever: see due_s and tick"),
        (Repeats, r"scheme end, no faults: at [\d.]+ s: batch \d+ is sent though it has ended"),
        (Floods, "end-0 has more batches under way than its window of 4: ask `room`"),
        (Shows, "edge-1, which is not trusted, is to encode and would see images"),
        (EndsTwice, r"batch \d+ is ended as 'lost' though it has ended"),
        (Slangs, r"is ended as 'oops'; it is 'lost', 'coarse-only', or 'failed: ' and why"),
        (TakesBack, "attempt 7 is taken back and was never sent"),
        (Mute, "an event returns a list of actions, not None"),
        (Clocked, "accepted calls time.monotonic: the time is what the events carry"),
        (Gambles, "the same job is done in two ways|batches end as .*lost"),  # as it happens
        (Breaks, r"faults crash:end-0@0.12s: at [\d.]+ s: TypeError: tuple indices must be integers"),
        (Itself, "begun returns the policy itself; each plan needs one of its own"),
        (Shares, "the same job is done in two ways"),
        (Bare, "Bare.pause_s is no option: put @dataclass"),
        (Unreadable, "the types of Unreadable's options cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_policy_that_does_not_is_told_what_is_wrong(kind: type[Policy], says: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_policy(kind)
    assert re.search(says, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_policy_is_told_so() -> None:
    with pytest.raises(InputError, match="no policy"):
        check_policy(dict)  # type: ignore[arg-type]


# ---- what a class is that says little of itself


def test_a_class_that_does_not_say_passes_for_no_other() -> None:
    class SomeSite(Monitor):
        """Do as Monitor does.

        And more.
        """

    assert (SomeSite.name, SomeSite.caption, SomeSite.style) == ("some-site", "Do as Monitor does", None)
    assert SomeSite(timeout_s=2.0).label == "some-site:timeout_s=2.0"
    assert (Monitor.name, Monitor().label) == ("monitor", "monitor")
