import math
from dataclasses import replace
from pathlib import Path

import pytest

from sapnet_stream.errors import UsageError
from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.recipe import load_config

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
    assert isinstance(paper, ImageConfig)
    assert (paper.ssim, paper.pcl, paper.lpisl, paper.ubs) == (1.0, 0.1 * 4, 0.1 * 10, 0.1)


def test_overrides_win_and_are_yaml(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 10\nseed: 3\n")
    config = load_config(recipe, ["steps=20", "rain={heavy: 1.0}", "learning_rate=0.01"])
    assert isinstance(config, ImageConfig)
    assert (config.steps, config.seed, config.rain) == (20, 3, {"heavy": 1.0})
    assert config.learning_rate == 0.01


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 1}, "unknown key 'stepz'; did you mean 'steps'"),
        ({"steps": "many"}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"steps": 0}, "steps must be above 0"),
        ({"ema": 1.5}, "ema must be in"),
        ({"phases": [{"start": 5, "batch": 1, "patch": 32, "stages": 1}]}, "start at 0"),
        ({"phases": [{"start": 0, "patch": 32}]}, "each of phases has start, batch"),
        ({"phases": [{"start": 0, "batch": 1, "patch": 8, "stages": 1}]}, "patch >= 11"),
        ({"dilations": [1, 2]}, "dilations must be five numbers"),
        ({"dilations": [1, 2, 4, 8, 0.5]}, "each of dilations must be int"),
        ({"dilations": 2}, "dilations must be a list"),
        ({"dilations": [0, 1, 2, 4, 8]}, "dilations must be 1 to 256"),
        ({"dilations": [1, 2, 4, 8, 10**12]}, "dilations must be 1 to 256"),
        ({"rain": {1: 0.5, "foo": 0.5}}, "rain must map names to values"),
        ({"rain": {"light": "much"}}, "rain of light must be a finite number, got 'much'"),
        ({"rain": {"nice": 1.0}}, "rain preset 'nice' is none of"),
        ({"masks": "", "rain": {"medium": 1}}, "the rain 'medium' is drawn from masks"),
        ({"rain": {}}, "rain mixture needs shares"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number"),
        ({"l1": math.inf}, "l1 must be a finite number"),
        ({"l1": True}, "l1 must be a finite number"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"memory_gib": -1}, "memory_gib must be 0 or more"),
        ({"seed": 2**64}, "seed must fit into 64 bits"),
        ({"steps": 10**400}, "steps must fit into 64 bits"),
        ({"threads": 99999999999}, "threads must be at most 1024"),
        ({"photographs": []}, "photographs must name a folder"),
        ({"schedule": "steps", "milestones": [5, -1]}, "milestones must be 0 or more"),
        ({"phases": [{"start": 0, "batch": 1, "patch": 16, "stages": 7}]}, "stages of 1 to 6"),
        ({"rain": "light"}, "rain must map names"),
        ({"precision": "bf16"}, "precision must be float32 or"),
        ({"schedule": "steps"}, "milestones and schedule"),
        ({"shards": 3}, "3 shards must divide the batch"),
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
        ImageConfig.from_dict(values)


def test_what_cannot_be_read_as_a_recipe_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_config(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 3\nphases: [1\n")
    with pytest.raises(UsageError, match=r"no YAML from line 3 on: expected ',' or '\]'"):
        load_config(recipe)
    for value, problem in (("[1, 2", "expected ',' or ']'"), ("2024-13-01", "month must be")):
        recipe.write_text("seed: 1")
        with pytest.raises(UsageError, match=r"of 'steps=.* is no YAML: ") as refused:
            load_config(recipe, [f"steps={value}"])
        assert problem in str(refused.value) and "unicode string" not in str(refused.value)
    recipe.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no YAML"):
        load_config(recipe)


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("learning_rate: 1e-4\nclip: 2\n")
    config = load_config(recipe, ["floor=5e-3"])
    assert (config.learning_rate, config.clip, config.floor) == (1e-4, 2.0, 5e-3)


def test_a_recipe_survives_its_plain_form() -> None:
    config = ImageConfig(phases=(ImagePhase(0, 2, 32, 1), ImagePhase(5, 1, 48, 2)))
    assert ImageConfig.from_dict(config.to_dict()) == config
    assert [config.phase(step).patch for step in (0, 4, 5, 99)] == [32, 32, 48, 48]


def test_a_schedule_scales_whole() -> None:
    recipe = ImageConfig(
        steps=100, schedule="steps", milestones=(30, 60), ubs_start=50,
        phases=(ImagePhase(0, 2, 32, 1), ImagePhase(80, 1, 48, 2)),
    )  # fmt: skip
    half = recipe.scaled(50)
    assert (half.steps, half.milestones, half.ubs_start) == (50, (15, 30), 25)
    assert [phase.start for phase in half.phases] == [0, 40]


def test_a_phase_too_short_for_a_step_is_left_out() -> None:
    phases = (ImagePhase(0, 2, 32, 1), ImagePhase(40, 4, 32, 1), ImagePhase(41, 1, 48, 2))
    recipe = ImageConfig(steps=100, phases=phases)
    assert recipe.scaled(10).phases == (phases[0], replace(phases[2], start=4))
    assert recipe.scaled(1).phases == (replace(phases[2], start=0),)


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("task: sound")
    with pytest.raises(UsageError, match="task must be image"):
        load_config(recipe)


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
