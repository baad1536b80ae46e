"""Channels and pipelines: order, bounds, and no fault that hangs."""

import random
import threading
import time
from collections.abc import Generator, Iterator

import pytest

from sapnet_stream.flow import Cancellation, Cancelled, Channel, Pipeline

FRAMES = 40


def numbers(last: int = FRAMES) -> Generator[int, None, None]:
    yield from range(last)


def doubled(items: Iterator[int]) -> Generator[int, None, None]:
    for item in items:
        yield 2 * item


def test_items_arrive_in_order_and_once() -> None:
    seen: list[int] = []

    def collect(items: Iterator[int]) -> Generator[None, None, None]:
        for item in items:
            seen.append(item)
            yield

    pipeline = Pipeline()
    middle = pipeline.stage("double", doubled, pipeline.source("count", numbers, 2), 2)
    pipeline.sink("collect", collect, middle)
    pipeline.run()
    assert seen == [2 * n for n in range(FRAMES)]


def test_a_channel_holds_no_more_than_its_capacity() -> None:
    channel: Channel[int] = Channel(3, Cancellation())
    written: list[int] = []

    def write() -> None:
        for item in range(10):
            channel.put(item)
            written.append(item)
        channel.close()

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.1)
    assert len(written) == 3
    assert list(channel) == list(range(10))
    writer.join()
    assert channel.put_wait_seconds > 0.05


def test_a_channel_of_the_newest_never_waits_and_counts_what_it_drops() -> None:
    channel: Channel[int] = Channel(2, Cancellation(), newest=True)
    for item in range(10):
        channel.put(item)
    channel.close()
    assert list(channel) == [8, 9]
    assert channel.dropped == 8 and channel.put_wait_seconds < 1


def test_a_reader_that_waited_elsewhere_takes_the_newest() -> None:
    channel: Channel[int] = Channel(3, Cancellation(), newest=True)
    assert channel.newest(7) == 7
    for item in range(3):
        channel.put(item)
    assert (channel.newest(7), channel.dropped) == (2, 3), "what the reader holds is dropped too"
    channel.put(5)
    channel.close()
    assert list(channel) == [5]


def test_a_reader_that_does_not_come_back_is_told_from_one_that_waits() -> None:
    channel: Channel[int] = Channel(2, Cancellation())
    channel.put(1)
    items = iter(channel)
    assert channel.held_seconds == 0
    next(items)
    time.sleep(0.05)
    assert channel.held_seconds >= 0.05
    channel.close()
    assert not list(items) and channel.held_seconds == 0


def test_large_items_take_several_places_and_one_always_fits() -> None:
    channel: Channel[int] = Channel(10, Cancellation(), newest=True, places=lambda item: item)
    for item in (4, 3, 3):
        channel.put(item)
    assert channel.dropped == 0
    channel.put(5)
    # 3 + 5 fit into 10, 3 + 3 + 5 do not.
    assert channel.dropped == 2
    channel.put(50)
    assert channel.dropped == 4
    channel.put(1)
    assert channel.dropped == 5
    channel.close()
    assert list(channel) == [1]


def test_cancel_wakes_a_reader_and_a_writer() -> None:
    switch = Cancellation()
    full: Channel[int] = Channel(1, switch)
    empty: Channel[int] = Channel(1, switch)
    full.put(0)
    woken: list[str] = []

    def write() -> None:
        with pytest.raises(Cancelled):
            full.put(1)
        woken.append("writer")

    def read() -> None:
        with pytest.raises(Cancelled):
            next(iter(empty))
        woken.append("reader")

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    switch.cancel()
    for thread in threads:
        thread.join(timeout=5)
    assert sorted(woken) == ["reader", "writer"]


class Fault(Exception):
    pass


def run_with_fault(stage: str, at: int, capacity: int) -> list[str]:
    """Run three stages, `stage` failing at item `at`; the names of the stages closed."""
    closed: list[str] = []

    def faulty(name: str, items: Iterator[int]) -> Generator[int, None, None]:
        try:
            for count, item in enumerate(items):
                if name == stage and count == at:
                    raise Fault(f"{name} at {at}")
                yield item
            if name == stage and at == FRAMES:
                raise Fault(f"{name} at its end")
        finally:
            closed.append(name)

    def encode(items: Iterator[int]) -> Generator[None, None, None]:
        for _ in faulty("encode", items):
            yield

    pipeline = Pipeline()
    decoded = pipeline.source("decode", lambda: faulty("decode", numbers()), capacity)
    derained = pipeline.stage("derain", lambda items: faulty("derain", items), decoded, capacity)
    pipeline.sink("encode", encode, derained)
    with pytest.raises(Fault, match=stage) as raised:
        pipeline.run()
    assert raised.value.__notes__ == [f"in stage {stage}"]
    return closed


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stage", ["decode", "derain", "encode"])
def test_a_hundred_faults_per_stage_end_the_run(stage: str) -> None:
    threads = threading.active_count()
    chance = random.Random(stage)
    for _ in range(100):
        closed = run_with_fault(stage, chance.randint(0, FRAMES), chance.randint(1, 4))
        assert sorted(closed) == ["decode", "derain", "encode"]
        assert threading.active_count() == threads


@pytest.mark.timeout(60)
def test_a_hundred_cancellations_end_the_run() -> None:
    for moment in range(100):
        pipeline = Pipeline()

        def endless(
            items: Iterator[int], last: int = moment, on: Pipeline = pipeline
        ) -> Generator[None, None, None]:
            for item in items:
                if item == last:
                    on.cancel()
                yield

        pipeline.sink("sink", endless, pipeline.source("count", lambda: numbers(10**9), 2))
        with pytest.raises(Cancelled):
            pipeline.run()


def test_the_first_error_is_the_one_raised() -> None:
    def fails(items: Iterator[int]) -> Generator[int, None, None]:
        next(items)
        raise Fault("first")
        yield

    def fails_when_closed(items: Iterator[int]) -> Generator[None, None, None]:
        try:
            for _ in items:
                yield
        finally:
            raise ValueError("second")

    pipeline = Pipeline()
    middle = pipeline.stage("middle", fails, pipeline.source("count", numbers, 1), 1)
    pipeline.sink("sink", fails_when_closed, middle)
    with pytest.raises(Fault, match="first"):
        pipeline.run()


def test_a_stage_that_leaves_input_over_is_an_error() -> None:
    def stops_early(items: Iterator[int]) -> Generator[None, None, None]:
        next(items)
        yield

    pipeline = Pipeline()
    pipeline.sink("sink", stops_early, pipeline.source("count", numbers, 1))
    with pytest.raises(RuntimeError, match="input left over"):
        pipeline.run()


def test_waiting_is_told_from_working() -> None:
    def slow(items: Iterator[int]) -> Generator[None, None, None]:
        for _ in items:
            time.sleep(0.005)
            yield

    pipeline = Pipeline()
    pipeline.sink("slow", slow, pipeline.source("count", numbers, 1))
    pipeline.run()
    count, sink = pipeline.stats
    assert count.output_wait_seconds > sink.input_wait_seconds
    assert sink.busy_seconds > 0.15


@pytest.mark.timeout(60)
def test_an_interrupt_between_two_starts_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "sapnet-sink":
            raise KeyboardInterrupt
        start(thread)

    def drop(items: Iterator[int]) -> Generator[None, None, None]:
        for _ in items:
            yield

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    threads = threading.active_count()
    pipeline = Pipeline()
    pipeline.sink("sink", drop, pipeline.source("count", lambda: numbers(10**9), 2))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    assert threading.active_count() == threads
