"""Sessions on real devices: what they answer, and what becomes of a request when something goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from systems import packaged_system
from waiting import wait_until

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import ClusterError, DataError, InputError, QueueFull
from hddnn.serving import AsyncSession, Reply, Session
from hddnn.tasks.calibration import top1

SYSTEM = packaged_system(2, 2, 0)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(SYSTEM, queue=64, max_batch=8) as session:
        yield session


def expected(network: str, images: np.ndarray) -> list[str]:
    bundle = zoo.bundle(network)
    labels, _ = top1(runtimes.load("openvino", bundle).run(images), 1.0)
    return [bundle.card.labels[label] for label in labels]


def test_each_image_is_answered_twice_as_the_networks_answer(session: Session, sample: Dataset) -> None:
    images = sample.images[:40]
    replies = list(session.classify(images))
    assert [sum(reply.stage == stage for reply in replies) for stage in ("coarse", "fine")] == [40, 40]
    for stage, network in (("coarse", "mobilenet"), ("fine", "resnet34")):
        told = {reply.image: reply.label for reply in replies if reply.stage == stage}
        wanted = expected(network, images)
        # bfloat16 rounds differently in batches of other sizes.
        assert sum(told[image] == wanted[image] for image in range(40)) >= 39
    seen: set[int] = set()
    for reply in replies:
        assert reply.final == (reply.stage == "fine")
        assert (reply.image in seen) == (reply.stage == "fine"), "coarse first"
        seen.add(reply.image)
        assert 0 < reply.confidence <= 1
        assert reply.device.startswith("end" if reply.stage == "coarse" else "edge")


def test_a_full_queue_refuses_at_once_and_is_free_again_afterwards(session: Session, sample: Dataset) -> None:
    with pytest.raises(QueueFull, match="queue of 64"):
        session.classify(sample.images[:65])
    first = session.classify(sample.images[:60])
    with pytest.raises(QueueFull):
        session.classify(sample.images[:5])
    assert sum(reply.final for reply in first) == 60
    assert session.health().waiting == 0
    assert sum(reply.final for reply in session.classify(sample.images[:64])) == 64


def test_who_stops_listening_frees_the_queue(session: Session, sample: Dataset) -> None:
    replies = session.classify(sample.images[:64])
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert session.health().waiting == 0


def test_a_deadline_that_cannot_be_kept_is_said(session: Session, sample: Dataset) -> None:
    replies = list(session.classify(sample.images[:3], deadline_s=1e-4))
    assert sorted(reply.image for reply in replies if reply.final) == [0, 1, 2]
    for reply in replies:
        if reply.final:
            assert (reply.label, reply.why) == (None, "deadline of 0.0001 s passed")


@pytest.mark.parametrize(
    "images", [np.zeros((1, 32, 32, 3)), np.zeros((1, 8, 8, 3), np.uint8), np.zeros((0, 32, 32, 3), np.uint8)]
)
def test_images_that_do_not_fit_are_refused(session: Session, images: np.ndarray) -> None:
    with pytest.raises(DataError, match="must be uint8"):
        session.classify(images)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scheme": "sideways"}, "unknown scheme"),
        ({"scheme": "end-cloud"}, "at least one cloud"),
        ({"max_batch": 0}, "max_batch is 0"),
        ({"queue": 0}, "queue is 0"),
        ({"deadline_s": -1.0}, "deadline is -1 s"),
        ({"codec": "zip"}, "zip"),
        ({"dashboard": True, "address": "tcp://127.0.0.1:1"}, "has its own dashboard"),
    ],
)
def test_wrong_options_start_nothing(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Session(SYSTEM, **options)
    assert not psutil.Process().children() or all(
        "spawn" not in c.name() for c in psutil.Process().children()
    )


def test_requests_from_everywhere_share_batches_and_survive_devices_that_die(sample: Dataset) -> None:
    async def ask(session: AsyncSession, image: int) -> list[Reply]:
        await asyncio.sleep(0.003 * image)
        return [reply async for reply in session.classify(sample.images[image : image + 1])]

    async def all_of_it() -> None:
        async with AsyncSession(SYSTEM, max_batch=4, queue=1000, restart=False) as session:
            asking = asyncio.gather(*(ask(session, image) for image in range(150)))
            await asyncio.sleep(0.15)
            for name in ("edge-1", "end-2"):
                os.kill(session.pids[name], signal.SIGKILL)
            answers = await asking
            assert [[reply.stage for reply in replies] for replies in answers] == [["coarse", "fine"]] * 150
            assert all(reply.label is not None for replies in answers for reply in replies)
            assert {replies[1].device for replies in answers[-20:]} == {"edge-2"}
            assert session.health().live["end-2"] is False
            assert session.health().ok

            # Without an upper device the coarse answer has to do; without an end device there is nothing.
            os.kill(session.pids["edge-2"], signal.SIGKILL)
            while session.health().live["edge-2"]:
                await asyncio.sleep(0.02)
            coarse, fine = await ask(session, 0)
            assert (coarse.label is None, fine.label, fine.final) == (False, None, True)
            assert "is live" in fine.why
            os.kill(session.pids["end-1"], signal.SIGKILL)
            while session.health().ok:
                await asyncio.sleep(0.02)
            with pytest.raises(ClusterError, match="no end device is live"):
                session.classify(sample.images[:1])

    asyncio.run(all_of_it())


def test_a_device_that_was_started_here_and_dies_is_started_again(sample: Dataset) -> None:
    with Session(packaged_system(1, 1, 0)) as session:
        before = session.pids["end-1"]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: session.pids.get("end-1", before) != before and session.health().ok, "end-1")
        replies = list(session.classify(sample.images[:2]))
        assert [reply.stage for reply in replies if reply.label] == ["coarse", "coarse", "fine", "fine"]


def test_a_scheduler_that_dies_ends_what_is_under_way(sample: Dataset) -> None:
    with Session(packaged_system(1, 1, 0), queue=500) as session:
        replies = session.classify(sample.images[:500])
        next(replies)
        os.kill(session.pids["scheduler"], signal.SIGKILL)
        rest = list(replies)
        assert sum(reply.final for reply in rest) == 500
        assert {reply.why for reply in rest if reply.label is None} <= {
            "the scheduler left",
            "no device that gives fine answers is live",
            "no end device is live",
        }
        with pytest.raises(ClusterError, match="the scheduler left"):
            session.classify(sample.images[:1])
