"""SAPNet for video: one thought per frame, and a memory.

The paper's network looks six times at one image. Here the ConvLSTM's state travels from
frame to frame instead of from stage to stage, on half the resolution, and a background
memory says what was seen behind the rain before.

Shapes: N batch, C channels, H height, W width; h and w are half of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_stream.networks.alignment import Mesh, Position, seen_from_now
from sapnet_stream.networks.background import STATISTICS, BackgroundMemory
from sapnet_stream.networks.blocks import ProgressiveDilatedUnit, check_units, conv_lstm_update
from sapnet_stream.networks.camera import Camera

PIXELS = 4
"""Space to depth: 2x2 pixels become channels."""
PAST_SCALE = 4
"""Most of the differences to the past are small. A power of two: in weights it rounds nothing."""
FIRST_LOOKS = 3
"""Steps on a frame that has no past, as the paper's network takes on each."""


@dataclass(frozen=True)
class VideoState:
    """What one video's past has left; it never crosses videos.

    Attributes:
        h, c: hidden and cell state, [1, C, h, w].
        output: the last one, [1, 3, H, W] with H and W even, None at first.
        memory, camera: of this video.
    """

    h: Tensor
    c: Tensor
    output: Tensor | None
    memory: BackgroundMemory
    camera: Camera

    @classmethod
    def empty(
        cls, channels: int, height: int, width: int, device: torch.device, dtype: torch.dtype
    ) -> Self:
        """Before the first frame of a video of this size, pixels."""
        shape = (1, channels, -(-height // 2), -(-width // 2))
        h = torch.zeros(shape, device=device, dtype=dtype)
        h = h.contiguous(memory_format=torch.channels_last)
        return cls(h, h.float(), None, BackgroundMemory(), Camera())

    def forgotten(self) -> Self:
        """After a cut: only the camera, which has begun anew, goes on."""
        h, c = torch.zeros_like(self.h), torch.zeros_like(self.c)
        return replace(self, h=h, c=c, output=None, memory=type(self.memory)())


@dataclass(frozen=True)
class SAPNetVideoConfig:
    """What can vary.

    Attributes:
        channels: width of every hidden layer.
        dilations: one PDU each.
        reduction: bottleneck of the channel residual attention.
    """

    channels: int = 32
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    reduction: int = 16

    def __post_init__(self) -> None:
        # A checkpoint's metadata is JSON, which has lists only.
        object.__setattr__(self, "dilations", tuple(self.dilations))
        check_units(self.channels, self.reduction, self.dilations)


class SAPNetVideo(nn.Module):
    """Removes rain from one video frame after the other.

    state = network.initial(height, width)
    for frame in video:
        derained, state = network(frame, state)
    """

    def __init__(self, config: SAPNetVideoConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SAPNetVideoConfig()
        width = config.channels
        # The frame, the memory's statistics and the last output as differences to it, and
        # how much of the memory looked here.
        inputs = PIXELS * 3 * (1 + STATISTICS + 1) + 1
        self.conv0 = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU())
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        self.units = nn.ModuleList(
            ProgressiveDilatedUnit(width, dilation, config.reduction, "full")
            for dilation in config.dilations
        )
        # A residual, and per pixel the logits of trusting nothing or one of the statistics.
        self.conv = nn.Conv2d(width, PIXELS * (3 + 1 + STATISTICS), 3, padding=1)

    @property
    def pdus(self) -> list[ProgressiveDilatedUnit]:
        """The progressive dilated units in the order they run."""
        return [unit for unit in self.units if isinstance(unit, ProgressiveDilatedUnit)]

    def initial(self, height: int, width: int) -> VideoState:
        """The state before the first frame of a video of this size, pixels."""
        weight = self.gates.weight
        return VideoState.empty(self.config.channels, height, width, weight.device, weight.dtype)

    @torch.no_grad()
    def forward(self, frame: Tensor, state: VideoState) -> tuple[Tensor, VideoState]:
        """The derained frame, [1, 3, H, W] float32, not clamped, and the next state.

        Without a graph: training unrolls `step`.

        Args:
            frame: [1, 3, H, W] float32 RGB in [0, 1], any H, W >= 1.
            state: of the frame before; a cut to another scene is found and resets it. Its
                memory is handed on, so a state is used once.
        """
        return next_frame(self.step, look(frame, state))

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The derained frame, and the next hidden and cell state.

        Args:
            frame: [N, 3, H, W] RGB in [0, 1], H and W even.
            past: the memory's statistics and the last output, aligned, minus `frame`:
                [N, (STATISTICS + 1) 3, H, W].
            seen: share of the memory that looked here, [N, 1, H, W].
            h, c: aligned hidden and cell state, [N, C, h, w], zeros at first.
        """
        x = torch.cat((self.conv0(network_input(frame, past, seen, h.dtype)), h), dim=1)
        i, f, g, o = self.gates(x).chunk(4, dim=1)
        h, c = conv_lstm_update(i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), c)
        x = h = h.to(x.dtype)
        for unit in self.pdus:
            x = unit(x)
        return self.output(frame, past, F.pixel_shuffle(self.conv(x), 2).float()), h, c

    @staticmethod
    def output(frame: Tensor, past: Tensor, x: Tensor) -> Tensor:
        """The derained frame from the last convolution's result, [N, 4 + STATISTICS, H, W]."""
        trust = x[:, 3:].softmax(1)
        result = frame + x[:, :3]
        for number in range(STATISTICS):
            recalled = past[:, 3 * number : 3 * number + 3]
            result.addcmul_(trust[:, number + 1 : number + 2], recalled)
        return result


Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Look:
    """What is known of a frame before the network sees it; the last output plays no part.

    Attributes:
        size: (H, W) of the frame.
        even: the frame, [1, 3, H, W] with H and W even.
        state: of the frame before; after a cut, without a past. `camera` and `memory` are
            already those of this frame.
        statistics, seen, mesh: see `BackgroundMemory.statistics`.
        shift: how far the camera has moved, see `half_shift`.
    """

    size: tuple[int, int]
    even: Tensor
    state: VideoState
    statistics: Tensor
    seen: Tensor
    mesh: Mesh
    shift: tuple[int, int]


def look(frame: Tensor, state: VideoState) -> Look:
    """Follow the camera and ask the memory: all of a frame that the host waits for."""
    before = state.camera.view.position
    if not state.camera.follow(frame[0]):
        state = state.forgotten()
        before = state.camera.view.position
    view = state.camera.view
    even = _even(frame)
    pixels = _bytes(even)
    statistics, seen, mesh = state.memory.statistics(pixels, view)
    state.memory.push(pixels, view)
    size = (frame.shape[2], frame.shape[3])
    return Look(size, even, state, statistics, seen, mesh, half_shift(before, view.position))


def next_frame(step: Step, looked: Look) -> tuple[Tensor, VideoState]:
    """What `SAPNetVideo.forward` does after `look`, with any executor's `step`."""
    even, state, (height, width) = looked.even, looked.state, looked.size
    last = even if state.output is None else seen_from_now(state.output, looked.mesh, even)
    past = torch.empty(1, STATISTICS + 1, *even.shape[1:], device=even.device)
    past[0, :STATISTICS].copy_(looked.statistics).mul_(1 / 255).sub_(even)
    torch.sub(last, even, out=past[:, STATISTICS])
    past = past.flatten(1, 2)
    h, c = shifted(state.h, looked.shift), shifted(state.c, looked.shift)
    output, h, c = step(even, past, looked.seen[None], h, c)
    if state.output is None:
        for _ in range(FIRST_LOOKS - 1):
            past[:, -3:] = output - even
            output, h, c = step(even, past, looked.seen[None], h, c)
    return output[:, :, :height, :width], replace(state, h=h, c=c, output=output)


def remember(frame: Tensor, state: VideoState) -> VideoState:
    """The state after a frame that is seen but not derained, see `SAPNetVideo.forward`.

    Nearly free; hidden and cell state stay as they were.
    """
    if not state.camera.follow(frame[0]):
        state = state.forgotten()
    state.memory.push(_bytes(_even(frame)), state.camera.view)
    return state


def _even(frame: Tensor) -> Tensor:
    height, width = frame.shape[2:]
    if height % 2 == width % 2 == 0:
        return frame
    return F.pad(frame, (0, width % 2, 0, height % 2), mode="replicate")


def _bytes(frame: Tensor) -> Tensor:
    return frame[0].clamp(0, 1).mul_(255).round_().to(torch.uint8)


def network_input(frame: Tensor, past: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What conv0 takes of `SAPNetVideo.step`'s arguments, [N, inputs, h, w]."""
    planes = torch.cat(((frame - 0.5).to(dtype), (past * PAST_SCALE).to(dtype)), dim=1)
    return torch.cat((F.pixel_unshuffle(planes, 2), F.avg_pool2d(seen, 2).to(dtype)), dim=1)


def half_shift(before: Position, now: Position) -> tuple[int, int]:
    """How far the camera has moved, in whole pixels of half the resolution."""
    y, x = (round(b / 2) - round(a / 2) for a, b in zip(before, now, strict=True))
    return y, x


def shifted(state: Tensor, shift: tuple[int, int]) -> Tensor:
    """[N, C, h, w] after the camera moved; zeros where nothing is known."""
    if shift == (0, 0):
        return state
    height, width = state.shape[2:]
    result = torch.zeros_like(state)
    rows, columns = (min(max(s, -n), n) for s, n in zip(shift, (height, width), strict=True))
    result[
        :, :, max(0, -rows) : height + min(0, -rows), max(0, -columns) : width + min(0, -columns)
    ] = state[:, :, max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
    return result
