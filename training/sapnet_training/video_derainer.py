"""Networks and simpler means on the frames of one video, as the product runs them.

Shapes: T frames, H height, W width; frames are [3, H, W] uint8.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from sapnet_stream.networks.background import BackgroundMemory
from sapnet_stream.networks.executor import (
    Remembering,
    choose_executor,
    default_dtype,
    frame_executor,
)
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo, look, next_frame
from sapnet_training.levels import to_bytes

VideoDerainer = Callable[[Iterable[Tensor]], Iterator[Tensor]]
CPU = torch.device("cpu")


class Forgetful(BackgroundMemory):
    """Remembers nothing: what the network does without its background memory."""

    def push(self, *_: object) -> None:
        """Nothing."""


def derainer(
    network: SAPNet | SAPNetVideo, dtype: torch.dtype | None = None, *, forget: bool = False
) -> VideoDerainer:
    """One video's frames through a network.

    Args:
        network: `SAPNet` sees every frame by itself.
        dtype: of the arithmetic; None takes the product's.
        forget: take the background memory from a `SAPNetVideo`.

    Raises:
        UsageError: the network has no such arithmetic.
    """
    if forget and isinstance(network, SAPNetVideo):
        return _forgetful(network, dtype or default_dtype(CPU, video=True))
    executor = choose_executor(network, device=CPU, dtype=dtype, stages=None, memory_bytes=None)

    def video(frames: Iterable[Tensor]) -> Iterator[Tensor]:
        see: Callable[[Tensor], Tensor] = executor
        if isinstance(executor, Remembering):
            see = executor.stream()
        for frame in frames:
            yield to_bytes(see(_image(frame))[0])

    return video


def _forgetful(network: SAPNetVideo, dtype: torch.dtype) -> VideoDerainer:
    executor = frame_executor(network, CPU, dtype)

    def video(frames: Iterable[Tensor]) -> Iterator[Tensor]:
        state = None
        for frame in frames:
            if state is None:
                state = executor.initial(frame.shape[1], frame.shape[2])
                state = replace(state, memory=Forgetful())
            output, state = next_frame(executor.step, look(_image(frame), state))
            yield to_bytes(output[0])

    return video


def median_of(count: int) -> VideoDerainer:
    """The median of the last `count` frames, this one included."""

    def video(frames: Iterable[Tensor]) -> Iterator[Tensor]:
        last: deque[Tensor] = deque(maxlen=count)
        for frame in frames:
            last.append(frame)
            yield torch.stack(list(last)).median(0).values

    return video


def _image(frame: Tensor) -> Tensor:
    return frame[None].float() / 255
