"""Times of live packets: forward only, one offset for picture and sound."""

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
