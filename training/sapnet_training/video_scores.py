"""Scores of a derained video, frame by frame.

PSNR and SSIM on Y of outputs rounded to uint8, see `metrics`. Flicker is how much Y changes, in
grey levels, from the last frame, moved to where the camera looks now, to this one.

Shapes: T frames, H height, W width; frames are [3, H, W] uint8.
"""

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from sapnet_stream.networks.alignment import mesh_between, seen_from_now, small_factor
from sapnet_stream.networks.camera import Camera
from sapnet_training.metrics import decibels, luma, psnr, ssim_255
from sapnet_training.static_camera import LAST_SEEN, StaticClip, luma_error

Record = dict[str, float]


def timed(frames: Iterable[Tensor]) -> Iterator[tuple[Tensor, float]]:
    """Each frame and the seconds it took to make."""
    began = time.monotonic()
    for frame in frames:
        yield frame, time.monotonic() - began
        began = time.monotonic()


def flickers(frames: Iterable[Tensor], camera_of: Iterable[Tensor]) -> Iterator[float]:
    """Of each frame but the first; the camera is followed in `camera_of`."""
    camera, last, before = Camera(), None, None
    for frame, seen in zip(frames, camera_of, strict=True):
        camera.follow(seen.float() / 255)
        y = luma(frame).float()[None]
        if last is not None and before is not None:
            mesh = mesh_between(camera.view, before, small_factor(*frame.shape[1:]))
            yield (y - seen_from_now(last, mesh, y)).abs().mean().item()
        last, before = y, camera.view


def video_scores(
    outputs: Iterable[Tensor], rainy: Sequence[Tensor], clean: Sequence[Tensor] | None
) -> tuple[list[Record], list[Tensor]]:
    """Of each frame: seconds, flicker, and with clean frames PSNR and SSIM; and the frames."""
    records, frames = [], []
    for number, (output, seconds) in enumerate(timed(outputs)):
        record = {"seconds": seconds}
        if clean is not None:
            target = luma(clean[number])
            record["psnr"] = psnr(luma(output), target)
            record["ssim"] = ssim_255(luma(output), target)
        records.append(record)
        frames.append(output)
    for record, value in zip(records[1:], flickers(frames, rainy), strict=True):
        record["flicker"] = value
    return records, frames


def static_scores(clip: StaticClip, outputs: Iterable[Tensor]) -> list[Record]:
    """Of each frame: PSNR on Y outside the object, and where it has just been ("trail")."""
    records = []
    for number, output in enumerate(outputs):
        error = luma_error(output[None], clip.scene[number : number + 1])
        outside = ~clip.covered[number : number + 1]
        trail = clip.covered[max(0, number - LAST_SEEN) : number].any(0)[None] & outside
        record = {"psnr": decibels(error[outside])}
        if trail.any():
            record["trail"] = decibels(error[trail])
        records.append(record)
    return records


def means(records: Sequence[Record]) -> Record:
    """Of each column over the records that have it."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: statistics.fmean(r[name] for r in records if name in r) for name in names}
