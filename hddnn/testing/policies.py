"""The contract of policies: what hddnn's own keep to, and one of yours has to."""

from __future__ import annotations

import dataclasses
import gc
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar, get_origin

import numpy as np

from hddnn._util.extensions import option_types, options_of
from hddnn.engines.sim.simulation import Simulation
from hddnn.errors import InputError, first_line
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import POLICIES, Action, Attempt, Cancel, End, Policy, Send, Work
from hddnn.results.records import COARSE_ONLY, LOST, Answer
from hddnn.results.transfers import Transfer
from hddnn.schemes import ENCODERS, SCHEMES, make_plan
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Device, Topology

N_BATCHES, BATCH_SIZE = 30, 50
#: Batches that go the same way at once, and that an end device may have under way.
GROUP, WINDOW = 2, 4
HEARTBEAT_S = 0.025
LONGEST_S = 1e5
#: A policy that has been called so often in one of these small jobs goes on for ever.
MOST_CALLS = 50_000
#: What goes wrong, each in a job of its own; a batch takes 50 ms on a device.
FAULTS = (
    "", "crash:end-0@0.12s", "crash:end-0@0.12s+0.3s", "crash:edge-0@0.12s", "crash:cloud-0@0.12s",
    "hang:end-1@0.1s", "hang:edge-0@0.1s", "hang:cloud-1@0.1s+0.4s", "slow:end-1x10@0s",
    "partition:edge-0@0.1s+0.5s", "drop:end-0~0.3,drop:edge-1~0.3,drop:cloud-0~0.3",
    "crash:end-0@0.1s,crash:end-1@0.12s,crash:end-2@0.14s", "crash:edge-0@0.1s,crash:edge-1@0.1s",
    "crash:cloud-0@0.1s,crash:cloud-1@0.1s",
    "crash:end-0@0.1s+0.2s,hang:end-1@0.2s,slow:edge-0x5@0s,drop:end-2~0.2",
)  # fmt: skip


def check_policy(policy: Policy | type[Policy] | str) -> None:
    """Check that a policy keeps to the contract of `hddnn.policies.Policy`.

    It is put through small simulated jobs, under each of hddnn's schemes, in which devices crash, hang, are slow
    or cut off, and payloads are lost. Takes a few seconds.

    Args:
        policy: An object, a class, or a text such as "my_site.py:Wary:probation_s=2".

    Raises:
        AssertionError: It does not; the text says what is wrong, in which job, and when.
        InputError: The text stands for no policy.

    Example:
        ::

            from hddnn.testing import check_policy

            check_policy("monitor:timeout_s=0.2")
    """
    made = POLICIES.make(policy)
    _check_class(made)
    for scheme in SCHEMES.own:
        for encode_at in ENCODERS:
            plan = _plan(scheme, encode_at)
            _check_fresh(made, plan)
            for faults in FAULTS:
                what = f"policy {made.name}, scheme {scheme}, " + (
                    f"faults {faults}" if faults else "no faults"
                )
                _check_job(made, plan, faults, what)
            _check_resumed(made, plan, f"policy {made.name}, scheme {scheme}, begun again")


class Notes:
    """What became of each batch; stands for a recorder, and needs no data.

    Attributes:
        answers: (stage, batch) -> (time in s, device) of each answer.
        outcomes: Batch -> its outcome, where it has one of its own.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._index = {device.name: i for i, device in enumerate(plan.topology.devices)}
        self.answers: dict[tuple[str, int], list[tuple[float, int]]] = {}
        self.outcomes: dict[int, str] = {}

    def submitted(self, batch: int, at_s: float) -> None:
        """Take no notice; so with all that is no answer."""

    def transferred(self, transfer: Transfer) -> None: ...

    def began(self, fault: str, at_s: float) -> None: ...

    def fault(self, device: str, at_s: float) -> None: ...

    def left(self, device: str, at_s: float) -> None: ...

    def answered(self, stage: str, batch: int, at_s: float, answer: Answer) -> bool:
        """Note an answer; return whether it counts."""
        first = (stage, batch) not in self.answers and batch not in self.outcomes
        if first or (stage, batch) in self.answers:
            self.answers.setdefault((stage, batch), []).append((at_s, self._index[answer.device]))
        return first

    def ended_as(self, batch: int, outcome: str, at_s: float) -> None:
        """Note an outcome."""
        assert batch not in self.outcomes, f"batch {batch} is ended twice"
        assert not self.in_full(batch), (
            f"batch {batch} is ended as {outcome!r} though it was answered in full"
        )
        self.outcomes[batch] = outcome

    def in_full(self, batch: int) -> bool:
        """Tell whether a batch has the answer of the last stage that it was planned to reach."""
        stage = "coarse" if self._plan.upper[batch] == NO_DEVICE else "fine"
        return (stage, batch) in self.answers


class _Checked(Simulation):
    """A job in which each thing that the policy does is looked at before it is done.

    coarse, ended: what an earlier run has, bool (N,). log: (time, action) of all.
    """

    def __init__(
        self, policy: Policy, faults: str, coarse: np.ndarray | None = None, ended: np.ndarray | None = None
    ) -> None:
        self.notes = Notes(policy.work.plan)
        schedule = FaultSchedule.parse(faults, seed=1)
        super().__init__(policy, self.notes, faults=schedule, heartbeat_s=HEARTBEAT_S)
        n = self.plan.n_batches
        self._coarse = np.zeros(n, bool) if coarse is None else coarse
        self._before = np.zeros(n, bool) if ended is None else ended
        self._sent: set[int] = set()
        self._calls = 0
        self.log: list[tuple[float, Action]] = []

    @property
    def now_s(self) -> float:
        return self.event_queue.now_s

    def has_ended(self, batch: int) -> bool:
        return bool(self._before[batch]) or batch in self.notes.outcomes or self.notes.in_full(batch)

    def _act(self, actions: list[Action]) -> None:
        self._calls += 1
        assert self._calls <= MOST_CALLS, (
            f"called {MOST_CALLS} times, it goes on for ever: see due_s and tick"
        )
        assert isinstance(actions, list), f"an event returns a list of actions, not {actions!r}"
        for action in actions:
            self._check(action)
            self.log.append((self.now_s, action))
            super()._act([action])
        super()._act([])
        self._check_book()

    def _check_book(self) -> None:
        n_open = sum(not self.has_ended(batch) for batch in range(self.plan.n_batches))
        assert self.policy.open == n_open, (
            f"`open` is {self.policy.open}, but {n_open} batches have not ended: does an event that it overrides "
            "call the base's, and does `end_batch` end what it ends?"
        )
        for index, device in enumerate(self.devices):
            assert device.spec.tier != "end" or self.policy.room(index) >= 0, (
                f"{device.spec.name} has more batches under way than its window of {WINDOW}: ask `room`"
            )
        due_s = self.policy.due_s()
        assert isinstance(due_s, float | int), f"due_s returns a time in s, not {due_s!r}"
        assert not math.isnan(due_s), "due_s returns NaN; for never, return infinity"

    def _check(self, action: Any) -> None:
        if isinstance(action, Send):
            self._check_send(action.attempt)
        elif isinstance(action, Cancel):
            assert action.number in self._sent, f"attempt {action.number} is taken back and was never sent"
        elif isinstance(action, End):
            self._check_end(action)
        else:
            raise AssertionError(f"{action!r} is no action; there are Send, Cancel and End")

    def _check_send(self, attempt: Attempt) -> None:
        specs = [device.spec for device in self.devices]
        assert attempt.number not in self._sent, f"attempt {attempt.number} is sent twice"
        self._sent.add(attempt.number)
        assert specs[attempt.end].tier == "end", f"batches are sent to {specs[attempt.end].name} first"
        upper = None if attempt.upper == NO_DEVICE else specs[attempt.upper]
        assert upper is None or upper.tier != "end", f"batches go up to {specs[attempt.upper].name}"
        if attempt.encoder != NO_DEVICE:
            by = specs[attempt.encoder]
            assert by.tier == "edge", f"{by.name}, which is no edge device, is to encode"
            assert by.trusted, f"{by.name}, which is not trusted, is to encode and would see images"
            assert upper is not None, f"{by.name} is to encode what goes no further"
            assert upper.tier == "cloud", (
                f"{by.name} is to encode what goes to {upper.name}, which is no cloud"
            )
        assert attempt.batches, "an attempt without batches is sent"
        assert len(set(attempt.batches)) == len(attempt.batches), (
            f"an attempt has a batch twice: {attempt.batches}"
        )
        for batch in attempt.batches:
            assert not self.has_ended(batch), f"batch {batch} is sent though it has ended"
            there = self._coarse[batch] or ("coarse", batch) in self.notes.answers
            assert attempt.coarse or there, f"batch {batch} is sent without asking for its coarse answer"

    def _check_end(self, action: End) -> None:
        batch, outcome = action.batch, action.outcome
        assert 0 <= batch < self.plan.n_batches, f"there is no batch {batch} to be ended"
        known = outcome in (LOST, COARSE_ONLY) or (
            isinstance(outcome, str) and outcome.startswith("failed: ")
        )
        assert known, (
            f"batch {batch} is ended as {outcome!r}; it is 'lost', 'coarse-only', or 'failed: ' and why"
        )
        assert not self.has_ended(batch), f"batch {batch} is ended as {outcome!r} though it has ended"
        there = self._coarse[batch] or ("coarse", batch) in self.notes.answers
        assert outcome != COARSE_ONLY or there, (
            f"batch {batch} is ended as coarse-only and has no coarse answer"
        )

    def through(self, what: str) -> None:
        """Let everything happen; `what` begins the text of an error."""
        try:
            self.run(LONGEST_S)
            n_open = self.policy.open
            assert not n_open, (
                f"{n_open} batches have not ended and nothing happens any more: due_s has to return when the "
                "policy gives up, and tick to end them; or leave `resends` False, which sets a deadline"
            )
        except AssertionError as error:
            raise AssertionError(f"{what}: at {self.now_s:.3g} s: {error}") from error
        except Exception as error:
            where = f"{type(error).__name__}: {first_line(error)}"
            raise AssertionError(f"{what}: at {self.now_s:.3g} s: {where}") from error


# ---- the class


def _check_class(made: Policy) -> None:
    kind = type(made)
    assert re.fullmatch(r".*\S.*", made.caption), (
        f"{kind.__name__}.caption is {made.caption!r}, no line of text"
    )
    for each in kind.__mro__[: kind.__mro__.index(Policy)]:
        options = [
            name for name, hint in vars(each).get("__annotations__", {}).items() if not _of_class(hint)
        ]
        assert not options or "__dataclass_fields__" in vars(each), (
            f"{each.__name__}.{options[0]} is no option: put @dataclass(eq=False, kw_only=True) above the class"
        )
    try:
        types = option_types(kind)
        assert isinstance(POLICIES.make(kind, **{name: getattr(made, name) for name in types}), kind)
    except InputError as error:
        raise AssertionError(f"{kind.__name__}: {error}") from error


def _of_class(hint: Any) -> bool:
    return "ClassVar" in hint if isinstance(hint, str) else get_origin(hint) is ClassVar or hint is ClassVar


# ---- jobs


def _check_fresh(made: Policy, plan: Plan) -> None:
    """Check that a policy that has begun shares nothing with the one that it was made of."""
    before = {name: repr(value) for name, value in vars(made).items()}
    one, other = made.begun(_work(plan)), made.begun(_work(plan))
    assert type(one) is type(made), f"begun makes a {type(one).__name__} of a {type(made).__name__}"
    assert one is not made, "begun returns the policy itself; each plan needs one of its own"
    assert options_of(one) == options_of(made), (
        f"begun changes options: {options_of(made)} to {options_of(one)}"
    )
    after = {name: repr(value) for name, value in vars(made).items()}
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, (
        f"begun changes {', '.join(changed)} of the policy that it is asked of: use begin for that"
    )
    for name, value in vars(one).items():
        shared = value is vars(other)[name] and isinstance(value, dict | list | set | np.ndarray)
        options = {field.name for field in dataclasses.fields(made)}
        assert not shared or name in options, f"{name} is the same in two plans: make it anew in begin"


def _check_job(made: Policy, plan: Plan, faults: str, what: str) -> None:
    first = _Checked(_begun(made, plan, what), faults)
    first.through(what)
    if not faults and made.deadline_s is None:
        assert not first.notes.outcomes, f"{what}: batches end as {set(first.notes.outcomes.values())}"
    again = _Checked(_begun(made, plan, what), faults)
    with _no_clock(what):
        again.through(what)
    for one, other in zip(first.log, again.log, strict=False):
        assert one == other, (
            f"{what}: the same job is done in two ways, first {one[1]} at {one[0]:.3g} s, then {other[1]} at "
            f"{other[0]:.3g} s: keep what changes in begin, and draw with a seed"
        )
    assert len(first.log) == len(again.log), f"{what}: the same job is done in two ways, one of them longer"


def _check_resumed(made: Policy, plan: Plan, what: str) -> None:
    coarse = np.random.default_rng(0).random(plan.n_batches) < 0.6
    ended = coarse & ((plan.upper == NO_DEVICE) | (np.arange(plan.n_batches) % 3 == 0))
    policy = _begun(made, plan, what)
    policy.resume(coarse, ended)
    job = _Checked(policy, "", coarse, ended)
    job.through(what)


def _begun(made: Policy, plan: Plan, what: str) -> Policy:
    try:
        return made.begun(_work(plan))
    except Exception as error:
        raise AssertionError(f"{what}: begun: {type(error).__name__}: {first_line(error)}") from error


@contextmanager
def _no_clock(what: str) -> Iterator[None]:
    """Raise AssertionError for whoever asks for the time, or waits, in this block."""

    def look(frame: FrameType, event: str, called: Callable[..., Any]) -> None:
        if event == "c_call" and getattr(called, "__module__", None) == "time":
            raise AssertionError(
                f"{what}: {frame.f_code.co_name} calls time.{called.__name__}: the time is what the events carry"
            )

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # the collector calls back whoever asked for it, and a test library may then look at the clock
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


# ---- the small system


@dataclass(frozen=True)
class _Shape:
    """A job's shape alone: images a batch, int64 (N,)."""

    sizes: np.ndarray

    @property
    def n_batches(self) -> int:
        return len(self.sizes)


def _plan(scheme: str, encode_at: str) -> Plan:
    """Return a plan for 3 end devices, a trusted edge device and one that is not, and 2 clouds; 1 ms an image."""
    tiers: tuple[tuple[Any, int], ...] = (("end", 3), ("edge", 2), ("cloud", 2))
    devices = tuple(
        Device(
            name=f"{tier}-{i}",
            tier=tier,
            network=f"{tier}-net",
            trusted=tier == "end" or (tier == "edge" and i == 0),
            seconds_per_image={f"{tier}-net": 0.001},
        )
        for tier, count in tiers
        for i in range(count)
    )
    topology = Topology(name="small", devices=devices, links=())
    costs = _costs(topology)
    return make_plan(scheme, topology, _Shape(np.full(N_BATCHES, BATCH_SIZE)), costs, encode_at=encode_at)


def _costs(topology: Topology) -> CostTable:
    return CostTable.of(
        topology, payload_bytes={f"{tier}-net": (3072, 16384) for tier in ("end", "edge", "cloud")}
    )


def _work(plan: Plan) -> Work:
    costs = _costs(plan.topology)
    groups = dict.fromkeys(plan.routes(), GROUP)
    windows = {i: WINDOW for i, device in enumerate(plan.topology.devices) if device.tier == "end"}
    return Work(plan, costs, groups, windows, lower_bound_s(plan, costs), slack_s=0.1 * GROUP)
