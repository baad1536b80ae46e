"""Whole runs of the command: signals, kill -9, several processes, users' mistakes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sapnet_training.checkpoint import load_checkpoint
from sapnet_training.journal import read_log
from sapnet_training.run_folder import claimed
from sapnet_training.train import main

RECIPE = """
steps: {steps}
validate: 8
shards: 2
warmup: 1
pairs: 0.3
rain: {{light: 0.5, heavy: 0.5}}
phases: [{{start: 0, batch: 2, patch: 16, stages: 1}}, {{start: 4, batch: 2, patch: 24, stages: 2}}]
"""


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
    assert f"{tmp_path / 'run'} is a file: --out names a folder" in capsys.readouterr().err


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


def test_a_budget_without_an_end_is_refused(
    own: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert own("--budget-minutes", "inf") == own("--budget-minutes", "1e300") == 2
    assert "at most 525600, a year, got inf" in capsys.readouterr().err
