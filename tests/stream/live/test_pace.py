"""Speeds of camera and device, the ways between them, and what is said of it."""

import pytest

from sapnet_stream.live.ladder import FIRST_WAIT_SECONDS, Ladder, Way
from sapnet_stream.live.pace import STARVED_SECONDS, Pace
from sapnet_stream.live.status import Ages


class Time:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, time: Time, seconds: float, rate: float, frame_seconds: float) -> list[str]:
    """Frames come at `rate`; as many as the device can are derained. Returns what was said."""
    said = []
    until, free = time.now + seconds, time.now
    while time.now < until:
        time.now += 1 / rate
        pace.arrived()
        if time.now >= free:
            begin = time.now
            pace.begin()
            assert pace.turn(begin)
            time.now = begin + frame_seconds
            pace.end()
            free, time.now = begin + frame_seconds, begin
        said += [text for text in [pace.check()] if text]
    return said


def test_the_bound_is_two_and_a_half_frames_or_what_was_asked_for() -> None:
    time = Time()
    pace = Pace(0.5, time)
    assert pace.bound_seconds == 0.5
    run(pace, time, 2, 25, 0.1)
    assert pace.bound_seconds == 0.5
    run(pace, time, 5, 25, 0.4)
    assert pace.bound_seconds == pytest.approx(1.0)


def test_a_frame_that_cannot_be_shown_in_time_is_not_begun() -> None:
    time = Time()
    pace = Pace(0.5, time)
    assert not pace.expired(time.now - 60)
    run(pace, time, 5, 25, 0.4)
    assert pace.bound_seconds == pytest.approx(1.0)
    assert not pace.expired(time.now - 0.59) and pace.expired(time.now - 0.61)
    takes = "a frame takes 0.4 s and becomes 1 s old at most"
    assert pace.promise == f"{takes} (2.5 frames, for --max-latency 0.5 is less)"
    # Nothing was shown for long: an old picture is better than none.
    time.now += STARVED_SECONDS + 0.5
    assert not pace.expired(time.now - 60)
    pace.begin()
    assert pace.expired(time.now - 60)


def test_the_bound_counts_the_turns_of_others_and_what_is_left_does_not() -> None:
    time = Time()
    pace = Pace(0.5, time)
    for _ in range(9):
        # Three others come first.
        pace.begin()
        time.now += 0.3
        assert pace.turn(time.now)
        time.now += 0.1
        pace.end()
    assert pace.frame_seconds == pytest.approx(0.4)
    assert pace.bound_seconds == pytest.approx(1.0)
    # Before its turn a frame has the others' before it, then only its own.
    assert not pace.expired(time.now - 0.59) and pace.expired(time.now - 0.61)
    for age, taken in {0.89: True, 0.91: False}.items():
        pace.begin()
        assert pace.turn(time.now - age) == taken
    time.now += STARVED_SECONDS + 0.5
    pace.begin()
    time.now += 2
    assert pace.turn(time.now - 60)


def test_a_device_that_is_too_slow_is_said_within_ten_seconds_with_figures_once() -> None:
    time = Time()
    said = run(pace := Pace(0.5, time), time, 10, 25, 0.2)
    assert said == ["too slow here: 5 frames/s are derained of the 25 that come, 80% are dropped"]
    assert pace.slow
    assert run(pace, time, 20, 25, 0.01) == ["all of the 25 frames/s that come are derained again"]
    assert not pace.slow


def test_a_first_frame_that_takes_for_ever_is_said_too() -> None:
    time = Time()
    pace = Pace(0.5, time)
    pace.arrived()
    pace.begin()
    for _ in range(200):
        time.now += 0.04
        pace.arrived()
    assert "too slow here" in (pace.check() or "")


def test_a_device_that_keeps_up_says_nothing() -> None:
    time = Time()
    assert run(Pace(0.5, time), time, 30, 25, 0.03) == []


def test_after_an_outage_the_rate_means_nothing_for_a_while() -> None:
    time = Time()
    pace = Pace(0.5, time)
    assert not pace.known
    run(pace, time, 6, 25, 0.03)
    assert pace.known
    pace.resume()
    assert pace.load == 0 and not pace.known
    run(pace, time, 4, 25, 0.03)
    assert not pace.known
    run(pace, time, 2, 25, 0.03)
    assert pace.known and pace.load == pytest.approx(0.75, abs=0.05)


def way(name: str) -> Way:
    return Way(name, lambda: lambda frame: frame)


def test_ways_get_faster_while_slow_and_better_again_when_idle() -> None:
    ladder = Ladder([way("six"), way("three"), way("one")], 0.0)
    assert not ladder.step(False, 0.1, 10.0) and ladder.way.name == "six"
    assert ladder.step(True, 2.0, 11.0) and ladder.way.name == "three"
    assert ladder.step(True, 1.2, 20.0) and ladder.way.name == "one"
    assert not ladder.step(True, 1.2, 30.0)
    assert not ladder.step(False, 0.1, 19.0 + FIRST_WAIT_SECONDS)
    assert ladder.step(False, 0.1, 200.0) and ladder.way.name == "three"


def test_a_way_that_was_too_slow_again_is_tried_later_and_later() -> None:
    ladder = Ladder([way("six"), way("one")], 0.0)
    now, waits = 0.0, []
    ladder.step(True, 2.0, now)
    for _ in range(3):
        began = now
        while not ladder.step(False, 0.1, now):
            now += 1
        waits.append(now - began)
        now += 5
        assert ladder.step(True, 2.0, now)
    assert waits == [FIRST_WAIT_SECONDS, 2 * FIRST_WAIT_SECONDS, 4 * FIRST_WAIT_SECONDS]


def test_percentiles_are_of_the_latest_frames() -> None:
    ages = Ages()
    assert ages.percentile(0.99) == 0
    for number in range(1, 2001):
        ages.add(number / 1000, 1.5)
    assert (ages.frames, ages.late) == (2000, 500)
    assert ages.percentile(0.5) == 1.5
    assert ages.percentile(0.99) == 1.99
    assert ages.percentile(1) == 2.0
