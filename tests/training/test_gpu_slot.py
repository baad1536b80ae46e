"""A slot is packed, runs without our optional packages, and goes on in the next slot."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from sapnet_stream.networks.weights import load_network
from sapnet_training import gpu_slot
from sapnet_training.checkpoint import load_checkpoint
from sapnet_training.journal import read_log
from sapnet_training.recipe import load_config

ROOT = Path(__file__).parents[2]
START = ["--start", "sapnet"]
SMALL = ["phases=[{start: 0, batch: 2, patch: 32, stages: 1}]", "validate=4", "leave_out=[]"]


def pack(monkeypatch: pytest.MonkeyPatch, data: Path, slot: Path, *arguments: str) -> int:
    """What the command does, on a small recipe."""
    recipe = str(ROOT / "configs" / "sapnet_first.yaml")
    monkeypatch.setenv("SAPNET_DATA", str(data))
    command = ["gpu_slot", recipe, str(slot), *arguments, *SMALL, "compile=false"]
    monkeypatch.setattr(sys, "argv", command)
    return gpu_slot.main()


def train(repository: Path, slot: Path, out: Path) -> str:
    """Runs a slot where PyAV and LPIPS cannot be imported."""
    for name in ("av", "lpips"):
        (slot / "packages" / f"{name}.py").write_text("raise ImportError('not on this machine')")
    binary = repository / "bin"
    binary.mkdir(exist_ok=True)
    (binary / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (binary / "python3").chmod(0o755)
    environment = {"PATH": f"{binary}:/usr/bin:/bin", "OUT": str(out), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", str(slot / "train.sh")],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the sources alone."""
    for name in ("sapnet_stream", "kernels", "training"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=ignored)
    return tmp_path / "copy"


def test_a_slot_trains_elsewhere_and_the_next_one_goes_on(
    small_data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slot, first, second = repository / "slot", tmp_path / "first", tmp_path / "second"
    assert pack(monkeypatch, small_data, slot, "steps=4") == 0
    assert "30 of 30 photographs, 3 of 3 masks" in capsys.readouterr().out
    train(repository, slot, first)
    assert {p.name for p in first.iterdir()} == {
        "last.pt", "best.pt", "log.jsonl", "curves.png", "train.log", "pictures.tar"
    }  # fmt: skip
    assert load_checkpoint(first / "last.pt")["step"] == 4
    assert pack(monkeypatch, small_data, slot, "steps=8", "--run", str(first)) == 0
    assert '"samples_per_second"' in train(repository, slot, second)
    assert load_checkpoint(second / "last.pt")["step"] == 8
    assert [record["step"] for record in read_log(second / "log.jsonl")] == [4, 8]


def test_a_slot_gives_all_it_has_where_nothing_watches_the_gpu(
    small_data: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, results = repository / "slot", tmp_path / "results"
    assert pack(monkeypatch, small_data, slot, "steps=4") == 0
    watch = repository / "bin" / "nvidia-smi"
    watch.parent.mkdir()
    watch.write_text("#!/bin/sh\nexit 9\n")
    watch.chmod(0o755)
    train(repository, slot, results)
    assert (results / "pictures.tar").exists() and not (results / "pictures").exists()


def test_a_first_slot_begins_with_bundled_weights(
    small_data: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, results = repository / "slot", tmp_path / "results"
    assert pack(monkeypatch, small_data, slot, "steps=4", "learning_rate=1.0e-9", *START) == 0
    train(repository, slot, results)
    weights = load_checkpoint(results / "last.pt")["network"]
    for name, value in load_network("sapnet").state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6)


def test_a_slot_fits_and_holds_no_test_scene(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_slot, "LIMIT_BYTES", 20_000_000)
    recipe = ROOT / "configs" / "sapnet_paper.yaml"
    config = load_config(recipe, ["ubs_backbone=vgg16", "leave_out=[tests]"])
    for name in ("train", "weights"):
        (tmp_path / name).symlink_to(data_dir / name)
    leave_out = tmp_path / "tests"
    leave_out.mkdir()
    scene = sorted((data_dir / "train" / "bsds_clean_409").iterdir())[-1]
    (leave_out / "other.jpg").symlink_to(scene)
    slot = tmp_path / "slot"
    text = gpu_slot.pack(slot, config, tmp_path, tmp_path / "weights", None)
    assert "of 392 photographs" in text
    size = sum(p.stat().st_size for p in (slot / "data").rglob("*") if p.is_file())
    weights = {p.name: p.stat().st_size for p in (slot / "weights").iterdir()}
    assert set(weights) == set(gpu_slot.WEIGHTS)
    assert 19_000_000 < size + sum(weights.values()) <= 20_000_000
    assert not (slot / "data" / "train" / "bsds_clean_409" / scene.name).exists()
    assert yaml.safe_load((slot / "recipe.yaml").read_text())["leave_out"] == []
    assert (slot / "packages" / "lpips" / "lpips.py").exists()


def test_a_folder_that_is_no_slot_is_not_emptied(
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    assert pack(monkeypatch, small_data, tmp_path) == 2
    assert "holds no slot" in capsys.readouterr().err
    assert precious.exists()


def test_a_slot_that_cannot_be_packed_leaves_the_last_one(
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slot = tmp_path / "slot"
    assert pack(monkeypatch, small_data, slot) == 0
    before = sorted(slot.rglob("*"))
    for wrong, said in (
        (["--run", str(tmp_path / "typo")], "there is no checkpoint at"),
        (["--start", "sapnet_video"], "holds SAPNetVideo, not SAPNet"),
        (["--start", str(tmp_path / "typo.pt")], "there is no checkpoint at"),
        (["--run", "results", "--start", "sapnet"], "give one of them"),
        (["--minutes", "nan"], "--minutes must be above 0"),
        (["photographs=[nowhere]"], "nowhere is no folder of images"),
        (["photographs=[../photos]"], "../photos must be named from"),
        (["ubs=0.1"], "the recipe's losses need"),
    ):
        assert pack(monkeypatch, small_data, slot, *wrong) != 0, wrong
        assert said in capsys.readouterr().err
        assert sorted(slot.rglob("*")) == before
        assert [path.name for path in tmp_path.iterdir()] == ["slot"]


def test_a_slot_for_videos_takes_no_pairs(small_data: Path, tmp_path: Path) -> None:
    recipe = load_config(ROOT / "configs" / "video.yaml", ["leave_out=[]", "pair_sets=[nowhere]"])
    said = gpu_slot.pack(tmp_path / "slot", recipe, small_data, small_data / "weights", None)
    assert "0 of 0 pairs" in said
