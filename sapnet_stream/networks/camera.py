"""Where the camera of a video points, frame after frame.

Phase correlation (Kuglin and Hines 1975) on a small luma picture, against a key picture that
is kept while it is in view: errors do not add up, and a camera on a tripod stays at (0, 0).

Shapes: H height, W width; h, w of the small picture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.networks.alignment import (
    Position,
    View,
    correlation_peaks,
    small_factor,
    unit_spectrum,
)

SAME_SCENE = 0.5
"""Least correlation of two aligned pictures of one scene."""
COARSE_PX = 8
"""Pixels of the small picture that are one where scenes are compared."""
SURE_PEAK = 0.25
"""Phase correlation of a motion that needs no second look."""
FEATURELESS = 1.0
"""Likeness of two pictures without a feature, at night or in fog: of one scene, from one place."""
START: Position = (0.0, 0.0)


class Camera:
    """Follows one video; `view` is of the last frame."""

    def __init__(self) -> None:
        self.view = View(START)
        self._last: Tensor | None = None
        self._key: Tensor | None = None
        self._key_position = START

    def follow(self, frame: Tensor) -> bool:
        """Takes the next frame, [3, H, W] float in [0, 1]; false where the scene is another.

        After a cut the camera is at (0, 0) again.
        """
        factor = small_factor(frame.shape[1], frame.shape[2])
        small = F.avg_pool2d(frame.mean(0)[None, None], factor, ceil_mode=True)[0, 0]
        last, self._last = self._last, small
        likeness, position = 0.0, START
        if last is not None and last.shape == small.shape:
            likeness, position = self._measured(small, last, factor)
        same = likeness >= SAME_SCENE
        if not same:
            self._key, self._key_position = unit_spectrum(small), START
        self.view = View(position if same else START, small)
        return same

    def _measured(self, small: Tensor, last: Tensor, factor: int) -> tuple[float, Position]:
        """The likeliest position, and how much the picture there is like the last one."""
        spectrum, before = unit_spectrum(small, 0.0), self.view.position

        def seen_from(key: Tensor, origin: Position) -> tuple[float, float, Position]:
            surface = torch.fft.irfft2(key * spectrum.conj(), s=small.shape)
            shift, peak = correlation_peaks(surface[None])
            # At once: each time, the host waits for the device.
            y, x, height = torch.cat((shift[:, 0] * factor, peak)).tolist()
            position = (origin[0] + y, origin[1] + x)
            return correlation(small, last, before, position, factor), height, position

        assert self._key is not None
        likeness, peak, position = seen_from(self._key, self._key_position)
        moved = max(abs(a - b) for a, b in zip(position, self._key_position, strict=True))
        if peak > SURE_PEAK and moved < min(small.shape) * factor / 6:
            return likeness, position
        # The key is going out of view, or something else misled the measurement.
        self._key, self._key_position = unit_spectrum(last), before
        again, near_peak, near = seen_from(self._key, before)
        still = correlation(small, last, before, before, factor)
        if still == FEATURELESS:
            # Too coarse to tell one place from another; the phases of a faint grain may be sure.
            sure = [at for p, at in ((peak, position), (near_peak, near)) if p > SURE_PEAK]
            return still, (sure or [before])[0]
        return max((likeness, position), (again, near), (still, before), key=lambda c: c[0])


def correlation(
    now: Tensor, last: Tensor, before: Position, position: Position, factor: int
) -> float:
    """Correlation, -1 to 1, of what both pictures show, too coarse to see rain.

    Args:
        now, last: small luma pictures, [h, w].
        before, position: where the camera was and is, in pixels of the frame; pictures that do
            not overlap there are not alike, 0.
        factor: pixels of the frame to one of the small picture.
    """
    dy, dx = (round((a - b) / factor) for a, b in zip(position, before, strict=True))
    height, width = now.shape
    if abs(dy) >= height or abs(dx) >= width:
        return 0.0
    a = last[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    b = now[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
    cell = min(COARSE_PX, *a.shape)
    a, b = (F.avg_pool2d(x[None, None], cell) for x in (a, b))
    a, b = a - a.mean(), b - b.mean()
    product, scale = torch.stack(((a * b).sum(), a.norm() * b.norm())).tolist()
    return float(product / scale) if scale > 1e-4 * a.numel() else FEATURELESS
