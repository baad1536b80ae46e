"""The times of a live stream on one clock, that goes forward whatever the camera's does."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

# Servers send what they kept of the last seconds at once: so much ahead is no jump.
MOST_AHEAD_SECONDS = 10
# Packets that are this much out of order are sorted by moving them, others are a new clock.
MOST_BACK_SECONDS = Fraction(1, 2)
# Matroska counts in milliseconds: times that differ by less would be one there.
LEAST_STEP_SECONDS = Fraction(1, 1000)


@dataclass
class SourceClock:
    """Moves the times of one connection's packets to seconds since an origin.

    Between packets the camera's clock counts, and one offset holds for all streams, so sound
    stays with its picture. Where a connection begins, and where its clock jumps, the moment
    of arrival counts.

    Attributes:
        origin_seconds: of the monotonic clock of this machine; output time 0.
        floor_seconds: output time that must not be used again.
        jumps: times at which the camera's clock was set.
        retimed: packets moved behind the one before.
    """

    origin_seconds: float
    floor_seconds: float = 0.0
    jumps: int = 0
    retimed: int = 0
    _offsets: list[Fraction] = field(default_factory=list)
    _last: dict[int, int] = field(default_factory=dict)
    # Of all streams, in seconds.
    _latest: Fraction = Fraction(0)

    def place(
        self, stream: int, dts: int | None, pts: int | None, unit: Fraction, arrival_seconds: float
    ) -> tuple[int, int]:
        """The output's dts and pts of a packet; dts grows with every packet of a stream.

        Args:
            stream: number of the packet's stream.
            dts, pts: of the packet, None if it has none.
            unit: seconds per tick.
            arrival_seconds: on the monotonic clock of this machine.
        """
        last = self._last.get(stream)
        step = max(1, math.ceil(LEAST_STEP_SECONDS / unit))
        time = pts if dts is None else dts
        if time is None and last is not None:
            shift, placed = 0, last + step
        else:
            # The first packets of RTSP may have no time: theirs is 0.
            time = time or 0
            shift = round(self._offset(stream, time * unit, unit, arrival_seconds) / unit)
            placed = max(time + shift, int(Fraction(self.floor_seconds) / unit) + 1)
        if last is not None and placed <= last:
            self.retimed += 1
            placed = last + step
        self._last[stream] = placed
        self._latest = max(self._latest, placed * unit)
        return placed, placed if pts is None else max(placed, pts + shift)

    def _offset(self, stream: int, time: Fraction, unit: Fraction, arrival: float) -> Fraction:
        """What to add to a time of the camera's, in seconds."""
        arrived = Fraction(arrival - self.origin_seconds)
        # A fast clock or a long burst is ahead of the arrival, and each packet near the last.
        expected = max(arrived, Fraction(self.floor_seconds), self._latest)
        last = self._last.get(stream)
        for offset in self._offsets:
            back = 0 if last is None else last * unit - (time + offset)
            if back <= MOST_BACK_SECONDS and time + offset - expected <= MOST_AHEAD_SECONDS:
                return offset
        self.jumps += bool(self._offsets)
        # Packets of another stream, from before the jump, may follow.
        self._offsets = [expected - time, *self._offsets[:1]]
        return self._offsets[0]
