"""The benchmark measures what it says; how fast anything is, is no test."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from sapnet_stream import bench, bench_compiled, bench_model, cli
from sapnet_stream.bench_video import FRAMES
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.weights import load_network, load_video_network

Make = Callable[..., Path]
COMPILE = torch.compile


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIZES", ((16, 24), (32, 40)))
    monkeypatch.setattr(bench_model, "ALL_UP_TO_PIXELS", 16 * 24)
    # Minutes of its time are no test of ours; what it is given is tested below.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


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
    names = (*bench_model.VIDEO, bench_model.COMPILED)
    videos = [c for c in listed if c.name in names]
    # Those of the video network are measured against three others; no SAPNet runs in bytes.
    floating = [c for c in videos if c.dtype != "int8"]
    assert len(small) == len(listed) + len(videos) + len(floating)
    assert {r["baseline"] for r in small if r["what"] in names} == {
        "published torch float32",
        f"{bench_model.WRITTEN} torch float32",
        *(f"folded torch {c.dtype}" for c in floating),
    }
    assert {r["what"] for r in large} <= {"folded", *bench_model.VIDEO}
    for row in found:
        assert row["command"].startswith("sapnet-stream bench --runs 2")
        assert row["date"] and row["cpu"] and row["threads"]
        # Without the package a row says so and holds no figure.
        assert bool(row["median"]) != row["runtime"].endswith("not installed")


def test_a_figure_is_of_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    picked = [c for c in bench_model.contenders() if c.name in ("folded", bench_model.STILL)]
    monkeypatch.setattr(bench_model, "contenders", lambda: picked)
    monkeypatch.setattr("time.perf_counter", count(step=FRAMES).__next__)
    (results,) = bench_model.measure_models(load_network(), 2, [(16, 24)], str)
    for result in results:
        assert result.seconds == [1 if result.name == bench_model.STILL else FRAMES] * 2


def test_sizes_are_compiled_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each: PyTorch gives up on a function that it was to compile for too much."""
    compiled = [c for c in bench_model.contenders() if c.name == "compiled"]
    monkeypatch.setattr(bench_model, "ALL_UP_TO_PIXELS", 24 * 24)
    sizes = [(16, 24), (20, 24), (24, 24)]
    monkeypatch.setattr(bench_model, "contenders", lambda: compiled)

    def whole(function: Callable[..., object], **_: object) -> object:
        return COMPILE(function, backend="eager", dynamic=False, fullgraph=True)

    monkeypatch.setattr(torch, "compile", whole)
    with torch._dynamo.config.patch(recompile_limit=len(compiled)):
        measured = list(bench_model.measure_models(load_network(), 1, sizes, str))
    assert [len(results) for results in measured] == [len(compiled)] * 3


def test_everything_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = bench_model.contenders()
    assert first.missing == []
    lacking = replace(first, more=("numpy", "no_such", "nor_this"))
    assert lacking.runtime == "no_such, nor_this not installed"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert replace(first, compiles=True).runtime == "C++ compiler not installed"
    assert first.missing == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_compiled_is_taken_whole(dtype: torch.dtype) -> None:
    network = load_network().requires_grad_(False)
    image, estimate = torch.rand(2, 1, 3, 21, 40)
    h, c = torch.rand(2, 1, 32, 21, 40) - 0.5
    expected = network.stage(image, estimate, h, c)
    stage = bench_compiled.FoldedStage(network, (21, 40), image.device, dtype)
    torch._dynamo.reset()
    whole = COMPILE(stage.__call__, backend="eager", fullgraph=True)
    results = whole(image, estimate, h.to(dtype), c)
    atol = 1e-5 if dtype == torch.float32 else 0.05
    for result, want in zip(results, expected, strict=True):
        torch.testing.assert_close(result.float(), want, atol=atol, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_of_the_video_network_is_taken_whole(dtype: torch.dtype) -> None:
    folded = FoldedVideo(load_video_network(), device=torch.device("cpu"), dtype=dtype)
    state = folded.initial(22, 40)
    given = *(torch.rand(1, planes, 22, 40) for planes in (3, 12, 1)), state.h, state.c
    expected = folded.step(*given)
    torch._dynamo.reset()
    whole = COMPILE(folded.step, backend="eager", dynamic=False, fullgraph=True)
    for result, want in zip(whole(*given), expected, strict=True):
        torch.testing.assert_close(result, want)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = bench_model.contenders()
    monkeypatch.setattr(bench_model, "contenders", lambda: [first])
    monkeypatch.setattr(bench, "SIZES", ((16, 24),))


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
    theirs, ours = rows(out)[:2]
    assert (theirs["runtime"], theirs["unit"], theirs["ratio"]) == ("ffmpeg", "frames/s", "1.00")
    assert (ours["runtime"], ours["width"], ours["height"]) == ("sapnet-stream", "64", "48")
    assert float(ours["ratio"]) > 0


@pytest.mark.usefixtures("few")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
@pytest.mark.parametrize(
    ("status", "arguments", "said"),
    [
        (3, ["--video", "missing.mp4"], "missing.mp4"),
        (3, ["--video", "odd.mkv"], "ffmpeg cannot write odd.mkv as yuv420p H.264"),
        (4, ["--out", "none/x.csv"], "--out none/x.csv cannot be written: No such file"),
        (2, ["--sizes", "99999x99999"], "--sizes 99999x99999 takes 14435.2 GiB of memory and "),
        (5, ["--weights", "x" * 300], "no weights at xxx"),
    ],
)
def test_a_mistake_is_one_sentence_before_a_network_is_timed(
    status: int,
    arguments: list[str],
    said: str,
    make_clip: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_clip("odd.mkv", "ffv1", "yuv444p", (63, 47), range(3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "measure_models", lambda *_: pytest.fail("timed a network"))
    assert cli.main(["bench", "--runs", "1", *arguments]) == status
    shown = capfd.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_signal_ends_it_in_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys;"
        "from sapnet_stream import bench_model, cli; first, *_ = bench_model.contenders();"
        "bench_model.contenders = lambda: [first]; sys.exit(cli.main(sys.argv[1:]))"
    )
    out = tmp_path / "cpu.csv"
    command = [sys.executable, "-c", code, "bench", "--runs", "1", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not out.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "sapnet-stream: stopped\n")


@pytest.mark.usefixtures("few")
def test_only_the_sizes_that_are_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "cpu.csv"
    bench.main(["--runs", "1", "--sizes", "12x8", "10x20", "--out", str(out)])
    assert [(row["width"], row["height"]) for row in rows(out)] == [("12", "8"), ("10", "20")]


def test_what_is_being_timed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = bench_model.contenders()
    monkeypatch.setattr(bench_model, "contenders", lambda: [first])
    said: list[str] = []
    list(bench_model.measure_models(load_network(), 1, [(16, 24)], said.append))
    assert said == [
        "24x16, warm-up: published, torch float32",
        "24x16, round 1 of 1: published, torch float32",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--runs", "0"], ["--runs", "x"], ["--fast"]),
        *(["--sizes", size] for size in ("640", "640x", "x360", "0x360", "640x-1", "aXb")),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
