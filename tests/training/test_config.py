from dataclasses import replace
from pathlib import Path

import pytest

from sapnet_stream.errors import UsageError
from sapnet_training.config import Phase, TrainConfig, config_from_dict, load_config

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_in_the_repository_is_valid(path: Path) -> None:
    assert load_config(path).steps > 0


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("dilation", "dilations", (1, 1, 1, 1, 1)),
        ("pcl", "pcl", 0),
        ("lpisl", "lpisl", 0),
        ("ubs", "ubs", 0),
    ],
)
def test_an_ablation_is_the_paper_s_recipe_less_one_thing(
    name: str, key: str, value: object
) -> None:
    paper = load_config(CONFIGS / "sapnet_paper.yaml")
    assert getattr(paper, key) != value
    assert load_config(CONFIGS / f"ablation_no_{name}.yaml") == replace(paper, **{key: value})  # type: ignore[arg-type]


def test_the_paper_s_recipe_has_the_paper_s_weights() -> None:
    paper = load_config(CONFIGS / "sapnet_paper.yaml")
    assert (paper.ssim, paper.pcl, paper.lpisl, paper.ubs) == (1.0, 0.1 * 4, 0.1 * 10, 0.1)


def test_overrides_win_and_are_yaml(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 10\nseed: 3\n")
    config = load_config(recipe, ["steps=20", "rain={heavy: 1.0}", "learning_rate=0.01"])
    assert (config.steps, config.seed, config.rain) == (20, 3, {"heavy": 1.0})
    assert config.learning_rate == 0.01


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 1}, "unknown key 'stepz'"),
        ({"steps": "many"}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"steps": 0}, "steps must be above 0"),
        ({"ema": 1.5}, "ema must be in"),
        ({"phases": [{"start": 5, "batch": 1, "patch": 32, "stages": 1}]}, "start at 0"),
        ({"phases": [{"start": 0, "patch": 32}]}, "each phase has"),
        ({"phases": [{"start": 0, "batch": 1, "patch": 8, "stages": 1}]}, "patch >= 11"),
        ({"dilations": [1, 2]}, "dilations must be a list of five"),
        ({"dilations": [1, 2, 4, 8, 0.5]}, "dilations must be a list of five"),
        ({"pcl": -0.1}, "pcl must be 0 or more"),
        ({"ssim": 0.0, "ubs": 0.1}, "one of ssim, l1, pcl and lpisl"),
        ({"lpips_trunk": "resnet18"}, "lpips_trunk must be alex or vgg or squeeze"),
        ({"ubs_backbone": 18}, "ubs_backbone must be str"),
        ({"ubs_backbone": "resnet34"}, "ubs_backbone must be vgg16 or"),
        (
            {"lpisl": 1.0, "phases": [{"start": 0, "batch": 1, "patch": 24, "stages": 1}]},
            "lpisl needs patches of 32",
        ),
    ],
)
def test_mistakes_are_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config_from_dict(values)


def test_a_recipe_survives_its_plain_form() -> None:
    config = TrainConfig(phases=(Phase(0, 2, 32, 1), Phase(5, 1, 48, 2)))
    assert config_from_dict(config.to_dict()) == config
    assert [config.phase(step).patch for step in (0, 4, 5, 99)] == [32, 32, 48, 48]


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe at"):
        load_config(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("steps: [")
    with pytest.raises(UsageError, match="is no YAML"):
        load_config(broken)
    good = tmp_path / "good.yaml"
    good.write_text("seed: 1")
    with pytest.raises(UsageError, match="key=value"):
        load_config(good, ["steps"])
