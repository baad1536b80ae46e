"""The frames of one video through a network, in the order they are shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import torch
from torch import Tensor

from sapnet_stream.errors import TooLargeError
from sapnet_stream.networks.executor import Executor, Remembering
from sapnet_stream.networks.video_stream import VideoStream
from sapnet_stream.video.colour import add_change, to_rgb
from sapnet_stream.video.field import split_fields, weave_fields
from sapnet_stream.video.frame import Frame

# After so many steps the hidden state is as good as ever; the background memory needs more
# frames, but no step.
STEPS_TO_WARM_UP = 4
WARM_UP_SECONDS = 2
"""Frames longer ago do not count: a decoder that begins in the middle need not reach for them."""


class DerainStream:
    """Derains one video; only what the network changes leaves the source's samples.

    Fields are derained one by one, each with a memory of its own, and pictures as they are
    seen: upright.

    Args:
        executor: runs the network.
        device: where.
        strength: 1 removes all the rain the network sees, 0 nothing.
    """

    def __init__(self, executor: Executor, device: torch.device, strength: float) -> None:
        self._executor, self._device, self._strength = executor, device, strength
        # By field and size: in mixed material whole frames and fields take turns.
        self._streams: dict[tuple[int, int, int], VideoStream] = {}

    def frame(self, frame: Frame) -> Frame:
        """Derain the next frame."""
        fields = enumerate(split_fields(frame))
        return weave_fields(tuple(self._picture(field, number) for number, field in fields))

    def warm_up(self, past: Iterable[Frame], begin: Fraction) -> None:
        """Look at the frames before the next ones.

        Args:
            past: as many as `past_frames` says.
            begin: seconds of the source's clock at which the next ones begin.
        """
        if not isinstance(self._executor, Remembering):
            return
        earliest = begin - WARM_UP_SECONDS
        frames = [frame for frame in past if frame.pts * frame.time_base >= earliest]
        for frame in frames[:-STEPS_TO_WARM_UP]:
            for number, field in enumerate(split_fields(frame)):
                rgb = self._rgb(field)
                self._stream(self._executor, number, rgb).remember(rgb)
        for frame in frames[-STEPS_TO_WARM_UP:]:
            self.frame(frame)

    @torch.no_grad()
    def _picture(self, frame: Frame, number: int) -> Frame:
        rgb = self._rgb(frame)
        clean = derained(self._network(number, rgb), rgb)
        with _one_thread():
            return add_change(frame, frame.orientation.stored(change(rgb, clean, self._strength)))

    def _rgb(self, frame: Frame) -> Tensor:
        with _one_thread():
            return frame.orientation.upright(to_rgb(frame, self._device)).contiguous()

    def _network(self, number: int, rgb: Tensor) -> Callable[[Tensor], Tensor]:
        if isinstance(self._executor, Remembering):
            return self._stream(self._executor, number, rgb)
        return self._executor

    def _stream(self, executor: Remembering, number: int, rgb: Tensor) -> VideoStream:
        key = (number, rgb.shape[2], rgb.shape[3])
        if key not in self._streams:
            self._streams[key] = executor.stream()
        return self._streams[key]


def derained(network: Callable[[Tensor], Tensor], rgb: Tensor) -> Tensor:
    """What `network` makes of [N, 3, H, W].

    Raises:
        TooLargeError: another program took the memory that was free when the job began.
    """
    try:
        return network(rgb)
    except torch.OutOfMemoryError as error:
        height, width = rgb.shape[2:]
        raise TooLargeError(
            f"{rgb.device} has no memory left for a {width}x{height} picture: "
            "end what else runs there, or lower --memory"
        ) from error


def change(rgb: Tensor, clean: Tensor, strength: float) -> Tensor:
    """What to add to `rgb`, the sum staying in [0, 1]; overwrites `clean`."""
    difference = clean.clamp_(0, 1).sub_(rgb)
    return difference if strength == 1 else difference.mul_(strength)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep short memory-bound work on this thread.

    Decoder and encoder keep the other cores busy, and a team of threads waits at every
    operation for its slowest member: measured several times slower than one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
