"""Tiles are measured once, kept on disk, and looked up while frames run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sapnet_kernels import tuning
from sapnet_kernels.tile import Tile

TILES = [Tile(size, warps=4, stages=1) for size in (64, 128, 256)]


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_chosen", {})


class Stopwatch:
    """A device on which each tile takes its number of pixels, or the negative of it."""

    def __init__(self, sign: int = 1) -> None:
        self.sign, self.runs = sign, 0
        self._last = 0

    def run(self, tile: Tile) -> None:
        self._last = tile.pixels
        self.runs += 1

    def measure(self, call: Callable[[], object]) -> float:
        call()
        return self.sign * self._last


def tune(x: torch.Tensor, dilation: int, watch: Stopwatch, file: Path) -> Tile:
    tuning.tune("op", TILES, x, 32, dilation, watch.run, watch.measure, file)
    return tuning.chosen("op", TILES, x, 32, dilation)


def test_the_fastest_is_chosen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, x = tmp_path / "new" / "tiles.json", torch.zeros(30, 40, 32)
    assert tuning.chosen("op", TILES, x, 32, 4) == TILES[0]
    assert tune(x, 4, Stopwatch(-1), file) == TILES[2]

    # Another program finds the choice on disk.
    monkeypatch.setattr(tuning, "_chosen", {})
    watch = Stopwatch()
    assert tune(x, 4, watch, file) == TILES[2]
    assert watch.runs == 0


def test_what_differs_is_measured_by_itself(tmp_path: Path) -> None:
    file, x = tmp_path / "tiles.json", torch.zeros(30, 40, 32)
    tune(x, 4, Stopwatch(-1), file)
    for other, dilation in ((x, 8), (x.half(), 4), (x[..., :16], 4), (x.repeat(2, 2, 1), 4)):
        assert tune(other, dilation, Stopwatch(), file) == TILES[0]
    assert tune(x[:29], 4, Stopwatch(), file) == TILES[2]
    assert tuning.chosen("op", TILES, x, 16, 4) == TILES[0]
    assert len(json.loads(file.read_text())) == 5


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"op": {"pixels": 3}}'])
def test_a_damaged_file_is_written_anew(text: str, tmp_path: Path) -> None:
    file, x = tmp_path / "tiles.json", torch.zeros(4, 4, 32)
    file.write_text(text)
    assert tune(x, 1, Stopwatch(-1), file) == TILES[2]
    assert json.loads(file.read_text())[tuning.key("op", x, 32, 1)]["pixels"] == 256


def test_a_tile_that_is_no_longer_offered_is_measured_again(tmp_path: Path) -> None:
    file, x = tmp_path / "tiles.json", torch.zeros(4, 4, 32)
    tune(x, 1, Stopwatch(-1), file)
    tuning.tune("op", TILES[:2], x, 32, 1, Stopwatch().run, Stopwatch(-1).measure, file)
    assert tuning.chosen("op", TILES[:2], x, 32, 1) in TILES[:2]


def test_the_file_is_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tuning.cache_file().parent == tmp_path / "sapnet-stream"
