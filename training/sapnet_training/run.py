"""A training run from its first step to its last, its time limit or a signal."""

import math
import signal
import statistics
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from sapnet_stream.errors import InputError
from sapnet_stream.signals import answering
from sapnet_training.checkpoint import save_checkpoint
from sapnet_training.config import TrainConfig
from sapnet_training.journal import Journal
from sapnet_training.processes import Processes
from sapnet_training.task import Task
from sapnet_training.trainer import DivergedError, Trainer, learning_rate

PROBES = 8
"""Places along the schedule at which `steps_within` measures a step."""


class Run:
    """Trains into a folder: `last.pt`, `best.pt`, and what `Journal` writes.

    Args:
        trainer: at any step.
        out: an existing folder.
        max_minutes: nothing is begun that, if it takes as long as its like before, would not
            end inside this limit.
        began: `time.monotonic()` from which the limit counts.
    """

    def __init__(
        self, trainer: Trainer, journal: Journal, out: Path, max_minutes: float, began: float
    ) -> None:
        self.trainer = trainer
        self._journal = journal
        self._out = out
        self._end = began + max_minutes * 60
        self._stop = threading.Event()
        self._step_seconds: deque[float] = deque(maxlen=20)
        self._save_seconds = 1.0
        self._validate_seconds = 0.0
        self._saved = time.monotonic()

    def go(self) -> None:
        """Runs to the end of the schedule or of the time, and saves where it stops."""
        with answering(lambda *_: self._stop.set(), (signal.SIGTERM, signal.SIGINT)):
            self._go()

    def _go(self) -> None:
        try:
            while self.trainer.step < self.trainer.config.steps and not self._over():
                self._advance()
            self._save()
        except DivergedError as error:
            parts = {**self.trainer.parts(), "batches": error.batches}
            save_checkpoint(self._out / f"diverged_{self.trainer.processes.rank}.pt", parts)
            raise
        except InputError:  # no batch could be drawn; the steps before are whole
            self._save()
            raise
        finally:
            self.trainer.prefetch.close()

    def _over(self) -> bool:
        seconds = 2 * self._save_seconds + max(self._step_seconds, default=0.0)
        if self._validates(self.trainer.step + 1):
            seconds += self._validate_seconds
        late = time.monotonic() + seconds > self._end
        return self.trainer.processes.any(late or self._stop.is_set())

    def _validates(self, step: int) -> bool:
        return step % self.trainer.config.validate == 0 or step == self.trainer.config.steps

    def _advance(self) -> None:
        trainer = self.trainer
        began = time.monotonic()
        self._journal.add(trainer.advance())
        self._step_seconds.append(time.monotonic() - began)
        trainer.seconds += self._step_seconds[-1]
        first = trainer.processes.rank == 0
        if first and self._validates(trainer.step):
            self._validate()
        if first and time.monotonic() - self._saved > trainer.config.save_minutes * 60:
            self._save()

    def _validate(self) -> None:
        trainer, began = self.trainer, time.monotonic()
        scores = trainer.task.validate(trainer.average, trainer.step)
        rate = learning_rate(trainer.config, trainer.step)
        self._journal.write({"learning_rate": rate, **scores})
        self._journal.picture(trainer.task.pictures(trainer.average, trainer.step))
        if scores["score"] > trainer.best:
            trainer.best = scores["score"]
            self._save()  # a folder with a best.pt has something to go on from
            save_checkpoint(self._out / "best.pt", trainer.parts())
        self._validate_seconds = time.monotonic() - began

    def _save(self) -> None:
        if self.trainer.processes.rank == 0:
            began = time.monotonic()
            save_checkpoint(self._out / "last.pt", self.trainer.parts())
            self._saved = time.monotonic()
            self._save_seconds = self._saved - began


def steps_within(minutes: float, config: TrainConfig, task: Task, processes: Processes) -> int:
    """How many steps of a recipe's schedule take that long, validations left aside.

    Steps at evenly spread places are run and timed, and forgotten. Processes that draw batches
    have not begun at such a place, so waiting for them says nothing of a run.
    """
    config = replace(config, steps=max(2, config.steps))  # two are run in a row
    probe = Trainer(config, task, processes)
    seconds = []
    for place in range(PROBES):
        probe.step = min((2 * place + 1) * config.steps // (2 * PROBES), config.steps - 2)
        probe.advance()
        began, waited = time.monotonic(), probe.prefetch.waited_seconds
        probe.advance()
        waited = probe.prefetch.waited_seconds - waited if config.workers else 0.0
        seconds.append(time.monotonic() - began - waited)
    probe.prefetch.close()
    return max(1, math.floor(minutes * 60 / processes.mean(statistics.fmean(seconds))))
