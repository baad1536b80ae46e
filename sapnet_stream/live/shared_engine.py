"""One network for the cameras of a process."""

from collections.abc import Callable
from functools import lru_cache

from sapnet_stream.engine import DerainEngine
from sapnet_stream.stream import DerainStream
from sapnet_stream.video.frame import Frame

# Kept for cameras that come later; those in use are kept by their streams.
_MOST_SIZES = 8

Size = tuple[int, int, bool]


class SharedEngine:
    """Engines alike, one for each size of frame, made when the first frame of that size comes.

    An executor is prepared for one size at a time, by compiling or recording; cameras of
    different sizes that take turns would prepare it anew for each frame. Cameras of one size
    share an engine; the weights are small. Used by one thread at a time, see `Turns`: while a
    new size is prepared the others wait, for how long says `tests/stream/live/results`.

    Args:
        make: makes an engine.

    Attributes:
        description, past_frames: see `DerainEngine`.
    """

    def __init__(self, make: Callable[[], DerainEngine]) -> None:
        first = make()
        self.description, self.past_frames = first.description, first.past_frames
        unused = [first]

        @lru_cache(_MOST_SIZES)
        def engine(size: Size) -> DerainEngine:
            del size
            return unused.pop() if unused else make()

        self._engine = engine

    def stream(self) -> "SharedStream":
        """Derain a video of its own, frame after frame."""
        return SharedStream(lambda size: self._engine(size).stream())


class SharedStream:
    """One video; whole frames and fields of a size have a memory each, and another size none."""

    def __init__(self, begin: Callable[[Size], DerainStream]) -> None:
        self._begin = begin
        self._streams: dict[Size, DerainStream] = {}

    def frame(self, frame: Frame) -> Frame:
        """Derain the next frame and wait for it."""
        # Fields are derained one by one, and a turned picture upright.
        height, width = frame.orientation.size(frame.height, frame.width)
        size = height, width, frame.interlaced
        if not all(each[:2] == size[:2] for each in self._streams):
            self._streams.clear()
        if size not in self._streams:
            self._streams[size] = self._begin(size)
        return self._streams[size].frame(frame)
