import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from sapnet_training.agreement import Agreement, drawn_anew
from sapnet_training.derainer import Derained


class Brightness:
    """Predicts an image's level; its evidence is the level divided by the clean one."""

    name = "brightness"
    measure = "share"

    def predict(self, image: Tensor) -> float:
        return float(image[0, 0, 0])

    def compare(self, prediction: float, clean: float) -> float:
        return prediction / clean if clean else math.nan

    def score(self, evidence: Sequence[float]) -> float:
        return sum(evidence) / len(evidence)

    def draw(self, image: Tensor, prediction: float) -> Tensor:
        return torch.full_like(image, int(prediction) + 1)


def level(value: float) -> Tensor:
    return torch.full((3, 2, 2), value)


def observed(rows: list[dict[str, float]], block: int = 1) -> Agreement[float, float]:
    """A row per image, levels of "rainy" and of every method; the clean level is 100."""
    agreement = Agreement(Brightness(), block)
    for number, row in enumerate(rows):
        outputs = {name: level(value) for name, value in row.items() if name != "rainy"}
        rainy, clean = level(row["rainy"]).byte(), level(100).byte()
        agreement.add(Derained(str(number), rainy, clean, outputs, {}))
    return agreement


def test_interval_is_that_of_a_mean() -> None:
    rows = [{"rainy": 20.0 + 20 * (i % 2), "net": 50.0 + (i % 5)} for i in range(100)]
    rainy, net = observed(rows).findings()
    assert rainy.score.value == pytest.approx(0.3)
    # Standard error of 100 values of deviation 0.1 is 0.01, and 95 % lie within 1.96 of it.
    assert rainy.score.low == pytest.approx(0.3 - 0.0196, abs=0.003)
    assert rainy.score.high == pytest.approx(0.3 + 0.0196, abs=0.003)
    assert net.gain.value == pytest.approx(0.22)
    assert net.gain.low < 0.21 and net.gain.high > 0.23


def test_methods_are_compared_on_the_same_images() -> None:
    rows = [{"rainy": 10.0 + 60 * (i % 2), "more": 11.0 + 60 * (i % 2)} for i in range(40)]
    rainy, more = observed(rows).findings()
    assert more.score.low < rainy.score.high, "alone they could not be told apart"
    assert more.gain.low == pytest.approx(0.01) and more.gain.high == pytest.approx(0.01)
    assert more.verdict == "better"


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    """Runs of ten equal frames, of 0.2 and 0.4 in turn.

    A block of ten begins anywhere in such a run, so that its mean is uniform between the two:
    the error of ten blocks is 0.1 / sqrt(3 * 10), of 100 frames 0.1 / sqrt(100).
    """
    rows = [{"rainy": 20.0 + 20 * (i // 10 % 2)} for i in range(100)]
    width = {}
    for block in (1, 10):
        (rainy,) = observed(rows, block).findings()
        width[block] = rainy.score.high - rainy.score.low
    assert width[10] / width[1] == pytest.approx((100 / 30) ** 0.5, rel=0.15)


def test_blocks_are_runs_of_neighbours() -> None:
    drawn = drawn_anew(10, 4)
    assert drawn.shape == (1000, 10)
    assert ((drawn[:, 1:4] - drawn[:, :3]) % 10 == 1).all()
    assert ((drawn[:, 4] - drawn[:, 3]) % 10 != 1).any()


def test_verdicts() -> None:
    rows = [{"rainy": 50.0, "worse": 40.0, "same": 45.0 + 10 * (i % 2)} for i in range(20)]
    agreement = observed(rows)
    assert [f.verdict for f in agreement.findings()[1:]] == ["worse", "no difference shown"]
    lines = agreement.table().splitlines()
    assert "share against the clean image's (95 % interval)" in lines[0]
    assert "0.400 (0.400 to 0.400) | -0.100 (-0.100 to -0.100)" in lines[3]
    assert agreement.summary() == "share rainy 0.500, worse 0.400, same 0.500"
    assert agreement.findings() == observed(rows).findings(), "the bootstrap is seeded"


def test_nothing_in_the_clean_images_is_no_verdict() -> None:
    agreement = Agreement(Brightness())
    black = Derained("black", level(1).byte(), level(0).byte(), {"net": level(2)}, {"net": 0.1})
    agreement.add(black)
    message = "share: nothing was found in the clean images to agree with"
    assert agreement.table() == agreement.summary() == message


def test_rows_leave_out_what_has_no_score() -> None:
    agreement = observed([{"rainy": 50.0, "net": 80.0}])
    agreement.add(
        Derained("black", level(1).byte(), level(0).byte(), {"net": level(2)}, {"net": 0.1})
    )
    assert agreement.header == ("image", "rainy", "net")
    assert agreement.rows() == [("0", 0.5, 0.8), ("black", None, None)]


def test_pictures_show_what_the_task_found() -> None:
    agreement = Agreement(Brightness())
    pair = Derained("x", level(10).byte(), level(30).byte(), {"net": level(19.6)}, {"net": 0.1})
    shown = {name: int(image[0, 0, 0]) for name, image in agreement.add(pair).items()}
    assert shown == {"rainy": 11, "net": 21, "clean": 31}
