from pathlib import Path

import pytest
import torch

from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.image_task import ImageTask
from sapnet_training.trainer import Trainer
from sapnet_training.training_images import TrainingImages
from sapnet_training.validation import KINDS, Validation


def config(**changes: object) -> ImageConfig:
    values: dict[str, object] = {
        "phases": (ImagePhase(0, 4, 16, 1), ImagePhase(3, 2, 24, 2)),
        "rain": {"light": 0.5, "heavy": 0.5},
        "pairs": 0.3,
    }
    return ImageConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_a_batch_depends_on_step_and_shard_and_seed_alone(images: TrainingImages) -> None:
    task = ImageTask(config(shards=2), images)
    first = task.batch(0, 1)
    assert first[0].shape == first[1].shape == (2, 3, 16, 16)
    others = (
        task.batch(0, 0),
        task.batch(1, 1),
        ImageTask(config(seed=1, shards=2), images).batch(0, 1),
    )
    for same, want in zip(task.batch(0, 1), first, strict=True):
        assert torch.equal(same, want)
    for other in others:
        assert not torch.equal(other[0], first[0])
    assert task.batch(3, 0)[0].shape == (1, 3, 24, 24)


def test_the_paper_s_losses_train_the_network(images: TrainingImages, data_dir: Path) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    recipe = config(
        steps=6,
        warmup=1,
        phases=(ImagePhase(0, 2, 32, 2),),
        l1=1.0,
        early_stages=0.2,
        pcl=0.4,
        lpisl=1.0,
        lpips_trunk="squeeze",
        ubs=0.1,
        ubs_backbone="vgg16",
        ubs_start=1,
    )
    task = ImageTask(recipe, images, backbone_weights=data_dir / "weights")
    trainer = Trainer(recipe, task)
    before = trainer.network.state_dict()["conv0.0.weight"].clone()
    first, second = trainer.advance(), trainer.advance()
    assert set(second) - set(first) == {"ubs"}
    assert {"loss", "ssim", "l1", "pcl", "lpisl", "early_stages"} == set(first)
    assert not torch.equal(trainer.network.state_dict()["conv0.0.weight"], before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stages_of_the_task_are_the_stages_of_the_network(
    images: TrainingImages, precision: str
) -> None:
    task = ImageTask(config(precision=precision), images)
    network = task.build()
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    expected = network.forward_all(image, 3)
    tolerance = 0.02 if precision == "bfloat16" else 1e-6
    for got, want in zip(task.estimates(network, image, 3), expected, strict=True):
        torch.testing.assert_close(got, want, atol=tolerance, rtol=0)


def test_validation_gives_a_perfect_dry_score_to_a_network_that_does_nothing(
    images: TrainingImages,
) -> None:
    network = ImageTask(config(), images).build()
    for parameter in network.conv.parameters():
        torch.nn.init.zeros_(parameter)
    validation = Validation(images)
    scores = validation.scores(network, 1)
    assert set(scores) == {*KINDS, "score"}
    assert scores["dry"] == 60
    assert max(scores[kind] for kind in KINDS[1:]) < 40
    pictures = validation.pictures(network, 1)
    assert torch.equal(pictures["rainy"], pictures["derained"])
    assert not torch.equal(pictures["rainy"], pictures["clean"])
