"""What a session decides: pure, so that no clock and no device is needed to see it."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.errors import ClusterError, QueueFull
from hddnn.serving.dispatcher import (
    MOST_TRIES,
    SHUN_S,
    WINDOW,
    Action,
    Cancel,
    Dispatcher,
    Notify,
    Send,
    Ticket,
)
from hddnn.serving.replies import Reply

PIXELS = np.zeros((32, 32, 3), np.uint8)  # the dispatcher does not look at them
UPPERS = {0: [3], 1: [4], 2: [5]}  # three end devices, as under Mapping


def made(routes: dict[int, list[int]] | None = None, **options: float) -> Dispatcher:
    settings = {"max_batch": 4, "max_wait_s": 0.01, "queue": 16, **options}
    return Dispatcher(UPPERS if routes is None else routes, **settings)  # type: ignore[arg-type]


def images(n: int, now_s: float = 0.0, deadline_s: float = float("inf")) -> list[Ticket]:
    replies: asyncio.Queue[Reply] = asyncio.Queue()
    return [Ticket(row, PIXELS, replies, now_s, now_s + deadline_s) for row in range(n)]


def sends(actions: list[Action]) -> list[Send]:
    return [action for action in actions if isinstance(action, Send)]


def told(actions: list[Action]) -> list[Notify]:
    return [action for action in actions if isinstance(action, Notify)]


def test_images_of_several_calls_share_a_batch_once_one_has_waited() -> None:
    dispatcher = made()
    dispatcher.accept(images(1))
    assert not dispatcher.advance(0.0)
    assert dispatcher.due_s() == pytest.approx(0.01)
    dispatcher.accept(images(2, 0.005))
    (send,) = sends(dispatcher.advance(0.01))
    assert len(send.tickets) == 3
    assert send.upper in UPPERS[send.end]


def test_a_full_batch_does_not_wait_and_the_rest_takes_another_device() -> None:
    dispatcher = made()
    dispatcher.accept(images(9))
    first, second = sends(dispatcher.advance(0.0))
    assert [len(first.tickets), len(second.tickets)] == [4, 4]
    assert first.end != second.end
    (third,) = sends(dispatcher.advance(0.01))
    assert {first.end, second.end, third.end} == {0, 1, 2}


def test_images_wait_longer_the_more_batches_the_upper_device_has() -> None:
    dispatcher = made({0: [2], 1: [2]})
    for load in range(3):
        dispatcher.accept(images(1))
        wait_s = 0.01 * (1 + load)
        assert not dispatcher.advance(wait_s - 1e-6)
        assert dispatcher.due_s() == pytest.approx(wait_s)
        (send,) = sends(dispatcher.advance(wait_s))
        dispatcher.answered(send.number, "coarse")  # the end device is free, the upper one is not
    dispatcher.answered(send.number, "fine")
    dispatcher.accept(images(1))
    assert dispatcher.due_s() == pytest.approx(0.03)
    assert not dispatcher.advance(0.0)
    dispatcher.accept(images(3))  # a full batch waits for nothing
    assert len(sends(dispatcher.advance(0.0))) == 1


def test_what_does_not_fit_is_refused_whole() -> None:
    dispatcher = made()
    dispatcher.accept(images(10))
    with pytest.raises(QueueFull, match="10 images are under way and 7 more do not fit in a queue of 16"):
        dispatcher.accept(images(7))
    assert dispatcher.waiting == 10
    dispatcher.accept(images(6))


def test_room_is_free_again_after_the_last_answer() -> None:
    dispatcher = made(queue=4)
    dispatcher.accept(images(4))
    (send,) = sends(dispatcher.advance(0.0))
    dispatcher.answered(send.number, "coarse")
    with pytest.raises(QueueFull):
        dispatcher.accept(images(1))
    assert [notice.final for notice in told(dispatcher.answered(send.number, "fine"))] == [True] * 4
    dispatcher.accept(images(4))


def test_end_devices_hold_two_batches_at_most() -> None:
    dispatcher = made({0: [1]}, queue=100)
    dispatcher.accept(images(20))
    batches = sends(dispatcher.advance(0.0))
    assert len(batches) == WINDOW
    dispatcher.answered(batches[0].number, "coarse")
    assert len(sends(dispatcher.advance(0.0))) == 1


def test_a_deadline_keeps_the_coarse_answer_and_says_so() -> None:
    dispatcher = made({0: [1]})
    dispatcher.accept(images(2, deadline_s=0.5))
    (send,) = sends(dispatcher.advance(0.02))
    coarse = told(dispatcher.answered(send.number, "coarse"))
    assert [(notice.stage, notice.final, notice.row) for notice in coarse] == [
        ("coarse", False, 0),
        ("coarse", False, 1),
    ]
    assert dispatcher.due_s() == pytest.approx(0.5)
    late = dispatcher.advance(0.5)
    assert [(notice.stage, notice.final, notice.why) for notice in told(late)] == [
        ("fine", True, "deadline of 0.5 s passed")
    ] * 2
    assert late[-1] == Cancel(send.number)
    assert dispatcher.answered(send.number, "fine") == []
    assert dispatcher.waiting == 0


def test_without_fine_answers_the_coarse_one_is_final() -> None:
    dispatcher = made({0: [], 1: []})
    dispatcher.accept(images(1))
    (send,) = sends(dispatcher.advance(0.01))
    assert send.upper is None
    assert [notice.final for notice in told(dispatcher.answered(send.number, "coarse"))] == [True]


def test_what_an_upper_device_had_goes_to_another_without_a_second_coarse_answer() -> None:
    dispatcher = made()
    dispatcher.accept(images(2))
    (send,) = sends(dispatcher.advance(0.01))
    dispatcher.answered(send.number, "coarse")
    assert send.upper is not None
    assert dispatcher.left(send.upper) == [Cancel(send.number)]
    (again,) = sends(dispatcher.advance(0.02))
    assert (again.coarse, again.tickets) == (False, send.tickets)
    assert again.upper not in (None, send.upper)


def test_with_no_upper_device_left_the_coarse_answer_has_to_do() -> None:
    dispatcher = made({0: [1]})
    dispatcher.left(1)
    dispatcher.accept(images(1))
    (send,) = sends(dispatcher.advance(0.01))
    coarse, fine = told(dispatcher.answered(send.number, "coarse"))
    assert (coarse.stage, coarse.final) == ("coarse", False)
    assert (fine.stage, fine.final, fine.row) == ("fine", True, -1)
    assert "is live" in fine.why


def test_with_no_end_device_left_nothing_is_accepted_and_what_waits_ends() -> None:
    dispatcher = made({0: [1]})
    dispatcher.accept(images(1))
    dispatcher.left(0)
    assert [notice.why for notice in told(dispatcher.advance(0.0))] == ["no end device is live"]
    with pytest.raises(ClusterError, match="no end device is live"):
        dispatcher.accept(images(1))
    dispatcher.joined(0)
    dispatcher.accept(images(1))


def test_an_image_that_fails_everywhere_is_given_up() -> None:
    dispatcher = made()
    dispatcher.accept(images(1))
    for number in range(1, MOST_TRIES + 1):
        (send,) = sends(dispatcher.advance(0.01))
        actions = dispatcher.settled(send.number, 0.01, "it is broken")
        assert bool(actions) == (number == MOST_TRIES)
    (notice,) = told(actions)
    assert (notice.final, notice.why) == (True, f"given up after {MOST_TRIES} tries: it is broken")
    assert dispatcher.waiting == 0


def test_devices_of_a_batch_that_came_to_nothing_get_no_other_for_a_while() -> None:
    dispatcher = made({0: [2, 3], 1: [2, 3]})
    dispatcher.accept(images(1))
    (first,) = sends(dispatcher.advance(0.01))
    dispatcher.settled(first.number, 0.02)
    (second,) = sends(dispatcher.advance(0.02))
    assert not {first.end, first.upper} & {second.end, second.upper}
    for _ in range(WINDOW):  # fills the other device
        dispatcher.accept(images(4, 0.03))
        dispatcher.advance(0.03)
    assert dispatcher.waiting == 9
    assert dispatcher.due_s() == pytest.approx(0.02 + SHUN_S)
    (last,) = sends(dispatcher.advance(0.03 + SHUN_S))
    assert last.end == first.end


def test_who_stops_listening_frees_the_room() -> None:
    dispatcher = made()
    mine, other = images(4), images(1)
    dispatcher.accept(mine)
    (send,) = sends(dispatcher.advance(0.0))
    dispatcher.accept(other)
    assert dispatcher.withdraw(mine) == [Cancel(send.number)]
    assert dispatcher.waiting == 1


EVENTS = st.sampled_from(["accept", "time", "coarse", "fine", "settled", "left", "joined", "withdraw"])


@given(st.data(), st.lists(EVENTS, max_size=60))
def test_whatever_happens_each_image_ends_exactly_once(data: st.DataObject, events: list[str]) -> None:
    dispatcher, now_s = made(), 0.0
    tickets: list[Ticket] = []
    under_way: dict[int, Send] = {}
    finals: Counter[int] = Counter()
    heard: Counter[tuple[int, str]] = Counter()
    withdrawn: set[int] = set()

    def take(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                assert {action.end, action.upper} - {None} <= dispatcher.live
                assert 1 <= len(action.tickets) <= 4
                assert not any(ticket.ended for ticket in action.tickets)
                under_way[action.number] = action
            elif isinstance(action, Cancel):
                under_way.pop(action.number)
            else:
                assert not finals[id(action.ticket)], "told of an image that was through"
                finals[id(action.ticket)] += action.final
                if action.row >= 0:
                    heard[id(action.ticket), action.stage] += 1

    def one() -> int:
        return data.draw(st.sampled_from(sorted(under_way)))

    for event in [*events, *["joined"] * 6]:
        if event == "accept":
            new = images(data.draw(st.integers(1, 6)), now_s, data.draw(st.sampled_from([0.05, 1.0, 1e9])))
            try:
                dispatcher.accept(new)
                tickets += new
            except (QueueFull, ClusterError):
                pass
        elif event == "time":
            now_s += data.draw(st.sampled_from([0.0, 0.01, 0.1]))
        elif event in ("left", "joined"):
            device = data.draw(st.sampled_from(range(6)))
            if event == "left":
                take(dispatcher.left(device))
                for send in under_way.values():
                    assert device not in (send.end, send.upper) or all(t.ended for t in send.tickets)
            else:
                dispatcher.joined(device)
        elif event == "withdraw" and tickets:
            some = data.draw(st.sampled_from(tickets))
            withdrawn.add(id(some))
            take(dispatcher.withdraw([some]))
        elif under_way:
            number = one()
            if event in ("coarse", "fine"):
                take(dispatcher.answered(number, "coarse" if event == "coarse" else "fine"))
            else:
                del under_way[number]
                take(dispatcher.settled(number, now_s))
        take(dispatcher.advance(now_s))
        assert 0 <= dispatcher.waiting <= dispatcher.queue
        assert dispatcher.waiting == sum(not ticket.ended for ticket in tickets)

    for device in range(6):
        dispatcher.joined(device)
    while dispatcher.waiting:
        now_s += 0.01
        take(dispatcher.advance(now_s))
        for number in list(under_way):
            for stage in ("coarse", "fine"):
                take(dispatcher.answered(number, stage))  # type: ignore[arg-type]
            del under_way[number]
            take(dispatcher.settled(number, now_s))
    for ticket in tickets:
        assert finals[id(ticket)] == 1 or (id(ticket) in withdrawn and finals[id(ticket)] == 0)
        assert heard[id(ticket), "coarse"] <= 1
        assert heard[id(ticket), "fine"] <= 1
    assert dispatcher.due_s() == float("inf")
