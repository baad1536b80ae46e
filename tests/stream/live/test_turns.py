"""One device for several cameras: equal shares, all that is asked for, and no one left waiting."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from sapnet_stream.flow import Cancelled
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.turns import Turn, Turns
from sapnet_stream.video.frame import Frame

Eventually = Callable[..., None]


class Worker:
    """Asks for the device again and again, or at most every `period` seconds."""

    def __init__(self, turns: Turns, log: list["Worker"], period: float = 0.0) -> None:
        self.turn = turns.join()
        self._log, self._period = log, period
        self._over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.asked = 0

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._period):
            self.asked += 1
            with self.turn:
                self._log.append(self)
                time.sleep(0.002)


@contextmanager
def working(*workers: Worker) -> Iterator[None]:
    for worker in workers:
        worker.thread.start()
    yield
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.thread.join(20)
        assert not worker.thread.is_alive()


def test_those_that_always_ask_get_equal_shares_whoever_asks_more(eventually: Eventually) -> None:
    turns, log = Turns(), list[Worker]()
    greedy = [Worker(turns, log) for _ in range(4)]
    with working(*greedy):
        eventually(lambda: all(log.count(each) > 100 for each in greedy))
    # Threads begin one after the other.
    begun = max(log.index(each) for each in greedy)
    counts = [log[begun : begun + 300].count(each) for each in greedy]
    assert max(counts) - min(counts) <= 0.05 * max(counts), counts


def test_who_asks_for_less_gets_all_of_it(eventually: Eventually) -> None:
    turns, log = Turns(), list[Worker]()
    modest = Worker(turns, log, period=0.02)
    greedy = [Worker(turns, log) for _ in range(3)]
    with working(modest, *greedy):
        eventually(lambda: modest.asked > 25)
    assert log.count(modest) == modest.asked
    assert all(log.count(each) > modest.asked for each in greedy)


def ask(turn: Turn, order: list[Turn]) -> None:
    with turn:
        order.append(turn)


def test_next_is_whose_last_turn_was_longest_ago(eventually: Eventually) -> None:
    turns, order = Turns(), list[Turn]()
    first, second, third = (turns.join() for _ in range(3))
    for turn in (third, second, first):
        ask(turn, order)
    order.clear()
    holder = turns.join()
    with ThreadPoolExecutor() as pool:
        with holder:
            # In the order in which they ask, which does not count.
            for turn in (first, second, third):
                pool.submit(ask, turn, order)
                eventually(lambda turn=turn: turn.waiting)
        eventually(lambda: len(order) == 3)
    assert order == [third, second, first]


def test_who_leaves_waits_no_longer_and_holds_nobody_up(eventually: Eventually) -> None:
    turns = Turns()
    holder, leaver, other = (turns.join() for _ in range(3))
    order: list[Turn] = []
    with ThreadPoolExecutor() as pool:
        with holder:
            left = pool.submit(ask, leaver, order)
            eventually(lambda: leaver.waiting)
            stays = pool.submit(ask, other, order)
            eventually(lambda: other.waiting)
            leaver.leave()
            leaver.leave()
            with pytest.raises(Cancelled):
                left.result(20)
        stays.result(20)
    assert order == [other]
    with pytest.raises(Cancelled), leaver:
        pass
    with pytest.raises(KeyError), other:
        raise KeyError
    ask(holder, order)


def test_four_cameras_of_a_slow_device_get_the_same_and_no_older_than_announced(
    camera: Any, run: Callable[..., Any], eventually: Eventually
) -> None:
    turns = Turns()

    def slow(frame: Frame) -> Frame:
        time.sleep(0.05)
        return frame

    jobs = [
        run(camera.url("camera.mp4"), ways=[Way("slow", lambda: slow)], device=turns.join())
        for _ in range(4)
    ]
    eventually(lambda: all(job.status.frames_out > 9 for job in jobs))
    # As it will find in a few seconds.
    for job in jobs:
        job.camera._pace.slow = True
    before = [job.status for job in jobs]
    first = sum(status.frames_out for status in before)
    eventually(lambda: sum(job.status.frames_out for job in jobs) > first + 80)
    after = [job.status for job in jobs]
    counts = [now.frames_out - was.frames_out for was, now in zip(before, after, strict=True)]
    assert max(counts) - min(counts) <= 3, counts
    for was, now, count in zip(before, after, counts, strict=True):
        # Four turns of 0.05 s.
        assert 0.15 < now.frame_seconds < 0.4
        assert now.bound_seconds >= 2.4 * now.frame_seconds
        assert now.late - was.late <= 1, (was, now)
        # The newest frame is taken when the turn comes, so it did not wait for all the others.
        assert now.age_sum_seconds - was.age_sum_seconds < count * 1.2 * now.frame_seconds


class Gate:
    """A device that others have while it is shut."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def __enter__(self) -> None:
        self.open.wait()

    def __exit__(self, *_: object) -> None:
        """Nobody else waits."""


@pytest.mark.parametrize("slow", [False, True])
def test_the_frame_that_waited_has_its_turn_unless_some_are_dropped_anyway(
    camera: Any, run: Callable[..., Any], eventually: Eventually, slow: bool
) -> None:
    gate, seen = Gate(), list[float]()

    def look(frame: Frame) -> Frame:
        seen.append(float(frame.pts * frame.time_base))
        return frame

    job = run(camera.url("camera.mp4"), ways=[Way("look", lambda: look)], device=gate)
    eventually(lambda: len(seen) > 10)
    # However loaded the machine is, none becomes too old.
    job.camera._pace._max_latency_seconds = 60.0
    gate.open.clear()
    came = job.status.frames_in
    eventually(lambda: job.status.frames_in > came + 22)
    last, count = seen[-1], len(seen)
    job.camera._pace.slow = slow
    gate.open.set()
    eventually(lambda: len(seen) > count)
    # 25 frames/s.
    assert (seen[count] - last > 0.4) == slow, seen[count] - last
