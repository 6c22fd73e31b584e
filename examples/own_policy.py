"""A policy of your own: a device that comes back after a failure gets little work until it has proved itself.

    hddnn run --engine sim --faults crash:end-1@2s+1s --policy examples/own_policy.py:Wary:probation_s=10

Run as a script, it says what that is good for: a camera that fails again and again.
"""

from __future__ import annotations

from dataclasses import dataclass

from hddnn import Job, load_dataset, run
from hddnn.errors import InputError
from hddnn.policies import Action, Attempt, Monitor, Policy, Work


@dataclass(eq=False, kw_only=True)
class Wary(Monitor):
    """Monitor, and an end device that was away gets one group of batches at a time for a while.

    Args:
        probation_s: For how long, s of model time.
    """

    probation_s: float = 5.0

    caption = "monitor, and little work for a device that was away"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.probation_s >= 0:
            raise InputError(f"probation_s is {self.probation_s}; it must be at least 0")

    def begin(self, work: Work) -> None:
        super().begin(work)
        self.until_s: dict[int, float] = {}  # end device -> when its probation is over

    def joined(self, device: int, now_s: float) -> list[Action]:
        self.until_s[device] = now_s + self.probation_s
        return super().joined(device, now_s)

    def take(self, end: int, now_s: float) -> Attempt | None:
        idle = self.room(end) == self.work.windows[end]
        if now_s < self.until_s.get(end, 0.0) and not idle:
            return None  # asked again when what it has is done
        return super().take(end, now_s)


def main() -> None:
    """Simulate a job on the paper's system, in which an end device fails every 4 s, under three policies."""
    job = Job(load_dataset(), images=10_000)
    faults = ",".join(f"crash:end-1@{at_s}s+2s" for at_s in range(2, 40, 4))
    policies: list[Policy] = [Monitor(), Wary(probation_s=0.5), Wary()]
    for policy in policies:
        cube = run("paper", job, ["end-edge"], engine="sim", policy=policy, faults=faults)
        again = int(cube.attempts.sum()) - cube.sizes["batch"]
        print(f"{policy.label:20} {float(cube.makespan_s.max()):.2f} s, {again} batches sent again")


if __name__ == "__main__":
    main()
