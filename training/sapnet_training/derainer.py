"""Checkpoints as an evaluation runs them: the way the product does, outputs unrounded.

Shapes: images are [3, H, W].
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.engine import checked_device
from sapnet_stream.networks.executor import choose_executor, default_dtype
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import find_weights, load_either
from sapnet_training.pairs import Pair, read_pair


class Derainer:
    """A checkpoint on a device.

    Args:
        source: see `find_weights`; its stem is the name.
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
        self.name = find_weights(source).stem
        self.device = checked_device(device)
        network = load_either(find_weights(source))
        video = isinstance(network, SAPNetVideo)
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
        """ "rainy", and every output rounded to uint8."""
        outputs = {name: output.round().byte() for name, output in self.outputs.items()}
        return {"rainy": self.rainy, **outputs}


def derain_pairs(derainers: Sequence[Derainer], pairs: Iterable[Pair]) -> Iterator[Derained]:
    """Pair after pair, derained by all.

    Raises:
        InputError: an image is unreadable, or a pair differs in size.
    """
    for pair in pairs:
        rainy, clean = read_pair(pair).chunk(2)
        outputs, seconds = {}, {}
        for derainer in derainers:
            began = time.monotonic()
            outputs[derainer.name] = derainer(rainy)
            seconds[derainer.name] = time.monotonic() - began
        yield Derained(pair.rainy.stem, rainy, clean, outputs, seconds)
