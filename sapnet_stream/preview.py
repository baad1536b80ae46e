"""One frame of a video before and after, as a picture to look at."""

from collections import deque
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.still.still import Metadata, Still
from sapnet_stream.still.write import check_ending, encode_still
from sapnet_stream.target import check_target, write_complete
from sapnet_stream.video.colour import to_rgb
from sapnet_stream.video.decode import NoFrameError, VideoDecoder
from sapnet_stream.video.demux import Demuxer
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.span import Span

# Frames are shown in another order than they are stored in, this much apart at most.
REORDERED = 64
BT2020_PRIMARIES, SRGB_TRANSFER, HLG = 9, 13, 18
MOST_STRETCHED = 8


def preview(
    source: Path, target: Path, number: int, engine: DerainEngine, *, overwrite: bool = False
) -> None:
    """Write a frame before (left) and after (right), as a player would show it.

    Turned upright, stretched by its sample aspect ratio, and tagged where its colours are
    BT.2020; PQ is shown as a gamma signal.

    Args:
        source: a video file.
        target: an image file; its ending names the format.
        number: of the frame, counted from 0.
        engine: what derains; of the frames before only what a memory needs.
        overwrite: replace an existing target.

    Raises:
        UsageError: the video has no such frame.
        SapnetError: one sentence; the target is untouched.
    """
    if number < 0:
        raise UsageError(f"--preview must be 0 or more, got {number}")
    check_ending(target)
    check_target(target, source, overwrite=overwrite)
    frames, info = frames_up_to(source, number, engine.past_frames)
    frame = frames[-1]
    engine.check_memory(*info.orientation.size(frame.height, frame.width))
    stream = engine.stream()
    stream.warm_up(frames[:-1], frame.pts * frame.time_base)
    pair = [shown(each, info) for each in (frame, stream.frame(frame))]
    still = Still(np.concatenate(pair, axis=1), metadata=Metadata(png_chunks=_colour_tags(info)))
    write_complete(target, encode_still(still, target)[0], overwrite=overwrite)


def frames_up_to(path: Path, number: int, past: int) -> tuple[list[Frame], VideoInfo]:
    """A frame of a video, counted from 0, with up to `past` frames before it.

    And what the video says of itself. Where the file tells the time of every frame, few of
    those before are decoded.

    Raises:
        InputError: the file is unreadable, or has no video.
        UsageError: it has fewer frames.
    """
    times = _times_up_to(path, number)
    if 0 < len(times) <= number:
        raise _beyond(path, number, len(times))
    if 0 < number < len(times):
        # Between two frames: no rounding can reach the one before.
        first = max(0, number - past)
        begin = (times[first - 1] + times[first]) / 2 if first else None
        found = _frames_from(path, begin, number - first + 1)
        if found and found[0][-1].pts * found[0][-1].time_base == times[number]:
            return found
    frames: deque[Frame] = deque(maxlen=past + 1)
    count = 0
    with VideoDecoder(path) as decoder:
        for frame in decoder:
            frames.append(frame)
            count += 1
            if count > number:
                return list(frames), decoder.info
    raise _beyond(path, number, count)


def shown(frame: Frame, info: VideoInfo) -> npt.NDArray[np.uint8]:
    """[H, W, 3] RGB, upright and with square samples."""
    seen = info.orientation.upright(to_rgb(frame)[0].mul_(255).round_().to(torch.uint8))
    rgb = seen.permute(1, 2, 0).contiguous().numpy()
    ratio = info.sample_aspect_ratio
    if ratio == 1 or not Fraction(1, MOST_STRETCHED) <= ratio <= MOST_STRETCHED:
        return rgb
    if info.orientation.quarter_turns % 2:
        ratio = 1 / ratio
    height, width, _ = rgb.shape
    # Never smaller: nothing that is there must vanish.
    size = (round(width * max(ratio, Fraction(1))), round(height / min(ratio, Fraction(1))))
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def _frames_from(
    path: Path, begin: Fraction | None, count: int
) -> tuple[list[Frame], VideoInfo] | None:
    try:
        with VideoDecoder(path, Span(begin)) as decoder:
            return list(islice(decoder.frames(), count)), decoder.info
    except NoFrameError:
        # The header knows of more than the file holds.
        return None


def _times_up_to(path: Path, number: int) -> list[Fraction]:
    """When the file's frames are shown, in order, as far as `number`.

    Empty if the file does not tell the times of all of them.
    """
    times: list[Fraction] = []
    demuxer = Demuxer(path)
    with demuxer.container:
        if not demuxer.seekable:
            return []
        packets = (p for p in demuxer.packets([demuxer.video]) if not p.is_discard)
        for packet in islice(packets, number + REORDERED):
            if packet.pts is None or packet.time_base is None:
                return []
            times.append(packet.pts * packet.time_base)
    return [] if demuxer.damaged else sorted(times)


def _beyond(path: Path, number: int, count: int) -> UsageError:
    return UsageError(
        f"--preview {number} is beyond the end of {path}: it has {count} frames, 0 to {count - 1}"
    )


def _colour_tags(info: VideoInfo) -> tuple[tuple[bytes, bytes], ...]:
    """PNG's cICP chunk, where a viewer must know more than sRGB."""
    if info.primaries != BT2020_PRIMARIES:
        return ()
    # PQ was made a gamma signal.
    transfer = HLG if info.transfer == HLG else SRGB_TRANSFER
    return ((b"cICP", bytes((info.primaries, transfer, 0, 1))),)
