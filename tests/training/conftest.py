"""A training set of a few small smooth images."""

import pytest
import torch

from sapnet_training.training_images import TrainingImages


@pytest.fixture
def images() -> TrainingImages:
    generator = torch.Generator().manual_seed(0)

    def smooth(height: int, width: int) -> torch.Tensor:
        coarse = torch.rand(1, 3, 4, 5, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        return (image[0].clamp(0, 1) * 255).to(torch.uint8)

    masks = torch.randint(0, 200, (2, 40, 40), dtype=torch.uint8, generator=generator)
    return TrainingImages(
        photographs=[smooth(40, 60) for _ in range(3)],
        pairs=[torch.cat((smooth(50, 50), smooth(50, 50)))],
        held_out=[smooth(140, 130)],
        masks=masks,
    )
