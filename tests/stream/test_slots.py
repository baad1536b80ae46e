"""Frames overlap on the lanes of a device, keep their order, and are never too many."""

import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from sapnet_stream.engine import DerainEngine
from sapnet_stream.slots import Finish, Host, Lane, Mark, Slots, in_order
from sapnet_stream.video.frame import Colour, Frame, pixel_layout

T = TypeVar("T")
COST = {"up": 2, "compute": 5, "down": 3}
"""Ticks that a frame takes in each lane."""


@dataclass
class FakeMark:
    device: "FakeDevice"
    tick: int
    error: Exception | None = None

    def synchronize(self) -> None:
        self.device.now = max(self.device.now, self.tick)
        if self.error is not None:
            raise self.error


class FakeDevice(Host):
    """Three lanes under one clock: what is queued takes its time, the host none.

    Attributes:
        now: the host's time; only waiting makes it pass.
        spans: (lane, begin, end) of all work, as it was queued.
    """

    slots = 3

    def __init__(self) -> None:
        self.now = 0
        self.spans: list[tuple[Lane, int, int]] = []
        self.failing: dict[int, Exception] = {}
        self._free: dict[Lane, int] = {"up": 0, "compute": 0, "down": 0}

    def run(self, lane: Lane, after: Mark | None, work: Callable[[], T]) -> tuple[T, Mark]:
        result = work()
        begin = max(self.now, self._free[lane])
        if isinstance(after, FakeMark):
            begin = max(begin, after.tick)
        end = self._free[lane] = begin + COST[lane]
        error = self.failing.get(len(self.lane(lane))) if lane == "compute" else None
        self.spans.append((lane, begin, end))
        error = error or (after.error if isinstance(after, FakeMark) else None)
        return result, FakeMark(self, end, error)

    def lane(self, lane: Lane) -> list[tuple[int, int]]:
        return [(begin, end) for each, begin, end in self.spans if each == lane]


def begun(slots: Slots, numbers: Iterable[int], bad: int = -1) -> Iterator[Finish[int]]:
    """Begin work that returns ten times each number; `bad` fails as it begins."""

    def derain(number: int) -> int:
        if number == bad:
            raise ValueError(f"frame {number}")
        return 10 * number

    for number in numbers:
        yield slots.start(partial(int, number), derain, int)


def test_the_lanes_overlap() -> None:
    device = FakeDevice()
    results = list(in_order(begun(Slots(device), range(20)), device.slots))
    assert results == [10 * number for number in range(20)]
    # The slowest lane never pauses: all but the first way up and the last way down is hidden.
    computing = device.lane("compute")
    pauses = [begin - end for (_, end), (begin, _) in pairwise(computing)]
    assert pauses == [0] * 19
    assert device.now == COST["up"] + 20 * COST["compute"] + COST["down"]
    up, down = device.lane("up"), device.lane("down")
    for number in range(1, 19):
        begin, end = computing[number]
        assert up[number + 1][1] <= end, "the next frame is there when this one is done"
        assert down[number - 1][0] == begin, "the last one leaves while this one is computed"


def test_a_frame_waits_for_its_own_way_up() -> None:
    device = FakeDevice()
    list(in_order(begun(Slots(device), range(9)), device.slots))
    ways = (device.lane(lane) for lane in ("up", "compute", "down"))
    for up, compute, down in zip(*ways, strict=True):
        assert up[1] <= compute[0] and compute[1] <= down[0]


def test_no_more_frames_are_taken_than_there_are_slots() -> None:
    device = FakeDevice()
    taken = returned = 0

    def source() -> Generator[int, None, None]:
        nonlocal taken
        for number in range(10):
            taken += 1
            assert taken - returned <= device.slots
            yield number

    for _ in in_order(begun(Slots(device), source()), device.slots):
        returned += 1
    assert taken == returned == 10


def test_slots_bound_what_is_begun_even_where_nobody_waits_for_it() -> None:
    device = FakeDevice()
    ways = list(begun(Slots(device), range(6)))
    # The fourth had to wait for the first, the sixth for the third.
    assert device.now == device.lane("down")[2][1]
    assert device.lane("up")[5][0] == device.now
    assert [finish() for finish in ways] == [0, 10, 20, 30, 40, 50]


def test_memory_that_crosses_lanes_is_held_until_the_frame_is_done() -> None:
    slots = Slots(FakeDevice())
    sent: list[weakref.ref[Tensor]] = []

    def send() -> Tensor:
        tensor = torch.zeros(1)
        sent.append(weakref.ref(tensor))
        return tensor

    def start(fetch: Callable[[Tensor], float] = float) -> Finish[float]:
        return slots.start(send, lambda tensor: tensor.sum(), fetch)

    finish = start()
    assert sent[0]() is not None
    assert finish() == 0.0
    assert sent[0]() is None
    start()
    assert sent[1]() is not None, "held by its slot, though nobody waits for it"
    with pytest.raises(ValueError, match="no pinned memory"):
        start(no_memory)
    assert sent[2]() is not None, "though it cannot be fetched, it may still be read"


def no_memory(_: Tensor) -> float:
    raise ValueError("no pinned memory")


def test_an_error_as_a_frame_begins_comes_behind_the_frames_before_it() -> None:
    device = FakeDevice()
    results: list[int] = []
    with pytest.raises(ValueError, match="frame 4"):
        results.extend(in_order(begun(Slots(device), range(9), bad=4), device.slots))
    assert results == [0, 10, 20, 30]


def test_an_error_on_the_device_is_its_own_frames() -> None:
    device = FakeDevice()
    device.failing[4] = ValueError("frame 4")
    results: list[int] = []
    with pytest.raises(ValueError, match="frame 4"):
        results.extend(in_order(begun(Slots(device), range(9)), device.slots))
    assert results == [0, 10, 20, 30]


def test_an_error_of_the_source_comes_behind_the_frames_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield from range(2)
        raise OSError("the disk is gone")

    device = FakeDevice()
    results: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        results.extend(in_order(begun(Slots(device), source()), device.slots))
    assert results == [0, 10]


def test_a_cpu_returns_each_frame_before_it_takes_the_next() -> None:
    taken = returned = 0

    def source() -> Generator[int, None, None]:
        nonlocal taken
        for number in range(5):
            assert taken == returned
            taken += 1
            yield number

    for _ in in_order(begun(Slots(Host()), source()), Host.slots):
        returned += 1
        assert taken == returned
    assert returned == 5


class Brighter:
    """Stands in for the network; fails at its `bad`-th picture."""

    name = "brighter"

    def __init__(self, bad: int = -1) -> None:
        self.seen = 0
        self.bad = bad

    def __call__(self, image: Tensor) -> Tensor:
        self.seen += 1
        if self.seen == self.bad:
            raise RuntimeError("no")
        return image + 0.125

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def frame(number: int, *, interlaced: bool = False) -> Frame:
    layout = pixel_layout("yuv420p")
    planes = tuple(
        torch.full(shape, 60 + number, dtype=torch.uint8) for shape in layout.plane_shapes(8, 6)
    )
    colour = Colour(0.2126, 0.0722, True)
    return Frame(planes, layout, colour, number, Fraction(1, 25), interlaced=interlaced)


@pytest.fixture
def engine() -> DerainEngine:
    """An engine whose frames go through a fake device."""
    made = DerainEngine(executor=Brighter(), device="cpu")
    made.slots = Slots(FakeDevice())
    return made


def device_of(engine: DerainEngine) -> FakeDevice:
    assert isinstance(engine.slots.device, FakeDevice)
    return engine.slots.device


@pytest.mark.parametrize("interlaced", [False, True])
def test_frames_under_way_come_out_as_on_a_cpu(engine: DerainEngine, interlaced: bool) -> None:
    given = [frame(number, interlaced=interlaced) for number in range(7)]
    expected = list(DerainEngine(executor=Brighter(), device="cpu").frames(given))
    results = list(engine.frames(given))
    assert [each.pts for each in results] == list(range(7))
    for result, want in zip(results, expected, strict=True):
        assert all(map(torch.equal, result.planes, want.planes))
    computing = device_of(engine).lane("compute")
    assert len(computing) == 7 * (1 + interlaced)
    assert all(b[0] == a[1] for a, b in pairwise(computing))


def test_what_is_no_frame_keeps_its_place(engine: DerainEngine) -> None:
    items = [frame(0), "sound", frame(1), frame(2), "subtitle", frame(3)]
    results = [each.pts if isinstance(each, Frame) else each for each in engine.frames(items)]
    assert results == [0, "sound", 1, 2, "subtitle", 3]


def test_a_single_frame_waits_for_no_other(engine: DerainEngine) -> None:
    stream = engine.stream()
    for number in range(3):
        before = device_of(engine).now
        assert stream.frame(frame(number)).pts == number
        assert device_of(engine).now - before == sum(COST.values())


def test_frames_before_a_failing_one_are_not_lost(engine: DerainEngine) -> None:
    engine.executor = Brighter(bad=5)
    results: list[Frame] = []
    with pytest.raises(RuntimeError, match="no"):
        results.extend(engine.frames(map(frame, range(9))))
    assert [each.pts for each in results] == [0, 1, 2, 3]
