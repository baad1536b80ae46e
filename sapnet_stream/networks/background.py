"""What the past frames of a video say about the scene behind the rain.

A streak is in front of a pixel for a frame or two; where the camera stands still or moves
evenly, low ranks of the last frames at that pixel are the scene. Frames are kept as they
came and aligned anew each time, so nothing blurs or drifts.

Shapes: H height, W width.
"""

from collections import deque
from functools import cache

import torch
from torch import Tensor

from sapnet_stream.networks.alignment import (
    Mesh,
    View,
    has_moved,
    meshes_between,
    moved,
    small_factor,
)

SHORT = 5
"""Frames of the memory while the camera moves, and of its faster part at any time."""
SHARP = 2
"""Frames that are moved without blur; older ones no longer fit that well."""
LONG = 15
"""Frames of the memory while the camera stands still."""
SAME_FRAME = 0.25
"""Mean difference in grey levels of a frame that is there twice; coding changes it a little."""
_STRIP_BYTES = 2**20
"""Of each frame, while its ranks are found: all of them stay in a processor's caches."""
STATISTICS = 3
"""Median of the short memory; median and lower quartile of the long one."""


class BackgroundMemory:
    """The last frames of one video and where the camera pointed."""

    def __init__(self) -> None:
        self._frames: deque[tuple[Tensor, View]] = deque(maxlen=LONG)
        self._newest: tuple[Tensor, View, Tensor] | None = None

    def push(self, frame: Tensor, view: View) -> None:
        """Remember a frame, [3, H, W] uint8, unless it repeats the last one.

        Players and converters repeat frames, and a streak that is there twice looks like scene.
        """
        self._settle()
        if self._frames:
            self._newest = frame, view, _difference(frame, self._frames[-1][0])
        else:
            self._frames.append((frame, view))

    def statistics(self, frame: Tensor, view: View) -> tuple[Tensor, Tensor, Mesh]:
        """The past as seen now.

        Where a past frame did not look, `frame` stands in for it.

        Args:
            frame: [3, H, W] uint8, the current one, not yet remembered.
            view: of it.

        Returns:
            [STATISTICS, 3, H, W] uint8; the share of the long memory that looked at each
            pixel, [1, H, W] float32 in [0, 1]; and how the picture moved since the last frame.
        """
        self._settle()
        newest_first = list(reversed(self._frames))
        if not newest_first:
            nothing = torch.zeros(1, *frame.shape[1:], device=frame.device)
            return frame.expand(STATISTICS, -1, -1, -1), nothing, None
        recent, seen, last = _aligned(newest_first[:SHORT], frame, view)
        far = [past for past, then in newest_first[SHORT:] if not has_moved(view, then)]
        every, n = recent + far, len(recent) + len(far)
        found = frame.new_empty(STATISTICS, *frame.shape)
        ranks(recent, [(len(recent) - 1) // 2], out=found[:1])
        ranks(every, [(n - 1) // 2, (n - 1) // 4], out=found[1:])
        return found, (seen + len(far)) / LONG, last

    def _settle(self) -> None:
        """Take in the newest frame if it is none that is there twice.

        Not at once: on a GPU the difference is known by the time of the next frame.
        """
        if self._newest is not None:
            frame, view, difference = self._newest
            if difference.item() > SAME_FRAME:
                self._frames.append((frame, view))
            self._newest = None


def _aligned(
    near: list[tuple[Tensor, View]], frame: Tensor, view: View
) -> tuple[list[Tensor], Tensor, Mesh]:
    """The newest frames moved to where their parts are in `frame`.

    Returns:
        [3, H, W] uint8 each; how many of them looked at each pixel, [1, H, W] float32; and how
        the picture moved since the first of them.
    """
    pictures = [past for past, _ in near]
    gone = [age for age, (_, then) in enumerate(near) if has_moved(view, then)]
    looked = torch.full((1, *frame.shape[1:]), float(len(near) - len(gone)), device=frame.device)
    if not gone:
        return pictures, looked, None
    meshes = meshes_between(view, [near[age][1] for age in gone], small_factor(*frame.shape[1:]))
    now = frame[None].float()
    sharp = sum(age < SHARP for age in gone)
    for mode, part in (("bicubic", slice(0, sharp)), ("bilinear", slice(sharp, None))):
        if ages := gone[part]:
            past = torch.stack([pictures[age] for age in ages]).float()
            there, inside = moved(past, meshes[part], now, mode)
            looked += inside.sum(0)
            there = there.round_().clamp_(0, 255).to(torch.uint8)
            for age, picture in zip(ages, there.unbind(), strict=True):
                pictures[age] = picture
    return pictures, looked, meshes[:1] if gone[0] == 0 else None


def _difference(a: Tensor, b: Tensor) -> Tensor:
    every = slice(None, None, 4)
    a, b = (x[:, every, every].to(torch.int16) for x in (a, b))
    return (a - b).abs().float().mean()


def ranks(values: list[Tensor], wanted: list[int], out: Tensor) -> None:
    """The `wanted` smallest of `values`, elementwise; 0 is the minimum.

    Batcher's odd-even merge sort, less the comparisons no wanted rank depends on: minimum
    and maximum of bytes are the cheapest thing a processor does to a picture.

    Args:
        values: uint8, of one shape.
        out: [len(wanted), *shape], contiguous.
    """
    comparisons = _comparisons(len(values), tuple(wanted))
    rows = [value.reshape(-1) for value in values]
    found = out.view(len(wanted), -1)
    for part in _parts(found):
        strip = [row[part] for row in rows]
        for low, high, keep_low, keep_high in comparisons:
            a, b = strip[low], strip[high]
            if keep_low:
                strip[low] = torch.minimum(a, b)
            if keep_high:
                strip[high] = torch.maximum(a, b)
        for row, rank in zip(found, wanted, strict=True):
            row[part] = strip[rank]


def _parts(rows: Tensor) -> list[slice]:
    """Of [n, bytes], strips as long as fits the caches; a GPU is asked as rarely as can be."""
    length = rows.shape[1]
    count = -(-length // _STRIP_BYTES) if rows.device.type == "cpu" else 1
    step = -(-length // count)
    return [slice(start, start + step) for start in range(0, length, step)]


@cache
def _comparisons(n: int, wanted: tuple[int, ...]) -> list[tuple[int, int, bool, bool]]:
    needed = set(wanted)
    kept = []
    for low, high in reversed(_merge_sort(n)):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return kept[::-1]


def _merge_sort(n: int) -> list[tuple[int, int]]:
    """Batcher 1968, for any n: Knuth volume 3, algorithm 5.2.2M."""
    pairs = []
    top = 1
    while top < n:
        top *= 2
    p = top // 2
    while p > 0:
        q, r, d = top // 2, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return pairs
