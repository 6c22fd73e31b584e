"""Whoever wants to hear of a run's course: progress bars, dashboards, a user's own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hddnn.results.records import Stage

if TYPE_CHECKING:
    from hddnn.engines.base import Engine


class Observer:
    """Hear of a run's course; every method does nothing unless overridden. Called from other threads, too.

    Order: noted*, chosen, (preparing | noted)*, starting, awaiting*, device_ready*, noted?, started, then for each
    scheme: scheme_started, resumed?, (answered | device_changed)*. Schemes that a journal holds whole come before
    that.
    """

    def chosen(self, schemes: Sequence[str]) -> None:
        """The run has these schemes.

        Args:
            schemes: Their labels, in the order in which they run.
        """

    def preparing(self, network: str, done: int, total: int) -> None:
        """Stored answers of a network are being computed.

        Args:
            network: Its name.
            done: Images that have one.
            total: Images that get one.
        """

    def noted(self, text: str) -> None:
        """Something is not as asked for, and the run goes on all the same.

        Args:
            text: What, in one line.
        """

    def starting(self, n_devices: int) -> None:
        """The devices are being started.

        Args:
            n_devices: How many.
        """

    def awaiting(self, missing: Sequence[str]) -> None:
        """Devices behind an address are waited for; called whenever these are others than before.

        Args:
            missing: Their names.
        """

    def device_ready(self, name: str) -> None:
        """One device is ready.

        Args:
            name: The device's.
        """

    def started(self, engine: Engine) -> None:
        """All devices are ready.

        Args:
            engine: The one that runs them.
        """

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        """The first batch of a scheme is about to be sent.

        Args:
            scheme: Its label.
            n_batches: Batches of the job.
        """

    def resumed(self, scheme: str, n_batches: int) -> None:
        """So many batches were answered in full before; of each answer that is there, `answered` tells next.

        Args:
            scheme: Its label.
            n_batches: How many.
        """

    def device_changed(self, name: str, live: bool, why: str) -> None:
        """A device left during a scheme, or came back.

        Args:
            name: The device's.
            live: Whether it is there now.
            why: What happened, in a few words.
        """

    def answered(self, scheme: str, stage: Stage, batch: int, ended: bool) -> None:
        """A batch has an answer, or has failed.

        Args:
            scheme: Its label.
            stage: "coarse" or "fine".
            batch: Its number, from 0.
            ended: Nothing more will come of it.
        """
