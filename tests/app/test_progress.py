"""What a person sees: lines, bars and the time left."""

import io

import pytest

from jaxal.app.progress import Estimate, Terminal, duration, round_line
from jaxal.runs import compiles

RECORD = {
    "round": 0,
    "labels": 20,
    "accuracy": 0.5,
    "nll": 1.0,
    "seconds": {"train": 1.0},
    "compiles": 4,
}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_time_left_by_hand():
    clock = Clock()
    estimate = Estimate([10, 20, 30], clock=clock)
    assert estimate.remaining() is None
    estimate.training(0, 0, 100)
    clock.now += 9  # the first step was compiled
    estimate.training(0, 1, 100)
    assert estimate.remaining() == pytest.approx((99 + 200 + 300) * 9)
    clock.now += 2  # ten steps in two seconds
    estimate.training(0, 11, 100)
    assert estimate.remaining() == pytest.approx((89 + 200 + 300) * 0.2)
    clock.now += 17.8
    estimate.training(0, 100, 100)
    assert estimate.remaining() == pytest.approx(500 * 0.2)
    clock.now += 5  # looking, choosing, saving
    estimate.round_done(0)
    assert estimate.remaining() == pytest.approx(500 * 0.2 + 2 * 5)
    assert estimate.whole() == pytest.approx(600 * 0.2 + 3 * 5)
    estimate.training(1, 0, 200)
    clock.now += 10
    estimate.training(1, 100, 200)
    assert estimate.remaining() == pytest.approx((100 + 300) * 0.1 + 2 * 5)


def test_compiling_is_not_expected_again():
    clock, compiling = Clock(), Clock()
    estimate = Estimate([10, 20, 30], clock=clock, compiling=compiling)
    estimate.training(0, 0, 100)
    estimate.training(0, 1, 100)
    clock.now += 9.9
    estimate.training(0, 100, 100)
    clock.now += 60  # 57 of them for compiling what looks and chooses
    compiling.now += 57
    estimate.round_done(0)
    assert estimate.remaining() == pytest.approx(500 * 0.1 + 2 * 3)
    clock.now += 5  # a round that compiles nothing
    estimate.training(1, 0, 200)
    clock.now += 20
    estimate.training(1, 200, 200)
    clock.now += 4
    estimate.round_done(1)
    assert estimate.remaining() == pytest.approx(300 * 0.1 + 4)


def test_seconds_of_compiling_within_compiling_count_once(monkeypatch):
    monkeypatch.setattr(compiles, "_spans", [])
    before = compiles.seconds()
    for begin, end in ((1.0, 2.0), (3.0, 4.0), (2.5, 5.0), (2.0, 5.5), (7.0, 8.0)):
        compiles._note(begin, end)
    assert compiles.seconds() - before == pytest.approx(5.5)


def test_a_long_silence_of_compiling_is_explained_once():
    stream = io.StringIO()
    display = Terminal([20, 40], stream=stream, patience=0.05)
    for index in range(2):
        progress = display.phase("train", index)
        progress(0, 50)
        if index == 0:
            display._timer.join(10)
        progress(50, 50)
    assert stream.getvalue() == "compiling round 0/1 train, once for all rounds ...\n"
    stream = io.StringIO()
    quick = Terminal([20, 40], stream=stream, patience=30)
    quick.phase("train", 0)(1, 50)
    quick._timer.join(10)
    assert stream.getvalue() == ""


def test_nothing_is_left_after_the_last_round():
    estimate = Estimate([10], clock=Clock())
    estimate.training(0, 0, 5)
    estimate.training(0, 5, 5)
    estimate.round_done(0)
    assert estimate.remaining() == 0


def test_without_a_terminal_there_is_one_line_a_round():
    stream = io.StringIO()
    display = Terminal([20, 40], stream=stream)
    for name in ("train", "evaluate", "score", "select"):
        progress = display.phase(name, 0)
        for done in range(50):
            progress(done, 50)
    display.round(RECORD)
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()
    assert "round 0/1" in stream.getvalue()


def test_on_a_terminal_bars_have_rates_and_the_time_left():
    stream = io.StringIO()
    display = Terminal([20, 40], stream=stream, is_terminal=True, runs_after=1)
    progress = display.phase("train", 0)
    assert "round 0/1 train ..." in stream.getvalue()  # while it compiles
    for done in (0, 1, 30, 60):
        progress(done, 60)
    progress = display.phase("score", 0)
    progress(0, 1000)
    progress(1000, 1000)
    display.round(RECORD)
    drawn = stream.getvalue()
    assert "round 0/1 train" in drawn
    assert "round 0/1 score" in drawn
    assert "step/s" in drawn or "s/step" in drawn
    assert "left" in drawn
    assert "60/60" in drawn


def test_a_bar_starts_afresh_when_a_phase_is_called_again():
    stream = io.StringIO()
    display = Terminal([20], stream=stream, is_terminal=True)
    for _ in range(2):
        progress = display.phase("train", 0)
        progress(0, 10)
        progress(10, 10)
    assert stream.getvalue().count("10/10") >= 2


def test_a_round_without_numbers_is_still_a_line():
    line = round_line({**RECORD, "nll": None}, 5, "about 3 min left")
    assert line.endswith("about 3 min left")
    assert "nll inf" in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (5400, "1 h 30 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
