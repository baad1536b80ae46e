"""The picture before and after, for whoever looks; the camera job never waits for them."""

import io
import threading
import time

from PIL import Image

from sapnet_stream.live.decode import LiveFrame
from sapnet_stream.live.smaller import shrunk
from sapnet_stream.preview import shown
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo

# A page shows pictures no larger (before they are stretched to square samples), no more often.
MOST_WIDTH, MOST_HEIGHT = 960, 720
LEAST_SECONDS = 0.06
QUALITY = 80
# A reader is told after so long that there is nothing new.
WAIT_SECONDS = 1.0


class Pair:
    """One frame before and after.

    Args:
        number: counts the pairs; none has 0.
        frames: before and after, neither to be written to.
        info: of both.
    """

    def __init__(self, number: int, frames: tuple[Frame, Frame], info: VideoInfo) -> None:
        self.number = number
        self._frames = frames
        self._info = info
        self._lock = threading.Lock()
        self._pictures: tuple[bytes, bytes] | None = None

    @property
    def pictures(self) -> tuple[bytes, bytes]:
        """Both as JPEG, made once, by the first thread that asks."""
        with self._lock:
            if self._pictures is None:
                before, after = self._frames
                self._pictures = _jpeg(before, self._info), _jpeg(after, self._info)
            return self._pictures


class Preview:
    """Hands the newest pair to those who wait for one; nothing is kept while nobody does."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._number = 0
        self._next_seconds = 0.0
        self._pair: Pair | None = None

    def show(self, live: LiveFrame, clean: Frame) -> None:
        """Offer a frame and what it became; returns at once, whoever looks."""
        now = time.monotonic()
        with self._condition:
            if not self._readers:
                self._pair = None
            elif now >= self._next_seconds:
                self._next_seconds = now + LEAST_SECONDS
                self._number += 1
                frames = (live.frame.detached(), clean)
                self._pair = Pair(self._number, frames, live.info)
                self._condition.notify_all()

    def newer(self, seen: int) -> Pair | None:
        """A pair of another number than `seen`, or None if none came for `WAIT_SECONDS`."""
        with self._condition:
            self._readers += 1
            try:
                self._condition.wait_for(lambda: self._other(seen), WAIT_SECONDS)
                return self._other(seen)
            finally:
                self._readers -= 1

    def _other(self, seen: int) -> Pair | None:
        return None if self._pair is None or self._pair.number == seen else self._pair


def _jpeg(frame: Frame, info: VideoInfo) -> bytes:
    height, width = info.orientation.size(MOST_HEIGHT, MOST_WIDTH)
    shrink = min(height / frame.height, width / frame.width)
    if shrink < 1:
        size = frame.height * shrink, frame.width * shrink
        frame = shrunk(frame, *(max(1, round(each)) for each in size))
    file = io.BytesIO()
    Image.fromarray(shown(frame, info)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
