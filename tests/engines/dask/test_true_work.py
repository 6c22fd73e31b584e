"""True work: each piece once, in order or when it is wanted, and not more of it ready than memory is for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from distributed import Client, Scheduler, Worker
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn.engines.dask.client.lowering import BatchGroup, Features, lower
from hddnn.engines.dask.device.device import Device
from hddnn.engines.dask.device.packing import Packer
from hddnn.engines.dask.device.pipeline import Order, Pipeline
from hddnn.engines.dask.device.true_work import Ahead, InTurn, TrueWork
from hddnn.engines.dask.wire.messages import DeviceSpec, EndOrder, Payload


class Log:
    """Pieces of work that note that they were done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def works(self, task: str, n: int) -> dict[tuple[int, str], Callable[[], Any]]:
        def piece(number: int) -> Callable[[], Any]:
            def call() -> str:
                self.done.append((task, number))
                return f"{task}{number}"

            return call

        return {(number, "answer"): piece(number) for number in range(n)}


@pytest.mark.parametrize("kind", [InTurn, Ahead])
def test_each_piece_is_done_once_and_given_to_who_wants_it(kind: Callable[[], TrueWork]) -> None:
    work, log = kind(), Log()
    for _ in range(2):  # a task that is known stays
        work.begin("a", log.works("a", 3))
    done = [work.take("a", (number, "answer")) for number in range(3)]
    assert [one.value for one in done] == ["a0", "a1", "a2"]
    assert sorted(one.finished_s for one in done) == [one.finished_s for one in done]
    work.forget("a")
    assert log.done == [("a", 0), ("a", 1), ("a", 2)]


@pytest.mark.parametrize("kind", [InTurn, Ahead])
def test_what_a_piece_raises_is_kept_for_who_wants_it(kind: Callable[[], TrueWork]) -> None:
    work = kind()
    work.begin("a", {(0, "answer"): lambda: 1 / 0, (1, "answer"): lambda: 2})
    assert isinstance(work.take("a", (0, "answer")).error, ZeroDivisionError)
    assert work.take("a", (1, "answer")).value == 2


def test_at_its_own_speed_nothing_is_done_before_it_is_wanted() -> None:
    work, log = InTurn(), Log()
    work.begin("a", log.works("a", 2))
    assert not log.done


def test_not_more_lies_ready_than_there_is_memory_for_and_what_is_wanted_goes_first() -> None:
    work, log = Ahead(most_ready=3), Log()
    work.begin("a", log.works("a", 5))
    work.begin("b", log.works("b", 2))
    wait_until(lambda: len(log.done) == 3, "three results")
    assert work.take("b", (1, "answer")).value == "b1"  # though no more was to be begun
    assert log.done == [("a", 0), ("a", 1), ("a", 2), ("b", 1)]
    assert work.take("a", (0, "answer")).value == "a0"  # makes room
    wait_until(lambda: len(log.done) == 5, "the next one")
    assert log.done[-1] == ("a", 3)


def test_a_task_that_was_taken_back_leaves_nothing() -> None:
    work, log, gate = Ahead(), Log(), threading.Event()
    work.begin("busy", {(0, "answer"): gate.wait})
    work.begin("gone", log.works("gone", 2))
    work.forget("busy")  # while it is being done
    work.forget("gone")
    work.begin("b", log.works("b", 1))
    gate.set()
    assert work.take("b", (0, "answer")).value == "b0"
    assert log.done == [("b", 0)]


@pytest.mark.parametrize("kind", [InTurn, Ahead])
def test_who_wants_what_is_not_known_does_not_wait_for_ever(kind: Callable[[], TrueWork]) -> None:
    work = kind()
    with pytest.raises(KeyError):
        work.take("nobody's", (0, "answer"))
    work.begin("a", {(0, "answer"): lambda: 1})
    assert work.take("a", (0, "answer")).value == 1
    with pytest.raises(KeyError):
        work.take("a", (1, "answer"))


def test_a_task_that_is_taken_back_while_it_runs_has_its_work_still() -> None:
    topology = packaged_system(1, 1, 0, seconds_per_image=0.05)
    own = Device(DeviceSpec.of(topology, "end-1", compute="nothing", batch_size=2))
    own.load()
    told: list[Any] = []
    gate, work = threading.Event(), Ahead()
    pipeline = Pipeline(
        own.spec, own._network, Packer("end-1", {}, ()), own.faults, lambda *one: told.append(one), work=work
    )
    pipeline.push("client/job/0.", np.zeros((2, 32, 32, 3), np.uint8))
    order = EndOrder("job", "topic", ("end", "job", 0), "client/job/0.", (0,), (2,), None, None, "float32")
    work.begin("busy", {(0, "answer"): gate.wait})
    pipeline.in_hand(order, [])
    task = threading.Thread(target=pipeline.answer_end, args=(order,))
    task.start()
    wait_until(lambda: not pipeline.uploads, "the task's beginning")
    pipeline.released(order.key)
    gate.set()
    task.join()
    assert [message["batch"] for _, message in told] == [0]
    assert not work._known.keys() - {"busy"}


def test_a_worker_begins_as_soon_as_the_inputs_of_a_task_are_there() -> None:
    """Of the tasks behind the one that runs, too: that one takes its modelled time."""
    topology = packaged_system(1, 1, 0, seconds_per_image=0.05)
    batches, size = 4, 2

    async def run() -> list[tuple[Order, list[Payload], int]]:
        seen: list[tuple[Order, list[Payload], int]] = []
        config: dict[str, Any] = {"host": "127.0.0.1", "nthreads": 1, "dashboard": False, "memory_limit": 0}
        async with Scheduler(host="127.0.0.1", dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
            addresses, workers = {}, []
            for one in topology.devices:
                own = Device(DeviceSpec.of(topology, one.name, compute="nothing", batch_size=size))
                own.load()
                worker = Worker(
                    scheduler.address, name=one.name, resources={one.tier: 1}, plugins=[own], **config
                )
                workers.append(await worker)
                addresses[one.name] = worker.address
                told, in_hand = own.pipeline._notify, own.pipeline.in_hand
                answered = [0]

                def notify(topic: str, message: Any, told: Any = told, answered: Any = answered) -> None:
                    answered[0] += message["stage"] in ("coarse", "fine")
                    told(topic, message)

                def note(
                    order: Order, payloads: list[Payload], in_hand: Any = in_hand, answered: Any = answered
                ) -> None:
                    seen.append((order, payloads, answered[0]))
                    in_hand(order, payloads)

                own.pipeline._notify, own.pipeline.in_hand = notify, note  # type: ignore[method-assign, assignment]
                if one.tier == "end":
                    for number in range(batches):
                        own.pipeline.push(f"client/job/{number}.", np.zeros((size, 32, 32, 3), np.uint8))
            end, edge = topology.devices
            groups = [BatchGroup(number, end, edge, (number,), (size,)) for number in range(batches)]
            graph, keys = lower(groups, "client/job", "topic", addresses, Features("float32", {}))
            async with Client(scheduler.address, asynchronous=True) as client:
                await asyncio.gather(*client.get(graph, keys, sync=False))
            for worker in workers:
                await worker.close()
        return seen

    seen = asyncio.run(run())
    ends = [
        (order.batches, payloads, before) for order, payloads, before in seen if isinstance(order, EndOrder)
    ]
    assert sorted(batch for batch, _, _ in ends) == [(0,), (1,), (2,), (3,)]
    assert [before for _, _, before in ends] == [0] * batches  # all of them before the first answer
    uppers = [payloads for order, payloads, _ in seen if not isinstance(order, EndOrder)]
    assert sorted([payload.batch for payload in payloads] for payloads in uppers) == [[0], [1], [2], [3]]


def test_pieces_that_come_later_join_those_of_their_task() -> None:
    work, log = Ahead(), Log()
    work.begin("a", log.works("a", 1))
    work.begin("a", log.works("a", 3))
    assert [work.take("a", (number, "answer")).value for number in range(3)] == ["a0", "a1", "a2"]
    assert log.done == [("a", 0), ("a", 1), ("a", 2)]


def test_images_that_are_forgotten_are_not_answered() -> None:
    topology = packaged_system(1, 1, 0, seconds_per_image=0.05)
    own = Device(DeviceSpec.of(topology, "end-1", compute="nothing", batch_size=2))
    own.load()
    work, log = Ahead(), Log()
    pipeline = Pipeline(
        own.spec, own._network, Packer("end-1", {}, ()), own.faults, lambda *told: None, work=work
    )
    gate = threading.Event()
    work.begin("busy", {(0, "answer"): gate.wait})
    images = np.zeros((4, 32, 32, 3), np.uint8)

    def push(job: str, number: int, batches: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        name = f"client/{job}/{number}."
        pipeline.push(
            name, images, EndOrder(job, "topic", (job, number), name, batches, sizes, None, None, "")
        )

    push("job", 0, (0, 1), (2, 2))
    push("job", 1, (2,), (4,))
    assert list(work._waiting) == [("client/job/0.", (0, "answer")), ("client/job/0.", (1, "answer")),
                                   ("client/job/1.", (2, "answer"))]  # fmt: skip
    pipeline.forget("client/job/0.")
    assert list(work._waiting) == [("client/job/1.", (2, "answer"))]
    push("later", 0, (0,), (4,))  # of another job: what the one before left is forgotten
    assert list(work._waiting) == [("client/later/0.", (0, "answer"))]
    gate.set()
    work.begin("b", log.works("b", 1))
    assert work.take("b", (0, "answer")).value == "b0"


def test_a_head_start_lasts_until_all_is_ready_or_no_more_may_be() -> None:
    work, log, gate = Ahead(most_ready=2), Log(), threading.Event()
    work.begin("a", {(0, "answer"): gate.wait})
    waited = threading.Thread(target=work.wait, args=("a", PATIENCE_S))
    waited.start()
    waited.join(0.05)
    assert waited.is_alive()
    gate.set()
    waited.join()
    assert work.take("a", (0, "answer")).value
    work.begin("b", log.works("b", 4))
    work.wait("b", PATIENCE_S)  # two are ready: no more may be
    assert log.done == [("b", 0), ("b", 1)]
    work.wait("nobody's", PATIENCE_S)
    idle = InTurn()
    idle.begin("a", log.works("a", 1))
    idle.wait("a", PATIENCE_S)  # nothing is done before it is wanted
    assert ("a", 0) not in log.done
