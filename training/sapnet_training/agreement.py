"""Whether deraining helps a vision task: how far the task's result on a rainy or derained
image agrees with its result on the clean one, which stands for the truth.

Intervals are of a bootstrap over images: the images drawn anew with replacement, the same
ones for every method. Frames of a video, which resemble their neighbours, are drawn in blocks
(Politis and Romano 1992: the circular block bootstrap).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor

from sapnet_training.derainer import RAINY, Derained
from sapnet_training.table import Row, markdown

Prediction = TypeVar("Prediction")
Evidence = TypeVar("Evidence")

DRAWS = 1000
PER_CENT = 95


class Task(Protocol[Prediction, Evidence]):
    """What a vision network is for."""

    name: str
    measure: str

    def predict(self, image: Tensor) -> Prediction:
        """Of a [3, H, W] uint8 image."""
        ...

    def compare(self, prediction: Prediction, clean: Prediction) -> Evidence:
        """A prediction with that on the clean image."""
        ...

    def score(self, evidence: Sequence[Evidence]) -> float:
        """Agreement over images, 0 to 1; nan where there is nothing to agree on."""
        ...

    def draw(self, image: Tensor, prediction: Prediction) -> Tensor:
        """A picture of it, [3, H, W] uint8."""
        ...


@dataclass(frozen=True)
class Interval:
    """A value, and what PER_CENT of the bootstrap's draws lie between."""

    value: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        return f"{self.value:{sign}.3f} ({self.low:{sign}.3f} to {self.high:{sign}.3f})"


@dataclass(frozen=True)
class Finding:
    """A method's agreement with the clean images, and by how much it beats no deraining."""

    method: str
    score: Interval
    gain: Interval

    @property
    def verdict(self) -> str:
        if self.gain.low > 0:
            return "better"
        return "worse" if self.gain.high < 0 else "no difference shown"


class Agreement(Generic[Prediction, Evidence]):
    """Collects a task's evidence on "rainy" and on every derainer's output.

    Args:
        task: what is done with the images.
        block: images that the bootstrap draws together; 1 where none resembles the next.
    """

    def __init__(self, task: Task[Prediction, Evidence], block: int = 1) -> None:
        self._task = task
        self._block = block
        self._names: list[str] = []
        self._evidence: dict[str, list[Evidence]] = {}
        self.name = task.name

    @property
    def header(self) -> tuple[str, ...]:
        return ("image", *self._evidence)

    def add(self, pair: Derained) -> dict[str, Tensor]:
        """Runs the task on a pair; what to show of it, by caption."""
        self._names.append(pair.name)
        truth = self._task.predict(pair.clean)
        pictures = {}
        for method, image in pair.images().items():
            found = self._task.predict(image)
            self._evidence.setdefault(method, []).append(self._task.compare(found, truth))
            pictures[method] = self._task.draw(image, found)
        return {**pictures, "clean": self._task.draw(pair.clean, truth)}

    def rows(self) -> list[Row]:
        """A line per image: its name, and each method's score on it alone, None without any."""
        columns = [[self._task.score([each]) for each in all_] for all_ in self._evidence.values()]
        lines = zip(self._names, *columns, strict=True)
        return [(name, *(None if math.isnan(s) else s for s in scores)) for name, *scores in lines]

    def findings(self) -> list[Finding]:
        """Every method's, "rainy" first."""
        drawn = drawn_anew(len(self._names), self._block)
        score = self._task.score
        value = {method: score(each) for method, each in self._evidence.items()}
        draws = {
            method: np.array([score([each[i] for i in draw]) for draw in drawn])
            for method, each in self._evidence.items()
        }
        return [
            Finding(
                method,
                _interval(value[method], draws[method]),
                _interval(value[method] - value[RAINY], draws[method] - draws[RAINY]),
            )
            for method in self._evidence
        ]

    @property
    def _without_truth(self) -> bool:
        return all(math.isnan(self._task.score(each)) for each in self._evidence.values())

    def table(self) -> str:
        """Agreement and gain with their intervals, and the verdict."""
        if self._without_truth:
            return self.summary()
        lines = [(f.method, f.score.text(), f.gain.text("+"), f.verdict) for f in self.findings()]
        lines[0] = (*lines[0][:2], "-", "-")
        interval = f"({PER_CENT} % interval)"
        measure = f"{self._task.measure} against the clean image's {interval}"
        return markdown(("", measure, f"gain {interval}", ""), lines)

    def summary(self) -> str:
        """Every method's agreement in a few words."""
        if self._without_truth:
            return f"{self._task.measure}: nothing was found in the clean images to agree with"
        scores = (self._task.score(each) for each in self._evidence.values())
        pairs = zip(self._evidence, scores, strict=True)
        return f"{self._task.measure} " + ", ".join(f"{name} {s:.3f}" for name, s in pairs)


def drawn_anew(count: int, block: int) -> np.ndarray:
    """[DRAWS, count] indices of images, always the same; after the last one comes the first."""
    starts = np.random.default_rng(0).integers(0, count, (DRAWS, -(-count // block)))
    runs = (starts[:, :, None] + np.arange(block)) % count
    return runs.reshape(DRAWS, -1)[:, :count]


def _interval(value: float, draws: np.ndarray) -> Interval:
    tail = (100 - PER_CENT) / 2
    low, high = np.nanpercentile(draws, (tail, 100 - tail))
    return Interval(value, float(low), float(high))
