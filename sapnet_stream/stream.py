"""The frames of one video through a network, in the order they are shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from sapnet_stream.errors import TooLargeError
from sapnet_stream.networks.executor import Executor, Remembering
from sapnet_stream.networks.video_stream import VideoStream
from sapnet_stream.slots import Finish, Slots
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
        slots: of the device; all streams of an executor share them.
        check_memory: given the height and width of each picture that follows one of another size;
            may refuse it.
    """

    def __init__(
        self,
        executor: Executor,
        device: torch.device,
        strength: float,
        slots: Slots,
        check_memory: Callable[[int, int], None],
    ) -> None:
        self._executor, self._device, self._strength = executor, device, strength
        self._slots = slots
        self._check_memory = check_memory
        self._size = (0, 0)
        # Of that, by field and its size: in mixed material whole frames and fields take turns.
        self._streams: dict[tuple[int, int, int], VideoStream] = {}

    def frame(self, frame: Frame) -> Frame:
        """Derain the next frame and wait for it."""
        return self.start(frame)()

    def start(self, frame: Frame) -> Finish[Frame]:
        """Begin to derain the next frame.

        On a GPU the frames before may be under way still, and its samples are read by now; on
        a CPU it is done. What is returned waits for the derained frame.

        Raises:
            TooLargeError: pictures of this size do not fit; nothing was begun.
        """
        self._look_at_size(frame)
        fields = enumerate(split_fields(frame))
        started = [self._start(field, number) for number, field in fields]
        return lambda: weave_fields(tuple(finish() for finish in started))

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
            self._look_at_size(frame)
            for number, field in enumerate(split_fields(frame)):
                self._slots.device.run("up", None, partial(self._remember, field, number))
        for frame in frames[-STEPS_TO_WARM_UP:]:
            self.start(frame)

    def _look_at_size(self, frame: Frame) -> None:
        size = frame.orientation.size(frame.height, frame.width)
        # Those that do not remember look for themselves.
        if isinstance(self._executor, Remembering) and size != self._size:
            # A video that changes its size again and again would fill the memory.
            self._streams.clear()
            self._check_memory(*size)
            self._size = size

    @torch.no_grad()
    def _start(self, frame: Frame, number: int) -> Finish[Frame]:
        def send() -> tuple[Frame, Tensor, Callable[[], Tensor]]:
            there, rgb = self._sent(frame)
            return there, rgb, self._network(number, rgb)

        def derain(sent: tuple[Frame, Tensor, Callable[[], Tensor]]) -> Frame:
            there, rgb, network = sent
            clean = network()
            with _one_thread():
                difference = change(rgb, clean, self._strength)
                return add_change(there, frame.orientation.stored(difference))

        def fetch(there: Frame) -> Frame:
            return _moved(there, self._slots.device.fetched)

        with enough_memory(self._device, *frame.orientation.size(frame.height, frame.width)):
            return self._slots.start(send, derain, fetch)

    def _sent(self, frame: Frame) -> tuple[Frame, Tensor]:
        """The frame on the device, and as RGB."""
        with _one_thread():
            there = _moved(frame, self._slots.device.sent)
            rgb = to_rgb(there, self._device)
            return there, frame.orientation.upright(rgb).contiguous()

    def _network(self, number: int, rgb: Tensor) -> Callable[[], Tensor]:
        """What remains to be done for a picture, as far as it depends on the one before."""
        if not isinstance(self._executor, Remembering):
            return partial(self._executor, rgb)
        stream = self._stream(self._executor, number, rgb)
        return partial(stream.derain, stream.look(rgb))

    @torch.no_grad()
    def _remember(self, frame: Frame, number: int) -> None:
        assert isinstance(self._executor, Remembering)
        _, rgb = self._sent(frame)
        self._stream(self._executor, number, rgb).remember(rgb)

    def _stream(self, executor: Remembering, number: int, rgb: Tensor) -> VideoStream:
        key = (number, rgb.shape[2], rgb.shape[3])
        if key not in self._streams:
            self._streams[key] = executor.stream()
        return self._streams[key]


@contextmanager
def enough_memory(device: torch.device, height: int, width: int) -> Iterator[None]:
    """Within, a picture of this size is worked on.

    Raises:
        TooLargeError: another program took the memory that was free when the job began.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TooLargeError(
            f"{device} has no memory left for a {width}x{height} picture: "
            "end what else runs there, or lower --memory"
        ) from error


def _moved(frame: Frame, move: Callable[[Tensor], Tensor]) -> Frame:
    """With its planes of colour elsewhere; nothing is done to alpha."""
    colour = frame.colour_planes
    return frame.with_planes((*map(move, colour), *frame.planes[len(colour) :]))


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
