"""Training sets small enough for tests."""

from pathlib import Path

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


@pytest.fixture(scope="session")
def small_data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few of the photographs and masks."""
    root = tmp_path_factory.mktemp("small")
    for folder, count in (("bsds_clean_409", 30), ("garg_streaks_207", 3)):
        (root / "train" / folder).mkdir(parents=True)
        for path in sorted((data_dir / "train" / folder).iterdir())[:count]:
            (root / "train" / folder / path.name).symlink_to(path)
    pairs = "raintrainh_18pairs"
    (root / "train" / pairs).symlink_to(data_dir / "train" / pairs)
    return root
