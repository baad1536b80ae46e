"""Whole runs of the command: time limit, signals, kill -9, several processes."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sapnet_stream.errors import InputError, OutputError, UsageError, WeightsError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.weights import save_network
from sapnet_training.checkpoint import NEEDED, load_checkpoint, load_weights, save_checkpoint
from sapnet_training.config import TrainConfig
from sapnet_training.image_config import ImageConfig, Phase
from sapnet_training.image_task import ImageTask
from sapnet_training.journal import Journal, means, read_log
from sapnet_training.processes import Processes
from sapnet_training.run import Run, steps_within
from sapnet_training.run_folder import claimed
from sapnet_training.seeds import seeded
from sapnet_training.task import Batch, Losses
from sapnet_training.train import main
from sapnet_training.trainer import DivergedError, Trainer
from sapnet_training.training_images import TrainingImages
from sapnet_training.validation import KINDS

RECIPE = """
steps: {steps}
validate: 8
shards: 2
warmup: 1
pairs: 0.3
rain: {{light: 0.5, heavy: 0.5}}
phases: [{{start: 0, batch: 2, patch: 16, stages: 1}}, {{start: 4, batch: 2, patch: 24, stages: 2}}]
"""


def image_config(**changes: object) -> ImageConfig:
    values = {"steps": 1000, "phases": (Phase(0, 2, 16, 1),), "l1": 1.0, "validate": 2}
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


def test_a_checkpoint_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    parts = dict.fromkeys(NEEDED, 1)
    save_checkpoint(path, parts)

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OutputError, match=r"the disk of .*last\.pt is full: free space"):
        save_checkpoint(path, {**parts, "step": 2})
    assert load_checkpoint(path) == parts
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_the_log_in_one_sentence(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "")

    trainer = Trainer(image_config(), ImageTask(image_config(), images))
    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OutputError, match="is full: free space"):
        go(trainer, tmp_path, 1)


def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pt")
    garbage = tmp_path / "garbage.pt"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(garbage)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_checkpoint(tmp_path)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no checkpoint of"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(InputError, match="cannot be read as a log"):
        read_log(garbage)


def command(folder: Path, name: str, steps: int, *more: str) -> list[str]:
    recipe = folder / f"{name}.yaml"
    recipe.write_text(RECIPE.format(steps=steps))
    module = ["-m", "sapnet_training.train", "--config", str(recipe), "--out", str(folder / name)]
    return [*module, "--device", "cpu", *more]


@pytest.fixture(scope="module")
def small(small_data: Path) -> dict[str, str]:
    """The environment of runs."""
    return {**os.environ, "SAPNET_DATA": str(small_data), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def whole(small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run([sys.executable, *command(folder, "run", 8)], env=small, check=True)
    return folder / "run"


def wait_for(path: Path, run: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert run.poll() is None
        time.sleep(0.02)


def equal(first: Path, second: Path) -> bool:
    one, two = (load_checkpoint(path / "last.pt") for path in (first, second))
    assert one["step"] == two["step"]
    return all(
        torch.equal(one[part][key], two[part][key])
        for part in ("network", "average")
        for key in one[part]
    )


def test_kill_9_and_resume_end_bit_equal(
    small: dict[str, str], whole: Path, tmp_path: Path
) -> None:
    killed = command(tmp_path, "killed", 8, "save_minutes=0.00001")
    run = subprocess.Popen([sys.executable, *killed], env=small)
    wait_for(tmp_path / "killed" / "last.pt", run)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "killed" / "last.pt")["step"] < 8
    subprocess.run([sys.executable, *killed, "--resume"], env=small, check=True)
    assert equal(whole, tmp_path / "killed")
    (one,), (two,) = (read_log(run / "log.jsonl") for run in (whole, tmp_path / "killed"))
    assert {name: one[name] for name in ("loss", "ssim")} == {
        name: two[name] for name in ("loss", "ssim")
    }


def test_two_processes_train_as_one(small: dict[str, str], whole: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, *command(tmp_path, "two", 8)], env=small, check=True)
    one, two = (read_log(folder / "log.jsonl") for folder in (whole, tmp_path / "two"))
    timed = {"seconds", "samples_per_second", "waited"}
    assert [{k: v for k, v in r.items() if k not in timed} for r in one] == [
        {k: v for k, v in r.items() if k not in timed} for r in two
    ]
    assert equal(whole, tmp_path / "two")


def test_sigterm_saves_and_an_old_folder_is_not_overwritten(
    small: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = command(tmp_path, "run", 100_000, "save_minutes=0.00001", "validate=100000")
    run = subprocess.Popen([sys.executable, *arguments], env=small)
    wait_for(tmp_path / "run" / "last.pt", run)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == 0
    monkeypatch.setattr(sys, "argv", arguments[1:])
    assert main() == 2
    assert "give --resume to go on" in capsys.readouterr().err


@pytest.fixture
def own(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command on a small recipe, into tmp_path/run."""
    monkeypatch.setenv("SAPNET_DATA", str(small_data))

    def run(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", command(tmp_path, "run", 2, "validate=2", *more)[1:])
        return main()

    return run


def test_another_recipe_does_not_go_on_unsaid(
    own: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert own() == 0
    assert own("--resume", "dilations=[1, 1, 1, 1, 1]") == 2
    assert "a run with dilations [1, 2, 4, 8, 16]" in capsys.readouterr().err
    assert own("--resume", "steps=1") == 2
    assert "has done 2 steps, the recipe ends at 1" in capsys.readouterr().err
    assert own("--resume", "steps=4", "weight_decay=0.1", "--max-minutes", "0.001") == 0
    said = capsys.readouterr().err
    assert "steps 4, was 2, weight_decay 0.1, was 0.0" in said
    assert "stopped at step 2 of 4; --resume goes on" in said


def test_a_folder_has_one_run_at_a_time(
    own: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with claimed(tmp_path / "run"):
        assert own() == 4
    assert "another run writes into" in capsys.readouterr().err
    assert not list((tmp_path / "run").iterdir())
    (tmp_path / "run" / "best.pt").touch()
    assert own() == 2
    assert "best.pt exists; give --resume" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_sentence(
    own: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").touch()
    assert own() == 4
    assert f"{tmp_path / 'run'} cannot be written" in capsys.readouterr().err


def test_a_stop_before_the_first_step_is_one_sentence(
    own: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sapnet_training.train.make_task", stopped)
    assert own() == 130
    assert "stopped\n" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["--max-minutes", "--budget-minutes"])
def test_a_limit_of_no_time_is_refused(own: Callable[..., int], limit: str) -> None:
    assert own(limit, "0") == own(limit, "nan") == 2


def test_weights_of_another_width_are_one_sentence(tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.safetensors"
    save_network(narrow, SAPNet(SAPNetConfig(channels=16)), {})
    with pytest.raises(WeightsError, match="another width"):
        load_weights(str(narrow), SAPNet())
