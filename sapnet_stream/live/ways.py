"""The ways to derain that the options ask for."""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.live.cameras_file import Entry
from sapnet_stream.live.fleet import WaysOf
from sapnet_stream.live.ladder import Derain, Way
from sapnet_stream.live.shared_engine import SharedEngine
from sapnet_stream.live.smaller import at_half_size

Engine: TypeAlias = DerainEngine | SharedEngine

FEWER_STAGES = (3, 2, 1)


def ways(
    options: argparse.Namespace, engine_of: Callable[[argparse.Namespace], Engine]
) -> list[Way]:
    """How to derain, from the best way to the fastest that `--when-slow` allows.

    A stream that stutters is seen at once, and what is dropped is gone; a little more rain is
    neither. So by default frames are derained faster before any are dropped.

    Raises:
        UsageError: the network has no faster way of that kind.
    """
    engine = engine_of(options)
    made = [Way(engine.description, _begins(engine))]
    # What remembers looks once at each frame.
    looks_once = engine.past_frames > 0
    when_slow = options.when_slow or ("smaller" if looks_once else "fewer-stages")
    if when_slow == "smaller":
        made.append(
            Way(
                f"{engine.description}, at half the size",
                lambda: partial(at_half_size, derain=engine.stream().frame),
            )
        )
    if when_slow == "fewer-stages":
        if looks_once:
            raise UsageError("--when-slow fewer-stages is for --model sapnet: choose smaller")
        for stages in FEWER_STAGES:
            if options.stages is None or stages < options.stages:
                fewer = engine_of(argparse.Namespace(**{**vars(options), "stages": stages}))
                made.append(Way(fewer.description, _begins(fewer)))
    return made


def _begins(engine: Engine) -> Callable[[], Derain]:
    # One frame at a time: to begin the next before this one is done would only make both older.
    return lambda: engine.stream().frame


def shared_ways(engine_of: Callable[[argparse.Namespace], DerainEngine]) -> WaysOf:
    """The ways of a camera among several, which all derain by the same networks.

    One thread computes for all, see `short_thread`.
    """
    engines: dict[int | None, SharedEngine] = {}
    thread = ThreadPoolExecutor(1, "sapnet-derain")

    def engine(options: argparse.Namespace) -> SharedEngine:
        if options.stages not in engines:
            engines[options.stages] = SharedEngine(lambda: engine_of(options))
        return engines[options.stages]

    def ways_of(entry: Entry) -> list[Way]:
        return [Way(way.name, partial(begin, way)) for way in ways(entry.options, engine)]

    def begin(way: Way) -> Derain:
        derain = way.begin()
        return lambda frame: thread.submit(derain, frame).result()

    return ways_of
