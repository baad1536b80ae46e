"""A job's parts: stretches of a few seconds, each derained and encoded by itself."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from sapnet_stream.engine import DerainEngine
from sapnet_stream.flow import Cancelled, Pipeline, StageStats
from sapnet_stream.job import PreparedJob
from sapnet_stream.journal import Journal, PartRecord
from sapnet_stream.slots import Finish, in_order
from sapnet_stream.stop import Stop
from sapnet_stream.stream import WARM_UP_SECONDS
from sapnet_stream.video.compare import COMPARISONS
from sapnet_stream.video.decode import NoFrameError, VideoDecoder
from sapnet_stream.video.encode import VideoEncoder
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.join import VideoPart

# Enough for decoder and encoder to work through a slow moment of the other. More would only
# cost memory: the network is the bottleneck.
QUEUED_FRAMES = 6


@dataclass(frozen=True)
class PartWork:
    """Turns stretches of the source into parts.

    Attributes:
        prepared: the job; part n begins `n * prepared.part_seconds` behind `prepared.origin`.
        engine: what derains.
        journal: where finished parts are noted.
    """

    prepared: PreparedJob
    engine: DerainEngine
    journal: Journal

    def run(
        self,
        first: int,
        behind: int | None,
        stop: Stop,
        on_frame: Callable[[], None] = lambda: None,
        on_again: Callable[[int, int], None] = lambda *_: None,
    ) -> list[StageStats]:
        """Make the parts from `first` up to `behind`, or up to the end of the source.

        Args:
            first: number of a part.
            behind: number of the part behind the last; None makes all that follow.
            stop: asked once, ends with the part at hand.
            on_frame: called after each frame, from another thread.
            on_again: see `VideoDecoder`; from any thread.

        Raises:
            KeyboardInterrupt: `stop` was asked twice; finished parts are kept.
        """
        pipeline = Pipeline()
        with stop.cancelling(pipeline.cancel), suppress(Cancelled):
            # Cancelled by `stop`, which says what follows.
            try:
                decoder = self._decoder(first, behind, on_again, pipeline.cancellation.check)
            except NoFrameError:
                _PartWriter(self, first).finish(first + 1 if behind is None else behind)
                if behind is None:
                    self.journal.end(first + 1)
                return []
            with decoder:
                self._join_stages(pipeline, decoder, first, behind, stop, on_frame)
                pipeline.run()
        return pipeline.stats

    def _decoder(
        self,
        first: int,
        behind: int | None,
        on_again: Callable[[int, int], None],
        check: Callable[[], None],
    ) -> VideoDecoder:
        # A seek into a damaged file may show another picture than reading up to there.
        careful = any(part.damaged or part.retimed for part in self.journal.parts.values())
        job = self.prepared.job
        return VideoDecoder(
            job.source,
            self.prepared.part_span(first, behind),
            lead_seconds=WARM_UP_SECONDS if self.engine.past_frames else 0,
            careful=careful,
            deinterlace=job.deinterlace,
            hardware=job.hardware,
            on_again=on_again,
            check=check,
        )

    def _join_stages(
        self,
        pipeline: Pipeline,
        decoder: VideoDecoder,
        first: int,
        behind: int | None,
        stop: Stop,
        on_frame: Callable[[], None],
    ) -> None:
        def encode(items: Iterator[Frame]) -> Generator[None, None, None]:
            with closing(_PartWriter(self, first)) as writer:
                for frame in items:
                    if writer.is_beyond(frame):
                        writer.finish(self.prepared.part_number(frame))
                        if stop.asked:
                            raise Cancelled
                    with _located(frame):
                        writer.write(frame)
                    on_frame()
                    yield
                count = writer.last + 1 if behind is None else behind
                # What is broken behind the last frame belongs to the next, if there is one.
                writer.finish(count, decoder.damaged if behind is None else 0)
            if behind is None:
                self.journal.end(count)

        def derain(items: Iterator[Frame]) -> Generator[Frame, None, None]:
            return in_order(self._started(items, first), self.engine.slots.device.slots)

        frames = pipeline.source("decode", decoder.frames, QUEUED_FRAMES)
        pipeline.sink("encode", encode, pipeline.stage("derain", derain, frames, QUEUED_FRAMES))

    def _started(self, frames: Iterator[Frame], first: int) -> Generator[Finish[Frame], None, None]:
        """Each part as if it were made alone: what it remembers depends on its place only."""
        past: deque[Frame] = deque(maxlen=self.engine.past_frames)
        begin, number = self.prepared.part_span(first, None).begin, -1
        stream = self.engine.stream()
        for frame in frames:
            seconds = frame.pts * frame.time_base
            # The encoder paints over the picture's memory.
            kept = [frame.detached()] if past.maxlen else []
            if begin is None or seconds >= begin:
                with _located(frame):
                    if self.prepared.part_number(frame) != number:
                        number = self.prepared.part_number(frame)
                        stream = self.engine.stream()
                        stream.warm_up(past, self.prepared.part_span(number, None).begin or seconds)
                    finish = stream.start(frame)
                yield partial(self._finished, frame, finish)
            past.extend(kept)

    def _finished(self, frame: Frame, finish: Finish[Frame]) -> Frame:
        with _located(frame):
            clean = finish()
            compare = self.prepared.job.compare
            return COMPARISONS[compare].frame(frame, clean) if compare else clean


class _PartWriter:
    """Writes frames into one part after the other, each under a name of its own until done."""

    def __init__(self, work: PartWork, first: int) -> None:
        self._work = work
        self._begin = self.last = first
        self._encoder: VideoEncoder | None = None
        self._duration = self._damaged = self._retimed = self._interlaced = 0
        # Not every codec fits into NUT; those that do not, fit into QuickTime.
        self._suffix = ".mov" if work.prepared.plan.codec == "prores" else ".nut"

    def is_beyond(self, frame: Frame) -> bool:
        """Whether a frame belongs to a later part than the one before."""
        return self._encoder is not None and self._work.prepared.part_number(frame) != self.last

    def write(self, frame: Frame) -> None:
        if self._encoder is None:
            path = self._work.journal.path(self._begin, f".{os.getpid()}{self._suffix}")
            prepared = self._work.prepared
            self._encoder = VideoEncoder(path, prepared.info, prepared.plan)
        self._damaged += frame.damaged
        self._retimed += frame.retimed
        self._interlaced += frame.interlaced
        self._encoder.write(frame)
        self.last = self._work.prepared.part_number(frame)
        self._duration = frame.duration

    def finish(self, behind: int, damaged: int = 0) -> None:
        """Close the part and record it.

        Args:
            behind: number of the part to come.
            damaged: packets and frames behind the part's last frame that were broken.
        """
        path = self._work.journal.path(self._begin, self._suffix)
        pts: list[int] = []
        if self._encoder is not None:
            self._encoder.finish()
            self._encoder.path.replace(path)
            pts, self._encoder = self._encoder.pts, None
        video = VideoPart(path, np.array(pts, np.int64), self._duration)
        counts = (self._damaged + damaged, self._retimed, self._interlaced)
        self._work.journal.add(PartRecord(self._begin, behind, video, *counts))
        self._begin = behind
        self._damaged = self._retimed = self._interlaced = 0

    def close(self) -> None:
        """Drop a part that is not finished."""
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder.path.unlink(missing_ok=True)


@contextmanager
def _located(frame: Frame) -> Iterator[None]:
    """Let an error say at which moment of the video it happened."""
    try:
        yield
    except Exception as error:
        error.add_note(f"at the frame of {frame.seconds:.3f} s")
        raise
