"""Checkpoints as an evaluation runs them: the way the product does, outputs unrounded.

Shapes: images are [3, H, W].
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.engine import checked_device
from sapnet_stream.errors import UsageError
from sapnet_stream.networks.executor import choose_executor, default_dtype
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import find_weights, load_either
from sapnet_training.pairs import Pair, pair_names, read_pair

RAINY = "rainy"
"""What the input is called beside the derainers' names."""


class Derainer:
    """A checkpoint on a device.

    Args:
        source: see `find_weights`; its stem is the name, and of a network for videos it is said
            that every image is the first of a video to it.
        device: "cpu", "cuda"; None takes a GPU if there is one.
        dtype: of the arithmetic; None takes the product's for the device.
        stages: default all.

    Raises:
        UsageError: there is no such device, or stages are out of range.
        WeightsError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        source: str | Path | None = None,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        stages: int | None = None,
    ) -> None:
        path = find_weights(source)
        self.device = checked_device(device)
        network = load_either(path)
        video = isinstance(network, SAPNetVideo)
        self.name = f"{path.stem}, single images" if video else path.stem
        dtype = dtype or default_dtype(self.device, video=video)
        self._executor = choose_executor(
            network,
            device=self.device,
            dtype=dtype,
            stages=stages,
            memory_bytes=None,
        )
        self.how = f"{str(dtype).removeprefix('torch.')} on {self.device} ({self._executor.name})"

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Of a uint8 image: float32 in [0, 255] on the CPU, neither rounded nor cut off."""
        output = self._executor(image[None].to(self.device).float() / 255)[0]
        return output.clamp(0, 1).mul(255).cpu()


@dataclass(frozen=True)
class Derained:
    """A pair, uint8, and what each derainer made of its rainy image.

    Attributes:
        outputs: by the derainer's name; float32, see `Derainer`.
        seconds: likewise, the network's alone.
    """

    name: str
    rainy: Tensor
    clean: Tensor
    outputs: dict[str, Tensor]
    seconds: dict[str, float]

    def images(self) -> dict[str, Tensor]:
        """RAINY, and every output rounded to uint8."""
        outputs = {name: output.round().byte() for name, output in self.outputs.items()}
        return {RAINY: self.rainy, **outputs}


def told_apart(sources: Sequence[str | Path | None]) -> list[str]:
    """The names of checkpoints, see `find_weights`.

    Raises:
        UsageError: two have one name, or one that of the input.
        WeightsError: there is no such file.
    """
    names = [find_weights(source).stem for source in sources]
    if len({*names, RAINY}) <= len(names):
        raise UsageError(
            f"--weights are told apart by their names, and from {RAINY!r}: got {', '.join(names)}"
        )
    return names


def derain_pairs(derainers: Sequence[Derainer], pairs: Sequence[Pair]) -> Iterator[Derained]:
    """Pair after pair, derained by all.

    Raises:
        InputError: an image is unreadable, or a pair differs in size.
    """
    for name, pair in zip(pair_names(pairs), pairs, strict=True):
        rainy, clean = read_pair(pair).chunk(2)
        outputs, seconds = {}, {}
        for derainer in derainers:
            began = time.monotonic()
            outputs[derainer.name] = derainer(rainy)
            seconds[derainer.name] = time.monotonic() - began
        yield Derained(name, rainy, clean, outputs, seconds)
