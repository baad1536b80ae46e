"""A stretch of time of a file."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sapnet_stream.errors import UsageError
from sapnet_stream.video.container import open_input

MICROSECOND = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class Span:
    """The times from `begin` on and before `end`, in seconds of the file's own clock.

    Attributes:
        begin: None is from the first frame on, whatever its time.
        end: None is to the last frame.
    """

    begin: Fraction | None = None
    end: Fraction | None = None

    def __contains__(self, seconds: Fraction) -> bool:
        after_begin = self.begin is None or seconds >= self.begin
        return after_begin and (self.end is None or seconds < self.end)

    def led_by(self, seconds: Fraction | int) -> "Span":
        """The same and what is `seconds` before it."""
        return Span(None if self.begin is None else self.begin - seconds, self.end)


WHOLE = Span()


def span_between(
    path: Path, start_seconds: float | None = None, duration_seconds: float | None = None
) -> Span:
    """The span that `--start` and `--duration` mean, both counted from the file's beginning.

    Raises:
        UsageError: they are out of range, or the file ends before `start_seconds`.
        InputError: the file cannot be read.
    """
    if start_seconds is not None and not 0 <= start_seconds < math.inf:
        raise UsageError(f"--start must be 0 or more seconds, got {start_seconds:g}")
    if duration_seconds is not None and not 0 < duration_seconds < math.inf:
        raise UsageError(f"--duration must be more than 0 seconds, got {duration_seconds:g}")
    with open_input(path) as container:
        first = (container.start_time or 0) * MICROSECOND
        length = (container.duration or 0) * MICROSECOND
    begin = first + Fraction(start_seconds or 0).limit_denominator(1_000_000)
    if start_seconds and length and begin >= first + length:
        raise UsageError(
            f"--start {start_seconds:g} is beyond the end of {path} ({float(length):.3f} s)"
        )
    end = None
    if duration_seconds is not None:
        end = begin + Fraction(duration_seconds).limit_denominator(1_000_000)
    return Span(begin if start_seconds else None, end)
