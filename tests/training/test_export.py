import json
from pathlib import Path

import pytest
import torch

from sapnet_stream.errors import OutputError, UsageError, WeightsError
from sapnet_stream.networks.weights import load_network, read_card
from sapnet_training.checkpoint import save_checkpoint
from sapnet_training.export import data_of, export
from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.image_task import ImageTask
from sapnet_training.trainer import Trainer
from sapnet_training.training_images import TrainingImages


def trainer(images: TrainingImages, **changes: object) -> Trainer:
    recipe = ImageConfig(phases=(ImagePhase(0, 1, 16, 1),), rain={"light": 1.0}, **changes)  # type: ignore[arg-type]
    return Trainer(recipe, ImageTask(recipe, images))


def test_export_keeps_the_dilations(images: TrainingImages, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", trainer(images, dilations=(1, 1, 1, 1, 1)).parts())
    export(tmp_path / "last.pt", tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors").config.dilations == (1, 1, 1, 1, 1)


def test_export_holds_the_averaged_weights_and_the_recipe(
    images: TrainingImages, tmp_path: Path
) -> None:
    run = trainer(images)
    run.advance()
    save_checkpoint(tmp_path / "last.pt", run.parts())
    export(tmp_path / "last.pt", tmp_path / "w.safetensors")
    loaded = load_network(tmp_path / "w.safetensors")
    for key, value in run.average.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    card = read_card(tmp_path / "w.safetensors")
    assert card["steps"] == "1"
    assert card["data"] == (
        "train/bsds_clean_409, rained on by sapnet_training.rain "
        "with masks of train/garg_streaks_207"
    )
    assert json.loads(card["recipe"])["rain"] == {"light": 1.0}


def test_a_run_that_began_with_weights_keeps_their_story(
    images: TrainingImages, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.safetensors", tmp_path / "after.safetensors"
    save_checkpoint(tmp_path / "last.pt", trainer(images).parts())
    export(tmp_path / "last.pt", before)
    export(tmp_path / "last.pt", after, str(before))
    assert json.loads(read_card(after)["start"]) == read_card(before)
    assert "start" not in read_card(before)
    export(tmp_path / "last.pt", after, str(tmp_path / "last.pt"))
    assert json.loads(read_card(after)["start"])["steps"] == "0"


def test_a_run_s_checkpoint_is_no_weights_and_a_sentence_says_how_to_make_some(
    images: TrainingImages, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "last.pt", trainer(images).parts())
    with pytest.raises(WeightsError, match=r"python -m sapnet_training\.export .*last\.pt OUT"):
        load_network(tmp_path / "last.pt")
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        export(tmp_path / "last.pt", tmp_path / "w.pth")
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        export(tmp_path / "last.pt", tmp_path / "nowhere" / "w.safetensors")


def test_a_card_names_the_pairs_a_run_saw() -> None:
    recipe = ImageConfig(
        masks="", rain={"drizzle": 1.0}, pairs=0.1, pair_sets=("a:b", "c")
    ).to_dict()
    assert data_of(recipe).endswith("rained on by sapnet_training.rain; pairs of a:b, c")
    assert "BSDS500" in data_of({})
