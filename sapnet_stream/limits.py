"""What a job needs of memory and of the disk, beside what there is, before it starts."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from sapnet_stream.errors import OutputError, TooLargeError
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.video.codec import ENCODERS, EncoderPlan
from sapnet_stream.video.info import VideoInfo

# Bytes per pixel of what lies between decoder and encoder: measured, as the growth of peak
# memory from 1080p to 2160p without a network, 8 bit 4:2:0, presets by default, two cores.
_CORRIDOR = 92
# And of the pictures that an encoder looks ahead at.
_LOOKAHEAD = {"h264": 165, "hevc": 145, "av1": 220, "vp9": 90}

# Bits per pixel at each codec's default quality, the most that five real clips took.
_BITS_PER_PIXEL = {"h264": 0.29, "hevc": 0.26, "av1": 0.26, "vp9": 0.37, "prores": 4.4}
# Lossless: the share of the samples' own size.
_LOSSLESS = 0.35
# A constant rate factor this much lower doubles the size.
_CRF_DOUBLES = 6
# Lossy codecs at their default quality make a lossy source up to so much larger.
_GROWTH = 1.5
# Still or dark videos take that much less; where even this is not free, there is no hope.
_LEAST = 1 / 10
# Memory is estimated better than that.
_MOST = 1 / 2


@dataclass(frozen=True)
class Needs:
    """What a job will take, about.

    Attributes:
        memory_bytes: beside the network's own.
        disk_bytes: parts and joined file together, in the target's folder; None if nobody
            knows how many frames will come.
    """

    memory_bytes: int
    disk_bytes: int | None

    def __str__(self) -> str:
        disk = "" if self.disk_bytes is None else f", {size(self.disk_bytes)} of disk until the end"
        return f"about {size(self.memory_bytes)} of memory beside the network's{disk}"


def needs(info: VideoInfo, plan: EncoderPlan, source_bytes: int, done_frames: int = 0) -> Needs:
    """Estimate what a job takes.

    Args:
        info: of the video that is written.
        plan: how it is.
        source_bytes: size of the source's file.
        done_frames: whose parts are on the disk already.
    """
    pixels = info.width * info.height
    sample_bytes = 2 if info.layout.bits > 8 else 1
    memory = pixels * (_CORRIDOR + sample_bytes * _LOOKAHEAD.get(plan.codec, 0))
    if not info.frame_count:
        return Needs(memory, None)
    # A damaged header may promise any number, but each frame takes some bytes of the file.
    frames = min(info.frame_count, source_bytes)
    if plan.codec in _BITS_PER_PIXEL:
        video = frames * pixels * _BITS_PER_PIXEL[plan.codec] / 8 * _finer(plan)
    else:
        shapes = info.layout.plane_shapes(info.height, info.width)
        samples = sum(rows * columns for rows, columns in shapes)
        video = frames * samples * sample_bytes * _LOSSLESS
    if plan.codec in _LOOKAHEAD:
        video = min(video, source_bytes * _GROWTH * _finer(plan))
    done = min(1, done_frames / frames)
    return Needs(memory, int(video * (2 - done)))


def check_needs(needs: Needs, folder: Path) -> list[str]:
    """Compare a job's needs with what is free now.

    Args:
        needs: of the job.
        folder: of the target.

    Returns:
        Sentences on what may not suffice.

    Raises:
        TooLargeError: the memory plainly does not suffice.
        OutputError: the disk plainly does not.
    """
    warnings = []
    memory = available_bytes(torch.device("cpu"))
    if needs.memory_bytes > memory:
        tight = (
            f"reading and writing takes about {size(needs.memory_bytes)} of memory and "
            f"{size(memory)} are free: close other programs, or scale the video down"
        )
        if needs.memory_bytes > memory / _MOST:
            raise TooLargeError(tight)
        warnings.append(tight)
    disk = shutil.disk_usage(folder).free
    if needs.disk_bytes is not None and needs.disk_bytes > disk:
        tight = (
            f"the job takes about {size(needs.disk_bytes)} of disk until its end and {size(disk)} "
            f"are free in {folder}: free space, or name an output on another disk"
        )
        if needs.disk_bytes * _LEAST > disk:
            raise OutputError(tight)
        warnings.append(tight)
    return warnings


def size(count: int) -> str:
    """Bytes as "12 KiB", "340 MiB" or "1.9 GiB"."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _finer(plan: EncoderPlan) -> float:
    """How much larger the quality asked for makes the video than the default would."""
    encoder = ENCODERS.get(plan.codec)
    if encoder is None or encoder.crf is None or encoder.name != plan.encoder:
        return 1.0
    crf = float(plan.options.get(encoder.crf_option, encoder.crf))
    return float(2 ** ((encoder.crf - crf) / _CRF_DOUBLES))
