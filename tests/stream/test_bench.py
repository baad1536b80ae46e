"""The benchmark measures what it says; how fast anything is, is no test."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sapnet_stream import bench, bench_model, cli

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_model, "SIZES", ((16, 24),))
    monkeypatch.setattr(bench_model, "LARGE", ((32, 40),))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_contender_at_every_size_with_its_ratio(tmp_path: Path) -> None:
    out = tmp_path / "cpu.csv"
    assert cli.main(["bench", "--runs", "2", "--out", str(out)]) == 0
    found = rows(out)
    first = found[0]
    assert (first["what"], first["dtype"], first["ratio"]) == ("published", "float32", "1.00")
    small, large = ([r for r in found if r["height"] == height] for height in ("16", "32"))
    listed = bench_model.contenders()
    videos = [c for c in listed if c.name in bench_model.VIDEO]
    # Those of the video network are measured against two others.
    assert len(small) == len(listed) + len(videos)
    assert {r["baseline"] for r in small if r["what"] in bench_model.VIDEO} == {
        "published torch float32", *(f"folded torch {c.dtype}" for c in videos)
    }  # fmt: skip
    assert {r["what"] for r in large} <= {"folded", *bench_model.VIDEO}
    for row in found:
        assert row["command"].startswith("sapnet-stream bench --runs 2")
        assert row["date"] and row["cpu"] and row["threads"]
        # Without the package a row says so and holds no figure.
        assert bool(row["median"]) != row["runtime"].endswith("not installed")


def test_every_package_that_is_missing_is_named() -> None:
    first, *_ = bench_model.contenders()
    assert first.missing == []
    lacking = replace(first, more=("numpy", "no_such", "nor_this"))
    assert lacking.runtime == "no_such, nor_this not installed"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = bench_model.contenders()
    monkeypatch.setattr(bench_model, "contenders", lambda: [first])
    monkeypatch.setattr(bench_model, "LARGE", ())


@pytest.mark.usefixtures("few")
def test_results_are_appended(tmp_path: Path) -> None:
    out = tmp_path / "cpu.csv"
    for _ in range(2):
        bench.main(["--runs", "1", "--out", str(out)])
    assert len(rows(out)) == 2 * len(bench_model.contenders())
    assert len(out.read_text().splitlines()) == len(rows(out)) + 1


@pytest.mark.usefixtures("few")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_programs_are_paired(tmp_path: Path, make_clip: Make) -> None:
    source = make_clip("in.mp4", "libx264", "yuv420p", (64, 48), range(12))
    out = tmp_path / "cpu.csv"
    bench.main(["--runs", "2", "--video", str(source), "--out", str(out)])
    theirs, ours = rows(out)[-2:]
    assert (theirs["runtime"], theirs["unit"], theirs["ratio"]) == ("ffmpeg", "frames/s", "1.00")
    assert (ours["runtime"], ours["width"], ours["height"]) == ("sapnet-stream", "64", "48")
    assert float(ours["ratio"]) > 0


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--runs", "x"], ["--fast"]])
def test_wrong_options_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
