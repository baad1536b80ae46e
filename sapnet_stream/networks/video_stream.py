"""A network with a memory as the engine runs it: single images, and one video after the other.

Shapes: N batch, H height, W width.
"""

from typing import Protocol

import torch
from torch import Tensor

from sapnet_stream.networks.background import LONG
from sapnet_stream.networks.memory import available_bytes, too_large
from sapnet_stream.networks.sapnet_video import Look, Step, VideoState, look, next_frame, remember

# Of a frame and its video's memory, by the bytes of a number: measured on a CPU, as the growth of
# peak memory from 540p to 1080p with a camera that moves (740, 690 and 840), and the frames that a
# part begins with. In bytes the gates are float32.
_BYTES_PER_PIXEL = {1: 850, 2: 800, 4: 950}


class FrameExecutor(Protocol):
    """Runs a network with a memory; made for one network, device and dtype."""

    name: str

    def initial(self, height: int, width: int) -> VideoState:
        """See `SAPNetVideo.initial`."""
        ...

    @property
    def step(self) -> Step:
        """See `SAPNetVideo.step`."""
        ...


class VideoStream:
    """One video, picture after picture; a picture of another size begins anew."""

    def __init__(self, executor: FrameExecutor) -> None:
        self._executor = executor
        self._state: VideoState | None = None
        self._size = (0, 0)

    def __call__(self, image: Tensor) -> Tensor:
        """Derain the next picture, [1, 3, H, W] float32 in [0, 1]; not clamped."""
        return self.derain(self.look(image))

    def look(self, image: Tensor) -> Look:
        """What can be known of the next picture while the one before is being derained."""
        with torch.inference_mode():
            return look(image, self._current(image))

    def derain(self, looked: Look) -> Tensor:
        """Derain the picture that was looked at."""
        with torch.inference_mode():
            output, self._state = next_frame(self._executor.step, looked)
        # The next picture looks back at the state's own copy.
        return output.clone()

    def remember(self, image: Tensor) -> None:
        """Let the next picture be seen without deraining it."""
        with torch.inference_mode():
            self._state = remember(image, self._current(image))

    def _current(self, image: Tensor) -> VideoState:
        size = (image.shape[2], image.shape[3])
        if self._state is None or self._size != size:
            self._state, self._size = self._executor.initial(*size), size
        return self._state


class VideoExecutor:
    """An `Executor` that remembers.

    Args:
        executor: runs the network.
        device: where.
        dtype: in which arithmetic.
        memory_bytes: what a frame may take, None for what the machine has available.
    """

    past_frames = LONG + 1
    """How many frames before a picture may matter to it."""

    def __init__(
        self,
        executor: FrameExecutor,
        device: torch.device,
        dtype: torch.dtype,
        memory_bytes: int | None = None,
    ) -> None:
        self.name = executor.name
        self._executor, self._device, self._memory_bytes = executor, device, memory_bytes
        self._pixel_bytes = _BYTES_PER_PIXEL[dtype.itemsize]

    def __call__(self, image: Tensor) -> Tensor:
        """See `Executor`: every image by itself, without a past."""
        return torch.cat([self.stream()(image[n : n + 1]) for n in range(len(image))])

    def stream(self) -> VideoStream:
        """The way of one video."""
        return VideoStream(self._executor)

    def check_memory(self, height: int, width: int) -> None:
        """See `Executor`."""
        allowed = self._memory_bytes
        if allowed is None:
            allowed = available_bytes(self._device)
        needed = height * width * self._pixel_bytes
        if needed > allowed:
            raise too_large(height, width, needed, allowed)
