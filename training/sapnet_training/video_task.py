"""Deraining video with a memory: what `video.yaml` trains.

Shapes: T frames, N clips side by side, H height, W width.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_stream.networks.alignment import seen_from_now
from sapnet_stream.networks.background import LONG, STATISTICS
from sapnet_stream.networks.sapnet_video import FIRST_LOOKS, SAPNetVideo
from sapnet_training.levels import to_bytes
from sapnet_training.losses import ssim
from sapnet_training.seeds import seeded
from sapnet_training.task import Batch, Losses
from sapnet_training.training_images import read_masks, read_photographs, scenes_left_out
from sapnet_training.video_clips import Clips, make_clips
from sapnet_training.video_config import VideoConfig
from sapnet_training.video_rain import VideoRain
from sapnet_training.video_scenes import LARGEST_OBJECT, Draw

VALIDATION_FRAMES = 20
VALIDATION_PATCH = 128
VALIDATION_CLIPS = 4
VALIDATION_BATCHES = 4
LATE = 17
"""From this frame on the memory is full."""


class Carried(NamedTuple):
    """What goes on from frame to frame: the last output, hidden and cell state, [N, ...]."""

    output: Tensor
    h: Tensor
    c: Tensor

    def detached(self) -> "Carried":
        """Without its graph."""
        return Carried(*(tensor.detach() for tensor in self))


class VideoTask:
    """Photographs filmed by a moving camera through falling rain.

    Args:
        config: the recipe.
        photographs, held_out: to train and to validate on, [3, H, W] uint8 each.
        masks: rendered streaks, [M, H, W] uint8.
        device: of the network.
    """

    def __init__(
        self,
        config: VideoConfig,
        photographs: Sequence[Tensor],
        held_out: Sequence[Tensor],
        masks: Tensor,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self._photographs, self._held_out = photographs, held_out
        self._rain = VideoRain(masks, config.seed)
        self._step = torch.compile(_step, dynamic=False) if config.compile else _step
        self._validation: list[Clips] = []

    @classmethod
    def read(cls, config: VideoConfig, root: Path, device: torch.device) -> Self:
        """With the images of a data folder.

        Raises:
            InputError: a folder is missing, a file unreadable or smaller than a patch, or
                nothing is left to train or to validate on.
        """
        side = max(VALIDATION_PATCH, *(phase.patch for phase in config.phases))
        smallest = int(LARGEST_OBJECT * side) + 1
        images = read_photographs(config, root, smallest, scenes_left_out(config, root))
        return cls(config, *images, read_masks(root / config.masks), device)

    def build(self) -> SAPNetVideo:
        """See `Task`."""
        return SAPNetVideo()

    def batch(self, step: int, shard: int) -> Batch:
        """`Clips` of the step's phase, on the CPU."""
        config = self.config
        phase = config.phase(step)
        length = Draw(seeded("length", config.seed, step)).below(len(config.segments))
        frames = config.segments[length] * phase.frames
        draw = Draw(seeded("clips", config.seed, step, shard))
        n = phase.clips // config.shards
        return make_clips(self._photographs, self._rain, n, frames, phase.patch, draw)

    def losses(self, network: nn.Module, batch: Batch, step: int) -> Iterator[Losses]:
        """Per segment the recipe's total as "loss", and each of its terms unweighted."""
        clips = self._placed(Clips(*batch))
        frames = self.config.phase(step).frames
        carried = None
        for start in range(0, clips.rainy.shape[1], frames):
            part = Clips(*(tensor[:, start : start + frames] for tensor in clips))
            outputs, last = self.derained(cast(SAPNetVideo, network), part, carried)
            carried = last.detached()
            yield self._objective(outputs, part.clean.float())

    def derained(
        self, network: SAPNetVideo, clips: Clips, carried: Carried | None = None
    ) -> tuple[Tensor, Carried]:
        """All frames' outputs, [N, T, 3, H, W] float32, and what goes on after them."""
        kind = getattr(torch, self.config.precision)
        carried = carried or _blank(network, clips.rainy[:, 0], kind)
        outputs = []
        with torch.autocast(self.device.type, kind, enabled=kind != torch.float32):
            # Frames of one layout, however long the clips are: another would be compiled anew.
            frames = (tensor.transpose(0, 1).contiguous() for tensor in clips)
            for frame in zip(*frames, strict=True):
                carried = self._step(network, Clips(*frame), carried)
                outputs.append(carried.output)
        return torch.stack(outputs, dim=1), carried

    def _objective(self, outputs: Tensor, clean: Tensor) -> Losses:
        terms = {"l1": F.l1_loss(outputs, clean)}
        if self.config.ssim:
            grey, grey_clean = (x.flatten(0, 1).mean(1, keepdim=True) for x in (outputs, clean))
            terms["ssim"] = 1 - ssim(grey, grey_clean).mean()
        if self.config.temporal:
            terms["temporal"] = F.l1_loss(outputs.diff(dim=1), clean.diff(dim=1))
        total = outputs.new_zeros(())
        for name, value in terms.items():
            total = total + getattr(self.config, name) * value
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:  # noqa: ARG002
        """Mean PSNR in dB, RGB, of held-out clips: first frame, late frames, all ("score")."""
        if not self._validation:
            self._validation = [self._held_out_clips(n) for n in range(VALIDATION_BATCHES)]
        with torch.no_grad():
            rows = []
            for clips in self._validation:
                outputs = self.derained(cast(SAPNetVideo, network), clips)[0].clamp(0, 1)
                error = (outputs - clips.clean).square().mean((2, 3, 4))
                rows.append(-10 * error.clamp(min=1e-6).log10())
        decibels = torch.cat(rows)
        return {
            "first": round(decibels[:, FIRST_LOOKS - 1].mean().item(), 3),
            "late": round(decibels[:, LATE:].mean().item(), 3),
            "score": round(decibels.mean().item(), 3),
        }

    def pictures(self, network: nn.Module, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The last frame of a held-out clip."""
        clips = self._held_out_clips(0)
        with torch.no_grad():
            output = self.derained(cast(SAPNetVideo, network), clips)[0]
        images = {"rainy": clips.rainy / 255, "derained": output, "clean": clips.clean.float()}
        return {name: to_bytes(clip[0, -1]).cpu() for name, clip in images.items()}

    def _held_out_clips(self, number: int) -> Clips:
        draw = Draw(seeded("validation", number))
        return self._placed(
            make_clips(
                self._held_out,
                self._rain,
                VALIDATION_CLIPS,
                VALIDATION_FRAMES,
                VALIDATION_PATCH,
                draw,
            )
        )

    def _placed(self, clips: Clips) -> Clips:
        """On the network's device."""
        return Clips(*(tensor.to(self.device, non_blocking=True) for tensor in clips))


def _blank(network: SAPNetVideo, rainy: Tensor, kind: torch.dtype) -> Carried:
    """Before the first frame, [N, 3, H, W] uint8, which stands in for the last output."""
    n, _, height, width = rainy.shape
    shape = (n, height // 2, width // 2, network.config.channels)
    h, c = (torch.zeros(shape, dtype=d, device=rainy.device) for d in (kind, torch.float32))
    # Channels last, and two tensors, as the network leaves them.
    return Carried(rainy / 255, h.permute(0, 3, 1, 2), c.permute(0, 3, 1, 2))


def _step(network: SAPNetVideo, frame: Clips, carried: Carried) -> Carried:
    """What goes on after `frame`, whose tensors have no T."""
    rainy = frame.rainy / 255
    last = seen_from_now(carried.output, frame.motion[:, :, None, None], rainy)
    past = torch.cat((frame.past / 255, last), dim=1) - rainy.repeat(1, STATISTICS + 1, 1, 1)
    h, c = _shifted(carried.h, frame.shift), _shifted(carried.c, frame.shift)
    return Carried(*network.step(rainy, past, frame.looks / LONG, h, c))


def _shifted(state: Tensor, shifts: Tensor) -> Tensor:
    """`sapnet_video.shifted` of each of [N, C, h, w] by its own of [N, 2]."""
    n, channels, height, width = state.shape
    y = shifts[:, :1] + torch.arange(height, device=state.device)
    x = shifts[:, 1:] + torch.arange(width, device=state.device)
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    y, x = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
    index = (y * width + x).view(n, -1, 1).expand(-1, -1, channels)
    rows = state.permute(0, 2, 3, 1).reshape(n, -1, channels).gather(1, index)
    rows = torch.where(inside.view(n, -1, 1), rows, 0)
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)
