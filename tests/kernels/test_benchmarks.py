"""Benchmarks time what is right and say what is not; how fast it is, is no test."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import cases, contenders, networks, ops, timing
from sapnet_kernels import launches
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import runnable
from sapnet_stream.bench_video import moving_scene
from sapnet_stream.errors import UsageError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.sapnet_video import SAPNetVideo, SAPNetVideoConfig
from sapnet_training.clip import write_video

Timer = Callable[[timing.Call], float]
SIZE = (9, 20)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Calls and counts: the first call takes 1 ms, the second 2. Nothing needs a GPU."""
    if not torch.cuda.is_available():
        for module in (ops, contenders):
            monkeypatch.setattr(module, "recorded", lambda call: call)
    monkeypatch.setattr(ops, "_compiled", lambda call: call)
    monkeypatch.setattr(launches, "tune", lambda *_: None)
    count = 0

    def measure(call: timing.Call) -> float:
        nonlocal count
        call()
        count += 1
        return float(count)

    return measure


def test_every_op_is_right_and_does_what_its_baseline_does(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The others differ in a number; each tile takes seconds in the interpreter.
    monkeypatch.setattr(cases, "DILATIONS", (2,))
    for make in cases.cases(*SIZE, device):
        case = make()
        assert ops.wrong_tiles(case) == {}
        results = (case.whole(case.launch.tiles[0]), case.baseline())
        ours, theirs = (r[0] if isinstance(r, tuple) else r for r in results)
        assert isinstance(ours, Tensor) and isinstance(theirs, Tensor)
        if theirs.shape[1] == case.channels:
            theirs = theirs[0].permute(1, 2, 0)
        worst, typical = ops.errors(ours, theirs.reshape(ours.shape).float())
        assert worst < 2e-2 and typical < 2e-3, case.what


def one_case(device: torch.device) -> cases.Case:
    return cases.convolution(*SIZE, device, 32, 2, with_residual=True)


def spoiled(case: cases.Case, spoil: Callable[[Tensor, Tensor], None], tile: Tile) -> cases.Case:
    """A case whose op gives something else by one tile."""

    def run(used: Tile) -> object:
        results = case.launch.run(used)
        assert isinstance(results, tuple)
        y, sums = results
        if used == tile:
            spoil(y, sums)
        return y, sums

    return replace(case, launch=replace(case.launch, run=run))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y, _: y[3, 4, 5].fill_(torch.nan),
        lambda y, _: y[3, 4, 5].add_(0.1),
        lambda y, sums: sums[0, 1].add_(y[0].sum(0).float()),
    ],
    ids=["nan", "one value", "a row of the sums"],
)
def test_what_is_wrong_is_named_and_not_timed(
    spoil: Callable[[Tensor, Tensor], None], device: torch.device, timer: Timer
) -> None:
    right = one_case(device)
    tiles = right.launch.tiles
    rows = ops.measure(spoiled(right, spoil, tiles[1]), 2, timer)
    red = [row for row in rows if "red" in str(row.get("note"))]
    assert [row["tile"] for row in red] == [ops.name(tiles[1])]
    assert "median" not in red[0]
    timed = [row for row in rows if "median" in row]
    assert len(timed) == len(tiles) - 1 + len((ops.OURS, ops.PYTORCH, "torch.compile"))


def test_rows_of_an_op(device: torch.device, timer: Timer) -> None:
    case = one_case(device)
    rows = ops.measure(case, 1, timer)
    (chosen,) = (row for row in rows if row.get("chosen"))
    assert chosen["tile"] == ops.name(runnable(case.launch.tiles, case.launch.x)[0])
    assert (chosen["height"], chosen["width"], chosen["dilation"]) == (*SIZE, 2)
    assert chosen["flop"] == SIZE[0] * SIZE[1] * 2 * 9 * 32 * 32
    (baseline,) = (row for row in rows if row["by"] == ops.PYTORCH)
    assert baseline["ratio"] == "1.00"


@pytest.fixture
def frames(device: torch.device) -> list[Tensor]:
    return [frame.to(device) for frame in moving_scene(8, 16, 3)]


def test_every_network_is_the_one_it_is_measured_against(
    frames: list[Tensor],
    device: torch.device,
    timer: Timer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contenders, "LONG", 1)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    # One unit each: the interpreter takes minutes for all of them.
    still = SAPNet(SAPNetConfig(dilations=(2,), stages=2)).to(device)
    video = SAPNetVideo(SAPNetVideoConfig(dilations=(2,))).to(device)
    inputs = contenders.step_inputs(video, frames[0])
    image, step = lambda: still(frames[0]), lambda: video.step(*inputs)
    for reference, makers in (
        (image, contenders.image_contenders(still, frames[0], compiling=False)),
        (step, contenders.step_contenders(video, inputs, compiling=False)),
        (contenders.played(video, frames), contenders.stream_contenders(video, frames)),
        (step, contenders.step_contenders(video, inputs, compiling=True)),
        (image, contenders.image_contenders(still, frames[0], compiling=True)),
    ):
        rows = networks.measure("SAPNet", "16x8", networks.made(reference, makers), 1, timer)
        assert {row["by"] for row in rows if "median" in row} == set(makers)
        assert rows[0]["by"] == rows[0]["baseline"] == contenders.EAGER
        # Ours has a ratio to each of the others.
        ours = [row["baseline"] for row in rows if row["by"] == contenders.OURS]
        assert ours == [name for name in makers if name != contenders.OURS]


@pytest.mark.usefixtures("timer")
def test_a_step_takes_a_state_as_it_leaves_it(frames: list[Tensor]) -> None:
    video = SAPNetVideo(SAPNetVideoConfig(dilations=(2,))).to(frames[0].device)
    inputs = contenders.step_inputs(video, frames[0])
    makers = contenders.step_contenders(video, inputs, compiling=False)
    for by, layout in (
        (contenders.EAGER, torch.contiguous_format),
        (contenders.RECORDED, torch.channels_last),
        (contenders.FOLDED, torch.channels_last),
    ):
        result = makers[by]()()
        assert isinstance(result, tuple)
        assert all(state.is_contiguous(memory_format=layout) for state in result[1:]), by


def test_a_network_as_written_runs_as_installed_from_the_first_time_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(contenders, "LONG", 1)
    monkeypatch.setattr(Tensor, "cuda", lambda tensor: tensor)
    monkeypatch.setattr(cudnn, "benchmark", True)
    still, video = SAPNet(SAPNetConfig(dilations=(2,), stages=1)), SAPNetVideo()
    seen: set[bool] = set()

    def looked(*_: object) -> None:
        seen.add(cudnn.benchmark)

    for network in (still, video):
        network.conv0.register_forward_pre_hook(looked)
    for _, prepare in networks.groups("16x8", False, (still, video)):
        reference, makers = prepare()
        networks.picture(reference)
        makers[contenders.EAGER]()()
    assert seen == {False} and cudnn.benchmark


def test_a_step_is_compiled_first_and_references_run_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tensor, "cuda", lambda tensor: tensor)
    still, video = SAPNet(SAPNetConfig(dilations=(2,), stages=1)), SAPNetVideo()
    ran: list[torch.nn.Module] = []
    for network in (still, video):
        network.conv0.register_forward_pre_hook(lambda layer, _: ran.append(layer))
    shown = []
    for _, prepare in networks.groups("16x8", True, (still, video)):
        reference, makers = prepare()
        ran.clear()  # A step's inputs are those after another.
        for _ in makers:
            networks.picture(reference)
        shown += ran
    assert shown == [video.conv0, still.conv0]


@pytest.mark.parametrize(("noise", "why"), [(0.01, "40.0 dB"), (torch.nan, "NaN")])
def test_a_network_that_is_another_is_not_timed(noise: float, why: str, timer: Timer) -> None:
    picture = torch.rand(1, 3, 8, 8)
    makers = {
        contenders.EAGER: lambda: lambda: picture,
        contenders.OURS: lambda: lambda: picture + noise,
    }
    made = networks.made(lambda: picture, makers)
    ours, first = networks.measure("SAPNet", "8x8", made, 1, timer)
    assert (ours["by"], ours["note"]) == (contenders.OURS, f"red, not timed: {why}")
    assert "median" not in ours and "median" in first


def test_one_that_fails_is_named_and_the_others_are_timed(timer: Timer) -> None:
    picture = torch.rand(1, 3, 8, 8)

    def failing() -> timing.Call:
        raise RuntimeError("no such kernel\nin a long text")

    makers = {
        contenders.EAGER: lambda: lambda: picture,
        contenders.FOLDED: lambda: failing,
        contenders.COMPILED: failing,
        contenders.OURS: lambda: lambda: picture,
    }
    made = networks.made(lambda: picture, makers)
    *failed, eager, ours = networks.measure("SAPNet", "8x8", made, 1, timer)
    assert [row["by"] for row in failed] == [contenders.FOLDED, contenders.COMPILED]
    for row in failed:
        assert row["note"] == "red, not timed: RuntimeError: no such kernel"
        assert "median" not in row
    assert "median" in eager and "median" in ours and ours["baseline"] == contenders.EAGER


def test_what_one_contender_does_to_another_is_named(timer: Timer) -> None:
    picture = torch.rand(1, 3, 8, 8)
    memory = picture.clone()

    def ours_made() -> timing.Call:
        memory.fill_(torch.nan)
        return lambda: picture

    makers = {contenders.EAGER: lambda: lambda: memory, contenders.OURS: ours_made}
    made = networks.made(lambda: picture, makers)
    eager, ours = networks.measure("SAPNet", "8x8", made, 1, timer)
    assert eager["by"] == contenders.EAGER
    assert eager["note"] == f"red, not timed: NaN once '{contenders.OURS}' was made"
    assert ours["by"] == ours["baseline"] == contenders.OURS and "median" in ours


def test_a_group_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    def failing() -> list[timing.Row]:
        raise RuntimeError("out of memory\nby a lot")

    results = timing.Results(tmp_path / "results.csv", "it", dict)
    assert results.measured({"what": "too large", "width": "9"}, failing)
    assert not results.measured({}, lambda: [{"what": "small", "median": 1}])
    with (tmp_path / "results.csv").open() as file:
        red, right = csv.DictReader(file)
    assert (red["what"], red["width"], red["median"]) == ("too large", "9", "")
    assert red["note"] == "red, not timed: RuntimeError: out of memory"
    assert (right["what"], right["median"]) == ("small", "1")


def test_whole_programs(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="programs read and write video by it")
    from benchmarks import programs

    clip = tmp_path / "clip.mp4"
    write_video(clip, torch.rand(6, 3, 48, 64), Fraction(25))
    rows = programs.measure(clip, 1, None, None)
    assert [row["what"] for row in rows] == [
        f"file to file, {name}" for name in ("SAPNetVideo", "SAPNet, six stages", programs.ZERO)
    ]
    for row in rows:
        assert (row["width"], row["height"], row["unit"]) == (64, 48, "frames/s")
        assert "derain" in str(row["note"])
    assert rows[-1]["ratio"] == "1.00"
    with pytest.raises(UsageError, match="--hwaccel cuda:99"):
        programs.measure(clip, 1, None, "cuda:99")
