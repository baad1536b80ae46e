"""What a run tells: a bar, a line per validation, `log.jsonl`, curves, pictures, TensorBoard."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.target import write_failure
from sapnet_training.curves import write_curves
from sapnet_training.sheet import write_sheet
from sapnet_training.trainer import Trainer


class Journal:
    """Of one process: the first one's is written, the others' stay silent.

    A resumed run goes on in the same log; lines of steps that are run again are dropped.

    Args:
        trainer: whose progress it tells.
        out: an existing folder.
        tensorboard: write `out/tensorboard` too.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
    """

    def __init__(self, trainer: Trainer, out: Path, tensorboard: bool = False) -> None:
        self._trainer = trainer
        self._out = out
        self._log = out / "log.jsonl"
        self._records = [r for r in read_log(self._log) if r["step"] <= trainer.step]
        self._counted = self._counts()
        self._speaks = trainer.processes.rank == 0
        self._board = _tensorboard(out / "tensorboard") if tensorboard and self._speaks else None
        self._bar = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"),
            TimeRemainingColumn(), console=Console(stderr=True), disable=not self._speaks,
        )  # fmt: skip
        self._total = self._bar.add_task("", total=trainer.config.steps, completed=trainer.step)

    def __enter__(self) -> "Journal":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def add(self, losses: dict[str, float]) -> None:
        """The losses of a step."""
        self._trainer.losses.append(losses)
        text = f"loss {losses['loss']:.4f}"
        self._bar.update(self._total, completed=self._trainer.step, description=text)

    def write(self, scores: dict[str, float]) -> None:
        """A line: the losses since the last one, the scores, and how fast the steps were.

        Raises:
            OutputError: the log or the curves cannot be written.
        """
        trainer, counts = self._trainer, self._counts()
        spent, samples, waited = (
            now - before for now, before in zip(counts, self._counted, strict=True)
        )
        record = {
            "step": trainer.step,
            "seconds": round(trainer.seconds),
            **means(trainer.losses),
            **scores,
            "skipped": trainer.skipped,
            "samples_per_second": round(samples / spent, 2),
            "waited": round(waited / spent, 4),
        }
        self._records.append(record)
        print(json.dumps(record), flush=True)
        self._write_files()
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, trainer.step)
        trainer.losses, self._counted = [], counts

    def _write_files(self) -> None:
        lines = "".join(json.dumps(r) + "\n" for r in self._records)
        partial = self._log.with_suffix(".partial")
        try:
            partial.write_text(lines, encoding="utf-8")
            partial.replace(self._log)
            write_curves(self._out / "curves.png", self._records)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise write_failure(self._out, error) from error

    def _counts(self) -> tuple[float, int, float]:
        """Seconds in steps, samples, seconds of those waited for data."""
        trainer = self._trainer
        return trainer.seconds, trainer.samples, trainer.prefetch.waited_seconds

    def picture(self, images: dict[str, Tensor]) -> None:
        """A sheet of this step's pictures."""
        write_sheet(self._out / "pictures" / f"{self._trainer.step:07}.png", images)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `log.jsonl`; none if there is no such file.

    Raises:
        InputError: it is no such log.
    """
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a log of sapnet-train: mend it, or move it away"
        ) from error
    if not all(isinstance(record, dict) and "step" in record for record in records):
        raise InputError(f"{path} is no log of sapnet-train: move it away")
    return records


def means(losses: list[dict[str, float]]) -> dict[str, float]:
    """Of each name over the steps that have it: a term may set in late."""
    names = {name: None for step in losses for name in step}
    columns = {name: [step[name] for step in losses if name in step] for name in names}
    return {name: round(sum(values) / len(values), 5) for name, values in columns.items()}


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise UsageError("--tensorboard needs its package: pip install tensorboard") from None
    return SummaryWriter(str(folder))
