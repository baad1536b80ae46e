"""A run's validations as the table of a model card:
`python -m sapnet_training.validation_table RUN/log.jsonl`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from sapnet_stream.errors import InputError
from sapnet_training.command import command
from sapnet_training.journal import read_log
from sapnet_training.table import markdown


def validation_table(records: list[dict[str, Any]]) -> str:
    """Step, minutes so far, the mean loss since the line before, and every score.

    Args:
        records: of `log.jsonl`; scores stand between "learning_rate" and "skipped".
    """
    names = list(records[-1])
    scores = names[names.index("learning_rate") + 1 : names.index("skipped")]
    lines = [
        (
            f"{record['step']}",
            f"{record['seconds'] / 60:.0f}",
            f"{record['loss']:.4f}",
            *(f"{record[name]:.2f}" for name in scores),
        )
        for record in records
    ]
    return markdown(("step", "minutes", "loss", *scores), lines)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.validation_table")
    parser.add_argument("log", type=Path, metavar="LOG.jsonl")
    options = parser.parse_args()
    records = read_log(options.log)
    if not records:
        raise InputError(f"{options.log} holds no validation: give the log.jsonl of a run")
    print(validation_table(records))


if __name__ == "__main__":
    sys.exit(main())
