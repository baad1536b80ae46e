"""What a camera job can say of itself at any moment."""

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import accumulate

_AGES = 1000
# Seconds, for histograms.
AGE_EDGES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, math.inf)


class Ages:
    """How old frames were when they had been encoded.

    Attributes:
        frames: so far.
        late: of them, older than the bound that held then.
        sum_seconds: of all ages.
    """

    def __init__(self) -> None:
        self.frames = self.late = 0
        self.sum_seconds = 0.0
        self._counts = [0] * len(AGE_EDGES)
        self._latest: deque[float] = deque(maxlen=_AGES)

    def add(self, seconds: float, bound_seconds: float) -> None:
        """One more frame."""
        self.frames += 1
        self.late += seconds > bound_seconds
        self.sum_seconds += seconds
        self._counts[bisect_left(AGE_EDGES, seconds)] += 1
        self._latest.append(seconds)

    @property
    def buckets(self) -> tuple[tuple[float, int], ...]:
        """Pairs of an age and the number of frames that were no older."""
        return tuple(zip(AGE_EDGES, accumulate(self._counts), strict=True))

    def percentile(self, share: float) -> float:
        """The age in seconds that `share` of the last thousand frames did not exceed."""
        ages = sorted(self._latest)
        return ages[math.ceil(share * len(ages)) - 1] if ages else 0.0


@dataclass(frozen=True)
class SinkStatus:
    """One output.

    Attributes:
        output: as it may be shown.
        state: of it, "stuck" where it hangs.
        connections: files or connections so far.
        sent, skipped: packets.
    """

    output: str
    state: str
    connections: int
    sent: int
    skipped: int


@dataclass(frozen=True)
class StageWait:
    """How long a stage has had nothing to do; what is left of the time it was busy.

    Attributes:
        stage: of the pipeline, in its order.
        seconds: that it has waited for input, since the beginning.
    """

    stage: str
    seconds: float


@dataclass(frozen=True)
class Status:
    """A camera job; all counts are since its beginning.

    Attributes:
        state: of the source, or "stuck" where what follows it hangs.
        camera: as it may be shown.
        frames_in: that came; those that are neither out nor dropped are under way.
        frames_out: derained and encoded.
        dropped: left out, packets that build upon such included.
        drops: of them by cause: "decoder_busy", "network_busy" and "encoder_busy" (newer ones
            came meanwhile), "no_keyframe" (what they build upon is missing), "damaged" (the
            decoder makes no picture of them), "too_old".
        corrupt: broken packets and frames, those that are shown all the same included.
        retimed: packets and frames whose time went back.
        jumps: times at which the camera's clock was set.
        reconnects: connections after the first.
        camera_rate: frames/s that come and can be decoded.
        frame_seconds: what deraining one takes.
        load: share of its time that the device would need for all frames.
        age_seconds, age_p99_seconds: of frames when they have been encoded.
        age_buckets: pairs of an age in seconds and the number of frames that were no older.
        age_sum_seconds: of all ages.
        bound_seconds: what no age should exceed.
        late: frames whose age did.
        way: how frames are derained now.
        outputs: of the job.
        held_seconds: how long decoder, network or encoder has worked at what it took last.
        waits: of its stages.
    """

    state: str
    camera: str
    frames_in: int
    frames_out: int
    dropped: int
    drops: dict[str, int]
    corrupt: int
    retimed: int
    jumps: int
    reconnects: int
    camera_rate: float
    frame_seconds: float
    load: float
    age_seconds: float
    age_p99_seconds: float
    age_buckets: tuple[tuple[float, int], ...]
    age_sum_seconds: float
    bound_seconds: float
    late: int
    way: str
    outputs: tuple[SinkStatus, ...]
    held_seconds: float
    waits: tuple[StageWait, ...]

    @property
    def ready(self) -> bool:
        """Frames come in, and go out to every output."""
        return self.state == "running" and all(o.state == "running" for o in self.outputs)

    def __str__(self) -> str:
        lost = "".join(
            f", {count} {what}"
            for count, what in (
                (self.dropped, "dropped"),
                (self.corrupt, "corrupt"),
                (self.reconnects, "reconnects"),
            )
            if count
        )
        down = [f"{o.output} {o.state}" for o in self.outputs if o.state != "running"]
        return (
            f"{self.state}: {self.frames_out} frames, {self.camera_rate:.3g} frames/s in, "
            f"age {self.age_seconds:.2f} s{lost}" + "".join(f"; {each}" for each in down)
        )
