import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sapnet_stream.errors import UsageError
from sapnet_training.checkpoint import load_checkpoint, save_checkpoint
from sapnet_training.config import TrainConfig
from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.image_task import ImageTask
from sapnet_training.seeds import seeded
from sapnet_training.task import Batch, Losses
from sapnet_training.trainer import DivergedError, Trainer, learning_rate
from sapnet_training.training_images import TrainingImages


class Line:
    """Fits y = 2x + 1 in two segments a batch; `broken` steps have no finite loss."""

    def __init__(self, broken: range = range(0)) -> None:
        self.broken = broken

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batch(self, step: int, shard: int) -> Batch:
        x = torch.rand(8, 1, generator=seeded(step, shard))
        return x, 2 * x + 1

    def losses(self, network: nn.Module, batch: Batch, step: int) -> Iterator[Losses]:
        for x, y in zip(batch[0].chunk(2), batch[1].chunk(2), strict=True):
            loss = (network(x) - y).square().mean()
            yield {"loss": loss * math.nan if step in self.broken else loss}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        return {"score": float(step) - network(torch.ones(1)).item()}

    def pictures(self, network: nn.Module, step: int) -> dict[str, Tensor]:
        raise AssertionError(f"nobody asked for pictures of {network} at {step}")


def image_config(**changes: object) -> ImageConfig:
    values: dict[str, object] = {
        "steps": 6,
        "phases": (ImagePhase(0, 2, 16, 1), ImagePhase(3, 2, 24, 2)),
        "rain": {"light": 0.5, "heavy": 0.5},
        "pairs": 0.3,
        "warmup": 1,
        "l1": 1.0,
        "early_stages": 0.2,
    }
    return ImageConfig(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    images: TrainingImages, tmp_path: Path, optimizer: str
) -> None:
    config = image_config(optimizer=optimizer)
    straight = Trainer(config, ImageTask(config, images))
    losses = [straight.advance() for _ in range(6)]
    first = Trainer(config, ImageTask(config, images))
    resumed_losses = [first.advance() for _ in range(4)]
    save_checkpoint(tmp_path / "last.pt", first.parts())
    second = Trainer(config, ImageTask(config, images))
    second.restore(load_checkpoint(tmp_path / "last.pt"))
    resumed_losses += [second.advance() for _ in range(2)]
    assert resumed_losses == losses
    for key, value in straight.parts()["average"].items():
        assert torch.equal(value, second.parts()["average"][key]), key


def test_training_fits_one_batch(images: TrainingImages, monkeypatch: pytest.MonkeyPatch) -> None:
    config = image_config(phases=(ImagePhase(0, 4, 24, 2),), steps=40)
    task = ImageTask(config, images)
    batch = task.batch(0, 0)
    monkeypatch.setattr(task, "batch", lambda _step, _shard: batch)
    trainer = Trainer(config, task)
    losses = [trainer.advance() for _ in range(40)]
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]


def test_every_loss_a_task_yields_is_an_optimizer_step() -> None:
    trainer = Trainer(TrainConfig(steps=4), Line())
    trainer.advance()
    states = trainer.optimizer.state_dict()["state"].values()
    assert [int(state["step"]) for state in states] == [2, 2]


def test_shards_make_the_gradient_of_the_whole_batch(images: TrainingImages) -> None:
    config = image_config(shards=2, clip=1e9)
    task = ImageTask(config, images)
    parted = Trainer(config, task)
    loss = parted.advance()["loss"]
    whole = Trainer(image_config(clip=1e9), task)
    both = [torch.cat(pair) for pair in zip(task.batch(0, 0), task.batch(0, 1), strict=True)]
    expected = next(task.losses(whole.network, tuple(both), 0))["loss"]
    assert loss == pytest.approx(expected.item(), abs=1e-6)


def test_a_loss_that_is_not_finite_is_skipped_and_counted() -> None:
    trainer = Trainer(TrainConfig(steps=9, most_skipped=5), Line(broken=range(2, 4)))
    for _ in range(2):
        trainer.advance()
    before = [p.clone() for p in (*trainer.network.parameters(), *trainer.average.parameters())]
    for _ in range(2):
        trainer.advance()
    after = [*trainer.network.parameters(), *trainer.average.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert trainer.skipped == 4
    assert math.isfinite(trainer.advance()["loss"])
    assert trainer.parts()["skipped"] == 4


def test_too_many_in_a_row_stop_the_run_with_their_batch() -> None:
    trainer = Trainer(TrainConfig(steps=9, most_skipped=3), Line(broken=range(1, 9)))
    trainer.advance()
    trainer.advance()
    with pytest.raises(
        DivergedError, match="3 losses in a row were not finite, the last at step 2"
    ):
        trainer.advance()
    assert trainer.skipped == 3


def test_the_batches_of_a_diverged_run_come_with_the_error() -> None:
    task = Line(broken=range(9))
    trainer = Trainer(TrainConfig(steps=9, most_skipped=1), task)
    with pytest.raises(DivergedError) as caught:
        trainer.advance()
    assert torch.equal(caught.value.batches[0][0], task.batch(0, 0)[0])


def test_the_average_follows_the_weights() -> None:
    trainer = Trainer(TrainConfig(steps=200, learning_rate=0.1, warmup=1), Line())
    for _ in range(200):
        trainer.advance()
    assert trainer.average(torch.ones(1)).item() == pytest.approx(3, abs=0.1)
    assert not any(p.requires_grad for p in trainer.average.parameters())


def test_learning_rate_rises_holds_and_falls_to_the_floor() -> None:
    recipe = TrainConfig(steps=1000, warmup=100, hold=0.5, floor=0.01, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100:500] == [1.0] * 400
    assert rates[750] == pytest.approx(0.505)
    assert rates[1000] == pytest.approx(0.01)
    assert rates[500:] == sorted(rates[500:], reverse=True)


def test_learning_rate_falls_at_milestones() -> None:
    recipe = TrainConfig(
        steps=10, warmup=0, schedule="steps", milestones=(3, 6), gamma=0.2, learning_rate=1.0
    )
    rates = [learning_rate(recipe, step) for step in range(9)]
    assert rates == pytest.approx([1.0] * 3 + [0.2] * 3 + [0.04] * 3)


def test_processes_that_cannot_share_the_shards_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sapnet_training.processes import Processes

    alone = Processes("cpu")
    monkeypatch.setattr(alone, "count", 2)
    with pytest.raises(UsageError, match="2 processes cannot share 1 shards evenly; set shards=2"):
        Trainer(TrainConfig(), Line(), alone)
