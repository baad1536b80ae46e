"""What each part of the paper's recipe is worth: `python -m sapnet_training.ablations OUT`.

Trains the whole recipe and each ablation with several seeds on one short schedule, goes on
where it was stopped, and writes `OUT/table.md`: scores of the held-out photographs.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sapnet_stream.errors import UsageError
from sapnet_training.command import command
from sapnet_training.journal import read_log
from sapnet_training.table import made_folder, markdown
from sapnet_training.validation import KINDS

WHOLE = "sapnet_paper"
VARIANTS = (WHOLE, *(f"ablation_no_{part}" for part in ("dilation", "pcl", "lpisl", "ubs")))
STEPS = 400
SHORT = (
    f"steps={STEPS}",
    f"validate={STEPS}",
    f"ubs_start={STEPS // 2}",
    f"milestones={[STEPS * share // 10 for share in (3, 5, 8)]}",
    "phases=[{start: 0, batch: 4, patch: 64, stages: 3}]",
    "precision=bfloat16",
    "ema=0.99",
    "warmup=50",
)
"""The same schedule for every run: the paper's recipe, shrunk."""

Scores = Mapping[str, float]


def run_folders(out: Path, seeds: int) -> Iterator[tuple[str, int, Path]]:
    """Variant, seed and folder of every run; a seed of all variants comes before the next."""
    for seed in range(seeds):
        for variant in VARIANTS:
            yield variant, seed, out / f"{variant}-{seed}"


def final_scores(folder: Path) -> Scores | None:
    """Scores of a run's last step; None where it has not got there."""
    records = read_log(folder / "log.jsonl")
    return records[-1] if records and records[-1]["step"] == STEPS else None


def train(configs: Path, variant: str, seed: int, folder: Path, more: list[str]) -> None:
    """One run, from where it stopped; options of `sapnet-train` are passed on.

    Raises:
        UsageError: the run failed; its own message is above.
    """
    command = [sys.executable, "-m", "sapnet_training.train", "--out", str(folder)]
    command += ["--config", str(configs / f"{variant}.yaml")]
    command += ["--resume"] if (folder / "last.pt").exists() else []
    done = subprocess.run([*command, *more, *SHORT, f"seed={seed}"], check=False)
    if done.returncode:
        raise UsageError(f"the run in {folder} failed; correct what it says and start again")


def table(results: Mapping[str, list[Scores]]) -> str:
    """Mean ± spread over the seeds; a difference from the whole recipe inside it is none.

    Args:
        results: of each variant, the scores of its finished runs.
    """
    columns = ("score", *KINDS)
    lines = []
    for variant, scores in results.items():
        if scores:
            cells = [_cell([s[column] for s in scores]) for column in columns]
            effect = _effect(results[WHOLE], scores) if variant != WHOLE else ""
            lines.append((variant, f"{len(scores)}", *cells, effect))
    return markdown(("recipe", "runs", *columns, "effect on the score"), lines) + "\n"


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else float("nan")


def _cell(values: list[float]) -> str:
    return f"{statistics.fmean(values):.2f} ± {_spread(values):.2f}"


def _effect(whole: list[Scores], scores: list[Scores]) -> str:
    ours, theirs = ([s["score"] for s in column] for column in (scores, whole))
    if min(len(ours), len(theirs)) < 2:
        return "too few runs"
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    spread = max(_spread(ours), _spread(theirs))
    return f"{difference:+.2f} dB" if abs(difference) > spread else "no effect"


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.ablations")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--configs", type=Path, default=Path("configs"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("more", nargs="*", help="after --: more options of sapnet-train")
    options = parser.parse_args()
    if options.seeds < 1:
        raise UsageError(f"--seeds must be 1 or more, got {options.seeds}")
    made_folder(options.out)
    results: dict[str, list[Scores]] = {variant: [] for variant in VARIANTS}
    for variant, seed, folder in run_folders(options.out, options.seeds):
        if final_scores(folder) is None:
            train(options.configs, variant, seed, folder, options.more)
        scores = final_scores(folder)
        if scores is None:  # stopped by a signal or --max-minutes
            return
        results[variant].append(scores)
        (options.out / "table.md").write_text(table(results), encoding="utf-8")
    print(table(results), end="")


if __name__ == "__main__":
    sys.exit(main())
