"""Runs: time limit, log, divergence, measured throughput."""

import errno
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sapnet_stream.errors import InputError, OutputError, UsageError
from sapnet_training.checkpoint import load_checkpoint
from sapnet_training.config import TrainConfig
from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.image_task import ImageTask
from sapnet_training.journal import Journal, means, read_log
from sapnet_training.processes import Processes
from sapnet_training.run import Run, steps_within
from sapnet_training.seeds import seeded
from sapnet_training.task import Batch, Losses
from sapnet_training.trainer import DivergedError, Trainer
from sapnet_training.training_images import TrainingImages
from sapnet_training.validation import KINDS


def image_config(**changes: object) -> ImageConfig:
    values = {"steps": 1000, "phases": (ImagePhase(0, 2, 16, 1),), "l1": 1.0, "validate": 2}
    return ImageConfig(**{**values, **changes})  # type: ignore[arg-type]


def go(trainer: Trainer, out: Path, minutes: float) -> None:
    with Journal(trainer, out) as journal:
        Run(trainer, journal, out, minutes, time.monotonic()).go()


def test_time_limit_saves_inside_it_and_the_log_has_the_scores(
    images: TrainingImages, tmp_path: Path
) -> None:
    trainer = Trainer(image_config(), ImageTask(image_config(), images))
    began = time.monotonic()
    go(trainer, tmp_path, 6 / 60)
    assert time.monotonic() - began < 6
    assert 0 < trainer.step < 1000
    assert load_checkpoint(tmp_path / "last.pt")["step"] == trainer.step
    records = read_log(tmp_path / "log.jsonl")
    assert records[0]["step"] == 2
    assert {*KINDS, "score", "skipped", "samples_per_second", "waited"} < set(records[0])
    assert records[0]["loss"] == pytest.approx(records[0]["ssim"] + records[0]["l1"], abs=2e-5)
    with Image.open(tmp_path / "pictures" / "0000002.png") as sheet:
        assert sheet.width > 3 * 128
    with Image.open(tmp_path / "curves.png") as curves:
        assert len(curves.convert("RGB").getcolors(1 << 16) or ()) > 3


def test_tensorboard_shows_what_the_log_says(images: TrainingImages, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the package that writes it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = Trainer(image_config(steps=2), ImageTask(image_config(steps=2), images))
    with Journal(trainer, tmp_path, tensorboard=True) as journal:
        Run(trainer, journal, tmp_path, 1.0, time.monotonic()).go()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (record,) = read_log(tmp_path / "log.jsonl")
    assert set(board.Tags()["scalars"]) == set(record)
    for name, value in record.items():
        (event,) = board.Scalars(name)
        assert event.step == 2 and event.value == pytest.approx(value)


def test_tensorboard_without_its_package_is_one_sentence(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    trainer = Trainer(image_config(), ImageTask(image_config(), images))
    with pytest.raises(UsageError, match="pip install tensorboard"):
        Journal(trainer, tmp_path, tensorboard=True)


def test_a_diverged_run_leaves_its_batch(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = image_config(most_skipped=1)
    task = ImageTask(config, images)
    batch = task.batch(0, 0)
    monkeypatch.setattr(task, "batch", lambda *_: (batch[0] * torch.nan, batch[1]))
    with pytest.raises(DivergedError):
        go(Trainer(config, task), tmp_path, 1)
    saved = load_checkpoint(tmp_path / "diverged_0.pt")
    assert torch.isnan(saved["batches"][0][0]).all()
    assert not (tmp_path / "last.pt").exists()


def test_a_picture_that_is_gone_loses_no_step(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ImageTask(image_config(), images)
    batch = task.batch

    def gone(step: int, shard: int) -> Batch:
        if step == 5:
            raise InputError("no such picture")
        return batch(step, shard)

    monkeypatch.setattr(task, "batch", gone)
    with pytest.raises(InputError, match="no such picture"):
        go(Trainer(image_config(validate=100), task), tmp_path, 1)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 5


def test_a_resumed_log_drops_what_runs_again(images: TrainingImages, tmp_path: Path) -> None:
    trainer = Trainer(image_config(steps=4), ImageTask(image_config(steps=4), images))
    (tmp_path / "log.jsonl").write_text('{"step": 9}\n')
    go(trainer, tmp_path, 1)
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [2, 4]


def test_steps_follow_the_measured_throughput(images: TrainingImages) -> None:
    config = image_config()
    task = ImageTask(config, images)
    few, many = (steps_within(minutes, config, task, Processes("cpu")) for minutes in (0.02, 2))
    assert 1 <= few < many
    assert steps_within(0.02, image_config(steps=1), task, Processes("cpu")) >= 1


class SlowlyDrawn:
    """Fits a line to points that take 0.1 s to draw."""

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batch(self, step: int, shard: int) -> Batch:
        time.sleep(0.1)
        return (torch.rand(8, 1, generator=seeded(step, shard)),)

    def losses(self, network: nn.Module, batch: Batch, step: int) -> Iterator[Losses]:
        yield {"loss": (network(batch[0]) - step).square().mean()}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        raise AssertionError(f"nobody asked for scores of {network} at {step}")

    def pictures(self, network: nn.Module, step: int) -> dict[str, Tensor]:
        raise AssertionError(f"nobody asked for pictures of {network} at {step}")


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_steps_wait_for_a_thread_and_not_for_processes(workers: int) -> None:
    config = TrainConfig(steps=1000, workers=workers)
    steps = steps_within(1, config, SlowlyDrawn(), Processes("cpu"))
    assert (steps > 1200) if workers else (steps <= 600)


def test_a_term_is_averaged_over_the_steps_that_have_it() -> None:
    assert means([{"loss": 1.0}, {"loss": 3.0, "ubs": 5.0}]) == {"loss": 2.0, "ubs": 5.0}


def test_a_full_disk_ends_the_log_in_one_sentence(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "")

    trainer = Trainer(image_config(), ImageTask(image_config(), images))
    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OutputError, match="is full: free space"):
        go(trainer, tmp_path, 1)


def test_what_is_no_log_is_one_sentence(tmp_path: Path) -> None:
    garbage = tmp_path / "log.jsonl"
    garbage.write_bytes(b"not a log")
    with pytest.raises(InputError, match="cannot be read as a log"):
        read_log(garbage)
