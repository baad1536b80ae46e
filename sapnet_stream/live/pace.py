"""Whether the device keeps up with the camera, and how old a frame may become."""

import statistics
import time
from collections import deque
from collections.abc import Callable

# A frame waits for the one before it, is derained, and waits a little for the encoder.
FRAMES_OF_AGE = 2.5
_WINDOW_SECONDS = 5.0
_MEASURED = 9
# The first frame of a network is slow: it is the odd one out of three.
_LEAST_MEASURED = 3
# So long after the last frame an old one is better than none.
STARVED_SECONDS = 1.0
_MOST_ARRIVALS = 1500
# Beyond 1 frames are dropped. The gap between the two keeps it from saying so by turns.
SLOW, FAST = 1.05, 0.9


class Pace:
    """The speeds of the camera and of the device, both over the last seconds.

    `arrived` and `deraining` are called on threads of their own, the rest from anywhere.

    Args:
        max_latency_seconds: the age that frames may have in any case.
        now: the clock.

    Attributes:
        slow: the device does not keep up, as far as `check` has found.
    """

    def __init__(
        self, max_latency_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_latency_seconds = max_latency_seconds
        self._now = now
        self._arrivals: deque[float] = deque(maxlen=_MOST_ARRIVALS)
        self._frames: deque[float] = deque(maxlen=_MEASURED)
        # Of these, the time on the device alone.
        self._turns: deque[float] = deque(maxlen=_MEASURED)
        self._first_seconds: float | None = None
        self._began_seconds: float | None = None
        self._turn_seconds = 0.0
        self._ended_seconds = now()
        self.slow = False

    def arrived(self) -> None:
        """A frame has come from the camera."""
        now = self._now()
        if self._first_seconds is None:
            self._first_seconds = now
        self._arrivals.append(now)

    def begin(self) -> None:
        """A frame waits for the device, which other cameras may be using."""
        self._began_seconds = self._now()

    def turn(self, arrival_seconds: float) -> bool:
        """The device is free for a frame that arrived then; False where it is too old by now.

        Where no frame was derained for long before the wait, none is too old.
        """
        assert self._began_seconds is not None
        self._turn_seconds = self._now()
        starved = self._began_seconds - self._ended_seconds > STARVED_SECONDS
        # Another thread may forget them at any moment.
        turns = tuple(self._turns)
        if not turns or starved:
            return True
        left = self.bound_seconds - statistics.median(turns)
        if self._turn_seconds - arrival_seconds <= left:
            return True
        # It would have taken so long: where others began, the bound grows with the wait.
        waited = self._turn_seconds - self._began_seconds
        self._frames.append(waited + statistics.median(turns))
        self._began_seconds = None
        return False

    def end(self) -> None:
        """It has finished it."""
        assert self._began_seconds is not None
        self._ended_seconds = self._now()
        self._frames.append(self._ended_seconds - self._began_seconds)
        self._turns.append(self._ended_seconds - self._turn_seconds)
        self._began_seconds = None

    def forget(self) -> None:
        """What follows is derained in another way."""
        self._frames.clear()
        self._turns.clear()
        self.slow = False
        self.resume()

    def resume(self) -> None:
        """Frames come again after an outage; before that, their rate meant nothing."""
        self._arrivals.clear()
        self._first_seconds = None

    @property
    def known(self) -> bool:
        """Whether frames have come for so long that their rate means something."""
        first = self._first_seconds
        return first is not None and self._now() - first >= _WINDOW_SECONDS

    @property
    def measured(self) -> bool:
        """Whether the time that a frame takes is known."""
        return len(self._frames) >= _LEAST_MEASURED

    @property
    def frame_seconds(self) -> float:
        """What a frame takes, the wait for the device included.

        The median of the last few, or the first one's time so far.
        """
        if frames := tuple(self._frames):
            return statistics.median(frames)
        return 0.0 if (began := self._began_seconds) is None else self._now() - began

    @property
    def bound_seconds(self) -> float:
        """The age that no frame should exceed when it is written."""
        return max(self._max_latency_seconds, FRAMES_OF_AGE * self.frame_seconds)

    @property
    def promise(self) -> str:
        """The bound and where it comes from, for people."""
        asked = f"--max-latency {self._max_latency_seconds:g}"
        longer = self.bound_seconds > self._max_latency_seconds
        reason = f"{FRAMES_OF_AGE} frames, for {asked} is less" if longer else asked
        takes = f"a frame takes {self.frame_seconds:.2g} s"
        return f"{takes} and becomes {self.bound_seconds:.2g} s old at most ({reason})"

    def expired(self, arrival_seconds: float) -> bool:
        """Whether a frame that arrived then would become older than the bound from now on.

        Where no frame was derained for long, none is too old.
        """
        now = self._now()
        starved = self._began_seconds is None and now - self._ended_seconds > STARVED_SECONDS
        if not self._frames or starved:
            return False
        return now - arrival_seconds > self.bound_seconds - self.frame_seconds

    @property
    def camera_rate(self) -> float:
        """Frames per second that come, over the last seconds."""
        first = self._first_seconds
        if first is None:
            return 0.0
        now = self._now()
        seconds = min(_WINDOW_SECONDS, now - first)
        count = sum(each > now - _WINDOW_SECONDS for each in tuple(self._arrivals))
        return count / max(seconds, 0.1)

    @property
    def load(self) -> float:
        """Share of its time that the device would need for all frames."""
        return self.frame_seconds * self.camera_rate

    def check(self) -> str | None:
        """A sentence when the device falls behind or keeps up again; call it once a second."""
        if not self.known:
            return None
        # Looked at once: the thread that reads may begin to count anew.
        seconds, rate = self.frame_seconds, self.camera_rate
        load = seconds * rate
        if not self.slow and load > SLOW:
            self.slow = True
            return (
                f"too slow here: {1 / seconds:.2g} frames/s are derained of the "
                f"{rate:.3g} that come, {1 - 1 / load:.0%} are dropped"
            )
        if self.slow and load < FAST:
            self.slow = False
            return f"all of the {self.camera_rate:.3g} frames/s that come are derained again"
        return None
