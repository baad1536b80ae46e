"""Timing the video network, frame after frame, of a camera that stands still or moves."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.networks.background import LONG
from sapnet_stream.networks.executor import frame_executor
from sapnet_stream.networks.sapnet_video import Step, look, next_frame
from sapnet_stream.networks.weights import load_video_network

Way = Literal["as written", "rearranged", "compiled"]
STEP_PX = 3
"""Of a camera that moves, per frame: it goes there and back."""
FRAMES = 12
"""Of a scene; each call derains them all, as a frame of a video finds in the caches what the one
before left there."""


def video(
    way: Way, dtype: torch.dtype, *, moving: bool
) -> Callable[[object, Tensor], Callable[[], object]]:
    """Prepares the bundled video network on frames of an image's size, its memory full.

    Args:
        way: to run it; as written it takes float32 only, compiled no int8.
        dtype: of weights and activations.
        moving: the camera does.
    """

    def prepare(_: object, image: Tensor) -> Callable[[], object]:
        network = load_video_network().requires_grad_(False)
        executor = frame_executor(network, image.device, dtype)
        step: Step = network.step if way == "as written" else executor.step
        height, width = image.shape[2:]
        scene = moving_scene(height, width, STEP_PX if moving else 0)
        state = executor.initial(height, width)

        def play(frames: list[Tensor]) -> None:
            nonlocal state
            for frame in frames:
                _, state = next_frame(step, look(frame, state))

        # The first frame makes what the compiler takes for granted.
        play(scene[-1:])
        if way == "compiled":
            step = torch.compile(step, dynamic=False, fullgraph=True)
        play(scene + scene[: LONG - FRAMES])
        return lambda: play(scene)

    return prepare


def moving_scene(height: int, width: int, step: int) -> list[Tensor]:
    """A smooth scene behind drops, [1, 3, H, W] each, to be shown in a circle."""
    generator = torch.Generator().manual_seed(0)
    size = (height, width + FRAMES * step)
    coarse = torch.rand(1, 3, max(2, height // 8), max(2, size[1] // 8), generator=generator)
    scene = F.interpolate(coarse, size, mode="bicubic")
    places = [*range(FRAMES // 2), *range(FRAMES // 2, 0, -1)]
    frames = []
    for place in places:
        drops = torch.rand(1, 1, height, width, generator=generator) > 0.98
        view = scene[:, :, :, place * step : place * step + width] + 0.3 * drops
        frames.append(view.clamp(0, 1).contiguous())
    return frames
