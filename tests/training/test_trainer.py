import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sapnet_stream.errors import InputError
from sapnet_stream.networks.weights import load_network, read_card
from sapnet_training.checkpoint import load_checkpoint, save_checkpoint
from sapnet_training.config import Phase, TrainConfig
from sapnet_training.data import Patches, TrainingImages, read_training_images, validates
from sapnet_training.export import export
from sapnet_training.trainer import Trainer, learning_rate, means, train
from sapnet_training.validation import KINDS, Validation


def images() -> TrainingImages:
    generator = torch.Generator().manual_seed(0)

    def smooth(height: int, width: int) -> torch.Tensor:
        coarse = torch.rand(1, 3, 4, 5, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        return (image[0].clamp(0, 1) * 255).to(torch.uint8)

    masks = torch.randint(0, 200, (2, 40, 40), dtype=torch.uint8, generator=generator)
    return TrainingImages(
        photographs=[smooth(40, 60) for _ in range(3)],
        pairs=[(smooth(50, 50), smooth(50, 50))],
        held_out=[smooth(140, 130)],
        masks=masks,
    )


def config(**changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "steps": 6,
        "phases": (Phase(0, 2, 16, 1), Phase(3, 1, 24, 2)),
        "rain": {"light": 0.5, "heavy": 0.5},
        "pairs": 0.3,
        "warmup": 1,
        "l1": 1.0,
        "early_stages": 0.2,
    }
    return TrainConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_resumed_run_ends_bit_equal_to_an_uninterrupted_one(tmp_path: Path) -> None:
    straight = Trainer(config(), images())
    losses = [straight.advance() for _ in range(6)]
    first = Trainer(config(), images())
    resumed_losses = [first.advance() for _ in range(4)]
    save_checkpoint(tmp_path / "last.pt", first.parts())
    second = Trainer(config(seed=0), images())
    second.restore(load_checkpoint(tmp_path / "last.pt"))
    resumed_losses += [second.advance() for _ in range(2)]
    assert resumed_losses == losses
    for key, value in straight.parts()["average"].items():
        assert torch.equal(value, second.parts()["average"][key]), key


def test_training_fits_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(config(phases=(Phase(0, 4, 24, 2),), steps=40), images())
    batch = trainer.batch()
    monkeypatch.setattr(trainer, "batch", lambda: batch)
    losses = [trainer.advance() for _ in range(40)]
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]


def test_the_paper_s_losses_train_the_network(data_dir: Path) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    recipe = config(
        phases=(Phase(0, 2, 32, 2),),
        pcl=0.4,
        lpisl=1.0,
        lpips_trunk="squeeze",
        ubs=0.1,
        ubs_backbone="vgg16",
        ubs_start=1,
    )
    trainer = Trainer(recipe, images(), data_dir / "weights")
    before = copy.deepcopy(trainer.network.state_dict())
    first, second = trainer.advance(), trainer.advance()
    assert set(second) - set(first) == {"ubs"}
    assert {"loss", "ssim", "l1", "pcl", "lpisl", "early_stages"} == set(first)
    after = trainer.network.state_dict()
    assert not torch.equal(after["conv0.0.weight"], before["conv0.0.weight"])


@pytest.mark.parametrize("bf16", [False, True])
def test_stages_of_the_trainer_are_the_stages_of_the_network(bf16: bool) -> None:
    trainer = Trainer(config(bf16=bf16), images())
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    expected = trainer.network.forward_all(image, 3)
    for got, want in zip(trainer.estimates(image, 3), expected, strict=True):
        torch.testing.assert_close(got, want, atol=0.02 if bf16 else 1e-6, rtol=0)


def test_learning_rate_rises_holds_and_falls_to_the_floor() -> None:
    recipe = config(steps=1000, warmup=100, hold=0.5, floor=0.01, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100:500] == [1.0] * 400
    assert rates[750] == pytest.approx(0.505)
    assert rates[1000] == pytest.approx(0.01)
    assert rates[500:] == sorted(rates[500:], reverse=True)


def test_a_checkpoint_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1


def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pt")
    garbage = tmp_path / "garbage.pt"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(garbage)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no checkpoint of"):
        load_checkpoint(tmp_path / "other.pt")


def test_time_limit_saves_and_the_log_has_the_validation_scores(tmp_path: Path) -> None:
    data = images()
    trainer = Trainer(config(validate=2, steps=100), data)
    train(trainer, Validation(data), tmp_path, max_minutes=1 / 60)
    assert 0 < trainer.step < 100
    assert load_checkpoint(tmp_path / "last.pt")["step"] == trainer.step
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[0]["step"] == 2
    assert set(KINDS) < set(records[0])
    terms = {name: records[0][name] for name in ("ssim", "l1")}
    assert records[0]["loss"] == pytest.approx(sum(terms.values()), abs=2e-5)


def test_validation_gives_a_perfect_dry_score_to_a_network_that_does_nothing() -> None:
    data = images()
    network = copy.deepcopy(Trainer(config(), data).average)
    for parameter in network.conv.parameters():
        torch.nn.init.zeros_(parameter)
    scores = Validation(data).scores(network, 1)
    assert scores["dry"] == 60
    assert scores["heavy"] < scores["light"] < 40


def test_a_term_is_averaged_over_the_steps_that_have_it() -> None:
    assert means([{"loss": 1.0}, {"loss": 3.0, "ubs": 5.0}]) == {"loss": 2.0, "ubs": 5.0}


def test_export_keeps_the_dilations(tmp_path: Path) -> None:
    trainer = Trainer(config(dilations=(1, 1, 1, 1, 1)), images())
    save_checkpoint(tmp_path / "last.pt", trainer.parts())
    export(tmp_path / "last.pt", tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors").config.dilations == (1, 1, 1, 1, 1)


def test_export_holds_the_averaged_weights_and_the_recipe(tmp_path: Path) -> None:
    trainer = Trainer(config(), images())
    trainer.advance()
    save_checkpoint(tmp_path / "last.pt", trainer.parts())
    export(tmp_path / "last.pt", tmp_path / "w.safetensors")
    loaded = load_network(tmp_path / "w.safetensors")
    for key, value in trainer.average.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    card = read_card(tmp_path / "w.safetensors")
    assert card["steps"] == "1"
    assert json.loads(card["recipe"])["rain"] == {"light": 0.5, "heavy": 0.5}


def test_held_out_scenes_are_no_training_scenes(data_dir: Path) -> None:
    data = read_training_images(data_dir / "train")
    assert len(data.photographs) + len(data.held_out) == 409
    assert len(data.held_out) == sum(
        validates(path.name) for path in (data_dir / "train" / "bsds_clean_409").iterdir()
    )
    trained = {image.numpy().tobytes() for image in data.photographs}
    assert not trained & {image.numpy().tobytes() for image in data.held_out}


def test_pairs_are_cut_at_one_place() -> None:
    data = images()
    rainy = data.pairs[0][0]
    same = TrainingImages(data.photographs, [(rainy, rainy)], data.held_out, data.masks)
    first, second = Patches(same).pairs(4, 16, torch.Generator().manual_seed(0))
    assert torch.equal(first, second)


def test_sigterm_saves_and_resume_goes_on(data_dir: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "steps: 100000\nvalidate: 100000\nphases: [{start: 0, batch: 1, patch: 16, stages: 1}]\n"
    )
    command = [sys.executable, "-m", "sapnet_training.trainer", "--config", str(recipe)]
    command += ["--out", str(tmp_path / "run")]
    environment = {**os.environ, "SAPNET_DATA": str(data_dir)}
    run = subprocess.Popen([*command, "save_minutes=0.001"], env=environment)
    last = tmp_path / "run" / "last.pt"
    try:
        while not last.exists() and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=30) == 0
    finally:
        run.kill()
    step = load_checkpoint(last)["step"]
    subprocess.run([*command, "--resume", f"steps={step + 2}"], env=environment, check=True)
    assert load_checkpoint(last)["step"] == step + 2
