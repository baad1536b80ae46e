"""The short form of the table; the long one is `python -m tests.stream.live.new_size`."""

import time

import torch

from sapnet_stream.engine import DerainEngine
from tests.stream.live.job import Nothing
from tests.stream.live.new_size import measure


class Preparing(Nothing):
    """Takes a while before the first picture of a size."""

    def __init__(self) -> None:
        self._size: tuple[int, ...] = ()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape != self._size:
            self._size = tuple(image.shape)
            time.sleep(0.2)
        return image


def test_what_a_new_size_takes_is_told_from_what_a_camera_takes() -> None:
    name, width, height, new, known, other, prepares = measure(
        lambda: DerainEngine(executor=Preparing()), 32, 32, 3
    )
    assert (name, width, height) == ("nothing", 32, 32)
    assert new > 0.2 and min(known, other) < 0.2 and prepares == new - known > 0.05
