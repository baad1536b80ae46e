"""SAPNet for video: one thought per frame, and a memory.

The paper's network looks six times at one image. Here the ConvLSTM's state travels from
frame to frame instead of from stage to stage, on half the resolution, and a background
memory says what was seen behind the rain before.

Shapes: N batch, C channels, H height, W width; h and w are half of them.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.alignment import Position, seen_from_now
from sapnet_stream.networks.background import STATISTICS, BackgroundMemory
from sapnet_stream.networks.blocks import ProgressiveDilatedUnit, conv_lstm_update
from sapnet_stream.networks.camera import Camera

PIXELS = 4
"""Space to depth: 2x2 pixels become channels."""
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
        if self.channels < self.reduction or self.channels % 2:
            raise UsageError(
                f"channels must be even and at least reduction={self.reduction}, "
                f"got {self.channels}"
            )
        if not self.dilations or min(self.dilations) < 1:
            raise UsageError(f"dilations must be 1 or more, got {self.dilations}")


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

    def initial(self, height: int, width: int) -> VideoState:
        """The state before the first frame of a video of this size, pixels."""
        weight = self.gates.weight
        shape = (1, self.config.channels, -(-height // 2), -(-width // 2))
        h = weight.new_zeros(shape).contiguous(memory_format=torch.channels_last)
        return VideoState(h, h.float(), None, BackgroundMemory(), Camera())

    def forward(self, frame: Tensor, state: VideoState) -> tuple[Tensor, VideoState]:
        """The derained frame, [1, 3, H, W] float32, not clamped, and the next state.

        Args:
            frame: [1, 3, H, W] float32 RGB in [0, 1], any H, W >= 1.
            state: of the frame before; a cut to another scene is found and resets it. Its
                memory is handed on, so a state is used once.
        """
        height, width = frame.shape[2:]
        even = F.pad(frame, (0, width % 2, 0, height % 2), mode="replicate")
        before = state.camera.view.position
        if not state.camera.follow(frame[0]):
            # Another scene: only the camera, which has just begun anew, goes on.
            state = replace(self.initial(height, width), camera=state.camera)
            before = state.camera.view.position
        view = state.camera.view
        pixels = (even[0].clamp(0, 1) * 255).round().to(torch.uint8)
        statistics, seen, mesh = state.memory.statistics(pixels, view)
        state.memory.push(pixels, view)
        last = even if state.output is None else seen_from_now(state.output, mesh, even)
        past = torch.cat((statistics.flatten(0, 1)[None] / 255, last), dim=1)
        past -= even.repeat(1, STATISTICS + 1, 1, 1)
        shift = half_shift(before, view.position)
        h, c = shifted(state.h, shift), shifted(state.c, shift)
        output, h, c = self.step(even, past, seen[None], h, c)
        if state.output is None:
            for _ in range(FIRST_LOOKS - 1):
                past[:, -3:] = output - even
                output, h, c = self.step(even, past, seen[None], h, c)
        return output[:, :, :height, :width], replace(state, h=h, c=c, output=output)

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
        dtype = h.dtype
        x = torch.cat(
            (
                F.pixel_unshuffle(frame - 0.5, 2).to(dtype),
                # Most of these differences are small.
                F.pixel_unshuffle(past * 4, 2).to(dtype),
                F.avg_pool2d(seen, 2).to(dtype),
            ),
            dim=1,
        )
        x = torch.cat((self.conv0(x), h), dim=1)
        i, f, g, o = self.gates(x).chunk(4, dim=1)
        h, c = conv_lstm_update(i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), c)
        x = h = h.to(dtype)
        for unit in self.units:
            x = unit(x)
        out = F.pixel_shuffle(self.conv(x).float(), 2)
        trust = out[:, 3:].softmax(1)
        n, _, height, width = frame.shape
        candidates = past[:, : 3 * STATISTICS].reshape(n, STATISTICS, 3, height, width)
        recalled = (trust[:, 1:, None] * candidates).sum(1)
        return frame + out[:, :3] + recalled, h, c


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
