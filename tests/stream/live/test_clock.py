"""Times of live packets: forward only, one offset for picture and sound."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapnet_stream.live.clock import SourceClock

VIDEO, AUDIO = 0, 1
TICK = Fraction(1, 90_000)
SAMPLE = Fraction(1, 48_000)


def test_the_camera_s_clock_counts_not_the_arrival() -> None:
    clock = SourceClock(origin_seconds=100.0)
    places = [
        clock.place(VIDEO, 3600 * n, 3600 * n, TICK, 107 + 0.04 * n + 0.02 * (n % 3))[1]
        for n in range(20)
    ]
    assert places == [7 * 90_000 + 3600 * n for n in range(20)]
    assert (clock.jumps, clock.retimed) == (0, 0)


def test_sound_keeps_its_distance_from_the_picture_through_a_jump() -> None:
    clock = SourceClock(0.0)
    begin = 5000 * 90_000
    for n in range(100):
        # After 50 frames the camera's clock is set back by an hour; sound follows later.
        back, sound_back = (3600 * (n >= 50), 3600 * (n >= 53))
        now = 1 + n * 0.04
        seconds = Fraction(n, 25)
        tick = begin + 3600 * n - back * 90_000
        video = clock.place(VIDEO, tick, tick, TICK, now)[1] * TICK
        tick = int((5000 + seconds - sound_back) * 48_000)
        audio = clock.place(AUDIO, tick, tick, SAMPLE, now)[1] * SAMPLE
        assert abs(video - audio) < Fraction(1, 25)
        assert abs(video - 1 - seconds) < Fraction(1, 10)
    assert clock.jumps == 1 and clock.retimed <= 3


def test_a_jump_forward_is_taken_out() -> None:
    clock = SourceClock(0.0)
    assert clock.place(VIDEO, 0, 0, TICK, 1.0)[1] == 90_000
    assert clock.place(VIDEO, 10**12, 10**12, TICK, 1.04)[1] == round(1.04 * 90_000)
    assert clock.jumps == 1


@pytest.mark.parametrize(("packets", "arrival_step"), [(1199, 0.0), (20_000, 0.039)])
def test_a_long_burst_and_a_fast_clock_keep_their_pace(packets: int, arrival_step: float) -> None:
    clock = SourceClock(0.0)
    places = [
        clock.place(VIDEO, 3600 * n, 3600 * n, TICK, 1 + arrival_step * n)[1] - 90_000
        for n in range(0, packets, 10 if arrival_step else 1)
    ]
    assert places == list(range(0, 3600 * packets, 36_000 if arrival_step else 3600))
    assert (clock.jumps, clock.retimed) == (0, 0)


def test_packets_after_a_pause_of_the_network_keep_their_pace() -> None:
    clock = SourceClock(0.0)
    clock.place(VIDEO, 0, 0, TICK, 0.0)
    late = [clock.place(VIDEO, 3600 * n, 3600 * n, TICK, 3.5)[1] for n in range(1, 90)]
    assert late == [3600 * n for n in range(1, 90)]


def test_packets_without_a_time_follow_the_one_before() -> None:
    clock = SourceClock(0.0)
    first = clock.place(VIDEO, None, None, TICK, 2.0)
    second = clock.place(VIDEO, 3636, 3636, TICK, 2.0)
    third = clock.place(VIDEO, None, None, TICK, 2.1)
    assert (first[0], second[0], third[0]) == (180_000, 183_636, 183_726)
    assert clock.jumps == 0


def test_a_later_connection_begins_behind_the_one_before() -> None:
    clock = SourceClock(0.0, floor_seconds=50.0)
    assert clock.place(VIDEO, 7, 7, TICK, 49.0)[0] > 50 * 90_000


STANDING: list[Callable[[int], int | None]] = [
    lambda _: 5,
    lambda _: None,
    lambda n: n,
    # Back with each packet, or again and again; in pairs, at half the speed.
    lambda n: 10**9 - 3600 * n,
    lambda n: 3600 * (n % 10),
    lambda n: 3600 * (n // 2),
]


@pytest.mark.parametrize("told", STANDING)
def test_where_times_stand_still_those_of_arrival_count(told: Callable[[int], int | None]) -> None:
    clock = SourceClock(0.0)
    places = [clock.place(VIDEO, told(n), told(n), TICK, 0.04 * n)[1] for n in range(500)]
    assert clock.standing
    # Found out after two seconds.
    assert places[60:] == [pytest.approx(3600 * n, abs=2) for n in range(60, 500)]


def test_times_that_cease_to_go_on_do_not_go_back() -> None:
    clock = SourceClock(0.0)
    places = [clock.place(VIDEO, 3600 * n, 3600 * n, TICK, 0.001 * n)[1] for n in range(200)] + [
        clock.place(VIDEO, 720_000, 720_000, TICK, 0.2 + 0.04 * n)[1] for n in range(200)
    ]
    assert clock.standing
    # The clock was almost eight seconds ahead, as after a burst.
    assert places[-1] - places[-101] == pytest.approx(100 * 3600, abs=100)


GOING: list[Callable[[int], int]] = [
    # Fields, pictures out of order, an uneven rate.
    lambda n: 3600 * (n // 2),
    lambda n: 3600 * (n // 3 * 3 + [2, 0, 1][n % 3]),
    lambda n: 3600 * (n + 2 * (n % 2) + 10 * (n // 100)),
]


@pytest.mark.parametrize("told", GOING)
@pytest.mark.parametrize("bursts", [1, 60])
def test_times_that_go_on_in_their_own_way_are_the_camera_s(
    told: Callable[[int], int], bursts: int
) -> None:
    clock = SourceClock(0.0)
    step = told(600) / 600 / 90_000
    for n in range(600):
        # A network that pauses passes on all that came meanwhile.
        clock.place(VIDEO, told(n), told(n), TICK, step * (n // bursts * bursts))
    assert not clock.standing


def test_a_pipe_that_is_slow_keeps_its_times() -> None:
    clock = SourceClock(0.0)
    places = [clock.place(VIDEO, 3600 * n, 3600 * n, TICK, float(n))[1] for n in range(60)]
    assert places[1:] == [3600 * n for n in range(1, 60)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([VIDEO, AUDIO]),
            st.one_of(st.none(), st.integers(-(2**33), 2**33)),
            st.integers(0, 9000),
            st.floats(0, 5),
        ),
        max_size=60,
    )
)
def test_whatever_the_camera_s_clock_does_times_grow(
    packets: list[tuple[int, int | None, int, float]],
) -> None:
    clock = SourceClock(0.0)
    last: dict[int, int] = {}
    now = 0.0
    for stream, dts, reorder, wait in packets:
        now += wait
        pts = None if dts is None else dts + reorder
        placed, shown = clock.place(stream, dts, pts, TICK, now)
        assert placed > last.get(stream, -1) and shown >= placed
        last[stream] = placed
