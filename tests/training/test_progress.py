"""What a person sees of a training: bars in a terminal, lines in a file."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from hddnn.cli.train_progress import TrainingBars


def shown(terminal: bool) -> str:
    text = StringIO()
    with TrainingBars(Console(file=text, force_terminal=terminal, width=120)) as bars:
        bars.teacher("wrn16_4", 50, 100)
        bars.teacher("wrn16_4", 100, 100)
        bars.began(1, 3, 10)
        assert bars.done == 1
        bars.batch(2, 5, 10, 1.2345, 0.5)
        bars.epoch(2, 3, 1.1, 0.61)
        bars.batch(3, 5, 10, 0.9, 0.7)
        if not terminal:  # a terminal shows the last state, and here that is to be the epoch's
            bars.bundling()
        assert bars.done == 2
    return text.getvalue()


def test_bars_tell_epoch_loss_accuracy_and_time_left() -> None:
    text = shown(terminal=True)
    for part in (
        "answers of wrn16_4",
        "epoch 3 of 3",
        "loss 0.900",
        "training 0.700",
        "held out 0.610",
        "left",
    ):
        assert part in text
    assert "epoch 2 of 3: loss" not in text


def test_each_teacher_has_a_bar_of_its_own() -> None:
    text = StringIO()
    with TrainingBars(Console(file=text, force_terminal=True, width=120)) as bars:
        for name in ("first", "second"):
            bars.teacher(name, 50, 50)
    assert "answers of first" in text.getvalue()
    assert "answers of second" in text.getvalue()


def test_lines_where_there_is_no_terminal() -> None:
    assert shown(terminal=False).splitlines() == [
        "answers of wrn16_4: 100 images",
        "epoch 2 of 3: loss 1.100  held out 0.610",
        "making and measuring the bundle",
    ]
