"""Frames that are not there, judged by the times of those that are."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

# Containers round times, Matroska to milliseconds.
_TOLERANCE = 0.1
# So many steps are whole multiples of the usual one where the rate is constant.
_MOST = 0.9
# Most steps are a single one, unless there are too few to tell.
_FEW = 10


def skipped_frames(
    pts: npt.NDArray[np.int64],
    step: Fraction,
    begin: Fraction | None = None,
    end: Fraction | None = None,
) -> int:
    """About how many frames the times of a video at a constant rate skip.

    Args:
        pts: [frames], of all frames in the order they are shown, in ticks.
        step: from one frame to the next, in ticks.
        begin: when the first frame should be shown, in ticks; None is not known.
        end: when the last frame should be over, in ticks; None is not known.

    Returns:
        0 for a video of variable rate, whose steps mean nothing.
    """
    steps = np.diff(pts) / float(step)
    whole = np.round(steps)
    regular = (whole >= 1) & (np.abs(steps - whole) <= np.maximum(_TOLERANCE, 1 / float(step)))
    often = len(steps) < _FEW or np.median(whole) == 1
    if len(steps) and (np.mean(regular) < _MOST or not often):
        return 0
    skipped = int(np.sum(whole[regular] - 1))
    if begin is not None:
        skipped += max(0, round((pts[0] - begin) / step))
    if end is not None:
        skipped += max(0, round((end - pts[-1]) / step) - 1)
    return skipped
