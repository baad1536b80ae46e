"""Parts of a video and the source's other streams into one file, losslessly."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from sapnet_stream.errors import OutputError
from sapnet_stream.target import write_failure
from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.container import abandon, container_format
from sapnet_stream.video.demux import Packet
from sapnet_stream.video.encode import add_video, refusal
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.others import OtherStreams


@dataclass(frozen=True)
class VideoPart:
    """A closed file of video alone, which needs no other part to be decoded.

    Attributes:
        path: the file.
        pts: [packets] int64 in the packets' order: exact presentation times in units of the
            source's time base, which no container of parts keeps for every codec.
        duration: of the picture shown last, in the same unit; 0 when unknown.
    """

    path: Path
    pts: npt.NDArray[np.int64]
    duration: int


def join(
    target: Path,
    parts: list[VideoPart],
    others: OtherStreams,
    info: VideoInfo,
    plan: EncoderPlan,
    metadata: dict[str, str],
    offset_seconds: Fraction = Fraction(0),
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write `target`: the parts' packets one after the other, beside the other streams.

    Without parts, the header alone is written: a trial of whether the container takes it all.

    Args:
        target: the file, replaced if it exists; its suffix names the container.
        parts: in their order.
        others: what travels beside them.
        info: of the video.
        plan: the encoder all parts were written with.
        metadata: the video stream's.
        offset_seconds: what to subtract from the parts' times.
        check: called now and then; may raise to give up.

    Raises:
        OutputError: the disk is full, or the container cannot hold the streams.
    """
    kind = container_format(target)
    container = av.open(f"file:{target}", "w", format=kind, options=others.options(kind))
    try:
        video = add_video(container, info, plan)
        video.metadata.update(metadata)
        others.add_to(container)
        _write_header(container, info, plan)
        shift = round(offset_seconds / info.time_base)
        if parts:
            _mux(container, _merged(_timed(parts, info, video, shift), others.packets()), check)
        with _misfits(container):
            container.close()
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise write_failure(target, error) from error
    finally:
        abandon(container)


def _write_header(
    container: av.container.OutputContainer, info: VideoInfo, plan: EncoderPlan
) -> None:
    for stream in container.streams.video:
        context = stream.codec_context
        if context is not None and context.is_encoder and not context.is_open:
            try:
                context.open()
            except (av.error.FFmpegError, ValueError) as error:
                raise refusal(info, plan) from error
    with _misfits(container):
        container.start_encoding()


def _mux(
    container: av.container.OutputContainer, packets: Iterable[Packet], check: Callable[[], None]
) -> None:
    for packet in packets:
        check()
        with _misfits(container):
            container.mux_one(packet)


@contextmanager
def _misfits(container: av.container.OutputContainer) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"{container.format.name} files cannot hold these streams "
            f"({getattr(error, 'strerror', None) or error}): name the output .mkv, or choose "
            "another --codec"
        ) from error


def _timed(
    parts: list[VideoPart], info: VideoInfo, stream: av.VideoStream, shift: int
) -> Iterator[Packet]:
    """The parts' packets with their exact times.

    Each part's encoder began its decoding times anew, so they are made again for the whole:
    the n-th packet is decoded when the (n - delay)-th picture is shown, which never goes back
    and is never after its own picture.
    """
    delay = max((_reordering(part.pts) for part in parts), default=0)
    shown = np.concatenate([np.sort(part.pts) for part in parts]) - shift
    step = max(1, round(1 / (info.rate * info.time_base)))
    early = deque(int(shown[0]) - step * n for n in range(delay, 0, -1))
    number = 0
    for part in parts:
        rank = np.argsort(np.argsort(part.pts, kind="stable"), kind="stable")
        first = number
        for packet, place in zip(_packets(part), rank, strict=True):
            shown_as = first + int(place)
            packet.stream = stream
            packet.time_base = info.time_base
            packet.pts = int(shown[shown_as])
            packet.dts = early.popleft() if early else int(shown[number - delay])
            after = shown_as + 1
            packet.duration = (
                int(shown[after]) - packet.pts if after < len(shown) else part.duration
            )
            number += 1
            yield packet


def _reordering(pts: npt.NDArray[np.int64]) -> int:
    """By how many places a packet comes later than its picture is shown, at most."""
    rank = np.argsort(np.argsort(pts, kind="stable"), kind="stable")
    return int(np.max(np.arange(len(pts)) - rank, initial=0))


def _packets(part: VideoPart) -> Iterator[Packet]:
    if not len(part.pts):
        return
    with av.open(f"file:{part.path}") as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


def _merged(video: Iterator[Packet], others: Iterator[Packet]) -> Iterator[Packet]:
    """Both by time, as far as the others' own order allows: the muxer sorts the rest."""
    waiting = next(others, None)
    for packet in video:
        while waiting is not None and _seconds(waiting) <= _seconds(packet):
            yield waiting
            waiting = next(others, None)
        yield packet
    if waiting is not None:
        yield waiting
    yield from others


def _seconds(packet: Packet) -> Fraction:
    return Fraction((packet.dts or 0) * packet.time_base)
