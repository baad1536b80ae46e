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
# A stream's times are looked at over so much of its arrivals, of which no wait counts for more
# than a little: where the network pauses, the times do not go on either, or only after it.
_LOOK_SECONDS, _MOST_WAIT_SECONDS = 2.0, 0.25


@dataclass
class _Advance:
    """Whether the times of one stream go on as its packets arrive.

    They stand still where packets have to be moved behind those before, and all of them together
    fall behind. Fields and packets out of order are moved too, yet their times go on; those of a
    slow pipe fall behind, yet none is moved.

    Attributes:
        arrival_seconds: of the last packet.
        standing: they do not go on.
    """

    arrival_seconds: float
    standing: bool = False
    _arrived_seconds: float = 0.0
    _told: Fraction = Fraction(0)
    _packets: int = 0
    _moved: int = 0

    def add(self, arrival_seconds: float, told: Fraction, *, moved: bool) -> None:
        """Another packet.

        Args:
            arrival_seconds: of it.
            told: seconds by which its time is ahead of those before.
            moved: it had to be moved behind the one before.
        """
        self._arrived_seconds += min(arrival_seconds - self.arrival_seconds, _MOST_WAIT_SECONDS)
        self.arrival_seconds = arrival_seconds
        self._told += told
        self._packets += 1
        self._moved += moved
        if self._arrived_seconds < _LOOK_SECONDS:
            return
        slow = self._told < Fraction(3, 4) * Fraction(self._arrived_seconds)
        self.standing = self.standing or (slow and 4 * self._moved >= self._packets)
        self._arrived_seconds, self._told, self._packets, self._moved = 0.0, Fraction(0), 0, 0


@dataclass
class SourceClock:
    """Moves the times of one connection's packets to seconds since an origin.

    Between packets the camera's clock counts, and one offset holds for all streams, so sound
    stays with its picture. Where a connection begins, and where its clock jumps, the moment
    of arrival counts. It counts for every packet of a stream whose times do not go on.

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
    _advances: dict[int, _Advance] = field(default_factory=dict)
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
        last, jumps = self._last.get(stream), self.jumps
        advance = self._advances.setdefault(stream, _Advance(arrival_seconds))
        step = max(1, math.ceil(LEAST_STEP_SECONDS / unit))
        time = pts if dts is None else dts
        if advance.standing and last is not None:
            waited = Fraction(arrival_seconds - advance.arrival_seconds)
            arrived = Fraction(arrival_seconds - self.origin_seconds)
            # Where the clock was ahead of the arrival, it stays so.
            shift, pts, placed = 0, None, max(int(arrived / unit), last + int(waited / unit))
        elif time is None and last is not None:
            shift, placed = 0, last + step
        else:
            # The first packets of RTSP may have no time: theirs is 0.
            shift = round(self._offset(stream, (time or 0) * unit, unit, arrival_seconds) / unit)
            placed = max((time or 0) + shift, int(Fraction(self.floor_seconds) / unit) + 1)
        moved = last is not None and (time is None or placed <= last)
        ahead = 0 if last is None or moved or self.jumps > jumps else placed - last
        advance.add(arrival_seconds, ahead * unit, moved=moved)
        if last is not None and placed <= last:
            self.retimed += 1
            placed = last + step
        self._last[stream] = placed
        self._latest = max(self._latest, placed * unit)
        return placed, placed if pts is None else max(placed, pts + shift)

    @property
    def standing(self) -> bool:
        """Whether the times of a stream did not go on, and those of arrival count instead."""
        return any(advance.standing for advance in self._advances.values())

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
