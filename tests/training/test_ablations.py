import sys
from pathlib import Path

import pytest

from sapnet_stream.errors import UsageError
from sapnet_training import ablations
from sapnet_training.ablations import (
    SHORT,
    STEPS,
    VARIANTS,
    WHOLE,
    Scores,
    final_scores,
    main,
    table,
)
from sapnet_training.recipe import load_config
from sapnet_training.validation import KINDS

CONFIGS = Path(__file__).parents[2] / "configs"


def scores(value: float) -> Scores:
    return dict.fromkeys(("score", *KINDS), value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_on_the_same_short_schedule(variant: str) -> None:
    config = load_config(CONFIGS / f"{variant}.yaml", SHORT)
    assert (config.steps, config.validate, config.precision) == (STEPS, STEPS, "bfloat16")
    paper = load_config(CONFIGS / f"{variant}.yaml").scaled(STEPS)
    assert config.milestones == paper.milestones


def test_a_difference_inside_the_spread_is_no_effect() -> None:
    whole = [scores(30.0), scores(30.2), scores(30.4)]
    results: dict[str, list[Scores]] = {
        WHOLE: [*whole],
        "ablation_no_pcl": [scores(30.1), scores(30.2), scores(30.2)],
        "ablation_no_ubs": [scores(29.0), scores(29.1), scores(29.2)],
        "ablation_no_lpisl": [scores(31.0)],
        "ablation_no_dilation": [],
    }
    text = table(results)
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()[2:]}
    assert "30.20 ± 0.20" in rows[WHOLE]
    assert rows["ablation_no_pcl"].endswith(" no effect |")
    assert rows["ablation_no_ubs"].endswith(" -1.10 dB |")
    assert rows["ablation_no_lpisl"].endswith(" too few runs |")
    assert "ablation_no_dilation" not in rows


def test_all_variants_of_a_seed_come_before_the_next_seed(tmp_path: Path) -> None:
    runs = list(ablations.run_folders(tmp_path, 2))
    assert [seed for _, seed, _ in runs] == [0] * 5 + [1] * 5
    assert len({folder for _, _, folder in runs}) == 10


def test_a_run_that_has_not_got_there_has_no_scores(tmp_path: Path) -> None:
    assert final_scores(tmp_path) is None
    (tmp_path / "log.jsonl").write_text('{"step": 10, "score": 20.0}\n')
    assert final_scores(tmp_path) is None
    (tmp_path / "log.jsonl").write_text(f'{{"step": {STEPS}, "score": 20.0}}\n')
    assert final_scores(tmp_path) == {"step": STEPS, "score": 20.0}


def test_a_run_that_fails_stops_the_others(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the run in .* failed"):
        ablations.train(CONFIGS, "no_such_recipe", 0, tmp_path / "run", [])


def test_a_folder_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["ablations", str(tmp_path / "file")])
    assert main() == 4
    assert "cannot make the folder" in capsys.readouterr().err
