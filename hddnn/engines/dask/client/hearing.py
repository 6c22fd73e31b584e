"""What devices say during a job: answers and losses for the policy, all of it for the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from hddnn.engines.dask.client.discovery import Peer
from hddnn.policies import Action, Policy
from hddnn.results.records import Answer, Recorder
from hddnn.results.transfers import Transfer

Event = Callable[[float], list[Action]]


class Hearing:
    """Enter what devices log into a recorder, and put what the policy has to know as events.

    index: of each device, by name; start_s: when the job began, on the client's clock; on_answer: called with a
    device's name for each answer of it.
    """

    def __init__(
        self,
        peers: Mapping[str, Peer],
        recorder: Recorder,
        policy: Policy,
        index: Mapping[str, int],
        time_scale: float,
        put: Callable[[Event], None],
    ) -> None:
        self._peers, self._recorder, self._policy, self._index = peers, recorder, policy, index
        self._time_scale, self._put = time_scale, put
        self.start_s = 0.0
        self.on_answer: Callable[[str], None] = lambda device: None

    def heard(self, message: dict[str, Any], now_s: float) -> None:
        """Take an answer, or other news, that a device logged for this job; now_s: s from its start."""
        device, stage = message["device"], message["stage"]
        if stage == "dropped":
            lost = message["batch"]
            self._put(lambda at_s: self._policy.dropped(lost, at_s))
        elif stage == "released":
            self._enter_released(message)
        elif stage == "refused":
            at_s = self._as_scenario_s(device, message["at_s"])
            self._recorder.transferred(Transfer(-1, at_s, device, message["who"], "images", refused=True))
        else:
            self._take_answer(device, stage, message, now_s)

    def _as_scenario_s(self, device: str, clock_s: float) -> float:
        """Return a time on a device's clock as seconds of the scenario from the job's start."""
        return (clock_s - self._peers[device].clock_offset_s - self.start_s) / self._time_scale

    def _enter_released(self, message: dict[str, Any]) -> None:
        device = message["device"]
        for batch, at_s, n_bytes, encode_s in zip(
            message["batches"], message["at_s"], message["n_bytes"], message["encode_s"], strict=True
        ):
            self._recorder.transferred(
                Transfer(
                    batch,
                    self._as_scenario_s(device, at_s),
                    device,
                    message["target"],
                    message["kind"],
                    message["codec"],
                    n_bytes,
                    encode_s / self._time_scale,
                )
            )

    def _take_answer(
        self, device: str, stage: Literal["coarse", "fine"], message: dict[str, Any], now_s: float
    ) -> None:
        batch = message["batch"]
        answer = Answer(
            device=device,
            labels=np.frombuffer(message["labels"], np.int32),
            confidence=np.frombuffer(message["confidence"], np.float32),
            steps={step: self._as_scenario_s(device, at_s) for step, at_s in message["steps"].items()},
            overrun=message["overrun"],
            link_emulated_s=message["link_emulated_s"] / self._time_scale,
            link_real_s=message["link_real_s"] / self._time_scale,
            encoder=message["encoder"],
        )
        try:
            new = self._recorder.answered(stage, batch, now_s, answer)
        except Exception as error:  # of whoever hears of the progress; Dask would log it and go on
            self._put(partial(_fail, error))
            return
        if new:
            index = self._index[device]
            self._put(lambda at_s: self._policy.answered(stage, batch, index, at_s))
        self.on_answer(device)


def _fail(error: Exception, now_s: float) -> list[Action]:
    raise error
