"""Both networks, as published and as run here, on a GPU. From the repository:

    PYTHONPATH=.:kernels python3 kernels/benchmarks/networks.py --out CSV --profiles FOLDER

Contenders hold the same weights and take turns. One that cannot be made, or whose result is
another than the network's, is named and not timed, and the exit status is 1.
"""

import argparse
import copy
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor

from benchmarks.timing import (
    Call,
    ColdTimer,
    Results,
    Row,
    free_memory,
    in_turn,
    ratio,
    recorded,
    spread,
)
from sapnet_stream.bench_compiled import compiled_network
from sapnet_stream.bench_video import STEP_PX, moving_scene
from sapnet_stream.networks.background import LONG, STATISTICS
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.fused import FusedExecutor
from sapnet_stream.networks.fused_video import FusedVideo
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.video_stream import FrameExecutor, VideoStream
from sapnet_stream.networks.weights import load_network, load_video_network

SIZES = ("640x360", "1280x720", "1920x1080", "3840x2160")
HALF = torch.float16
EAGER = "as written, eager, float32 NCHW"
RECORDED = "as written, float16 channels last, CUDA graph"
FOLDED = "folded, float16 channels last, CUDA graph"
COMPILED = "folded, float16, torch.compile max-autotune, CUDA graph"
OURS = "fused, float16"
T = TypeVar("T")
Makers = Mapping[str, Callable[[], Call]]
Add = Callable[[str, str, Call, Makers], None]
# Of torch.compile: the graph is ours to record.
MODE = "max-autotune-no-cudagraphs"
LEAST_DB = 50.0
"""Of a result to the one in float32: what 16 bits cost is far less, what is wrong far more."""


def image_contenders(network: SAPNet, image: Tensor, compiling: bool) -> Makers:
    """What makes the contenders that run the six-stage network on [1, 3, H, W]."""

    def as_written() -> Call:
        half = copy.deepcopy(network).to(HALF).to(memory_format=torch.channels_last)
        narrow = image.to(HALF, memory_format=torch.channels_last)
        return recorded(lambda: half(narrow))

    def folded() -> Call:
        executor = FoldedExecutor(network, device=image.device, dtype=HALF)
        return recorded(lambda: executor(image))

    def compiled() -> Call:
        return recorded(compiled_network(network, image, HALF, MODE))

    def fused() -> Call:
        executor = FusedExecutor(network, device=image.device, dtype=HALF)
        executor(image)  # The first frame of a size is not recorded.
        return lambda: executor(image)

    others = {COMPILED: compiled} if compiling else {RECORDED: as_written, FOLDED: folded}
    return {EAGER: lambda: partial(untuned, lambda: network(image)), **others, OURS: fused}


def step_contenders(network: SAPNetVideo, inputs: tuple[Tensor, ...], compiling: bool) -> Makers:
    """The same for one step of the video network; see `SAPNetVideo.step`."""
    frame, past, seen, h, c = inputs
    # As each of them leaves its state.
    last = torch.channels_last
    narrow = frame, past, seen, h.to(HALF, memory_format=last), c.contiguous(memory_format=last)

    def as_written() -> Call:
        half = copy.deepcopy(network).to(HALF).to(memory_format=torch.channels_last)
        return recorded(lambda: half.step(*narrow))

    def folded() -> Call:
        executor = FoldedVideo(network, device=frame.device, dtype=HALF)
        return recorded(lambda: executor.step(*narrow))

    def compiled() -> Call:
        executor = FoldedVideo(network, device=frame.device, dtype=HALF)
        executor.step(*narrow)  # makes what the compiler takes for granted
        step = torch.compile(executor.step, mode=MODE, dynamic=False, fullgraph=True)
        return recorded(lambda: step(*narrow))

    def fused() -> Call:
        executor = FusedVideo(network, device=frame.device, dtype=HALF)
        executor.step(*narrow)  # The first step of a size is not recorded.
        return lambda: executor.step(*narrow)

    others = {COMPILED: compiled} if compiling else {RECORDED: as_written, FOLDED: folded}
    return {EAGER: lambda: partial(untuned, lambda: network.step(*inputs)), **others, OURS: fused}


def stream_contenders(network: SAPNetVideo, frames: list[Tensor]) -> Makers:
    """The same for a frame of a video whose memory is full: with following the camera too."""
    device = frames[0].device
    return {
        EAGER: lambda: partial(untuned, untuned(lambda: played(network, frames))),
        FOLDED.removesuffix(", CUDA graph"): lambda: played(
            FoldedVideo(network, device=device, dtype=HALF), frames
        ),
        OURS: lambda: played(FusedVideo(network, device=device, dtype=HALF), frames),
    }


def played(executor: FrameExecutor | SAPNetVideo, frames: list[Tensor]) -> Call:
    """What derains the next frame."""
    # The network itself lacks nothing but a name.
    stream, shown = VideoStream(cast(FrameExecutor, executor)), cycle(frames)
    for _ in range(LONG + 1):
        stream(next(shown))
    return lambda: stream(next(shown))


def untuned(work: Callable[[], T]) -> T:
    """What `work` returns, without what someone who takes a network as it is would have to know.

    How cuDNN computes a layer it decides when it first does, and keeps to that whoever asks next.
    """
    torch.backends.cudnn.benchmark = False
    try:
        return work()
    finally:
        torch.backends.cudnn.benchmark = True


def step_inputs(network: SAPNetVideo, frame: Tensor) -> tuple[Tensor, ...]:
    """Arguments of `SAPNetVideo.step` in the middle of a video."""
    _, _, height, width = frame.shape
    past = torch.randn(1, 3 * (STATISTICS + 1), height, width, device=frame.device) / 50
    seen = torch.ones(1, 1, height, width, device=frame.device)
    state = network.initial(height, width)
    _, h, c = network.step(frame, past, seen, state.h, state.c)
    return frame, past, seen, h, c


def picture(call: Call) -> Tensor:
    """A contender's picture, without TF32, on the host, where no kernel can write."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        result = call()
    first = result[0] if isinstance(result, tuple) else result
    assert isinstance(first, Tensor)
    return first.float().cpu()


def difference(result: Tensor, wanted: Tensor) -> str:
    """What is wrong with a picture in [0, 1]; nothing where it is the one wanted."""
    if result.isnan().any():
        return "NaN"
    error = (result - wanted).square().mean().clamp(min=1e-12)
    decibels = float(-10 * torch.log10(error))
    return "" if decibels >= LEAST_DB else f"{decibels:.1f} dB"


def tried(work: Callable[[], T]) -> tuple[T | None, str]:
    """What `work` returns; or None and how it failed, which costs no other its figures."""
    try:
        return work(), ""
    except Exception as error:  # noqa: BLE001 - printed, and told in the results
        traceback.print_exc()
        return None, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def made(reference: Call, contenders: Makers) -> tuple[dict[str, Call], dict[str, str]]:
    """The contenders; and of those that fail or whose pictures are others, what is wrong.

    The reference runs before any is made. Whenever one more is, all are looked at: it may have
    got memory that another still uses.
    """
    wanted = [picture(reference) for _ in contenders]
    calls: dict[str, Call] = {}
    wrong: dict[str, str] = {}
    for newest, make in contenders.items():
        call, why = tried(make)
        if call is None:
            wrong[newest] = f"red, not timed: {why}"
            continue
        calls[newest] = call
        # In a video the newest shows the first picture, the one before it the second.
        for (name, call), want in zip(reversed(calls.items()), wanted, strict=False):
            shown, why = tried(partial(picture, call))
            why = why if shown is None else difference(shown, want)
            once = "" if name == newest else f" once '{newest}' was made"
            if why:
                wrong.setdefault(name, f"red, not timed: {why}{once}")
    return calls, wrong


def measure(
    what: str,
    size: str,
    contenders: tuple[Mapping[str, Call], Mapping[str, str]],
    runs: int,
    timer: Callable[[Call], float],
) -> list[Row]:
    """Rows of what `made` gave; those of the wrong ones say "red" and hold no figure."""
    calls, wrong = contenders
    width, height = size.split("x")
    common: Row = {"what": what, "width": width, "height": height, "unit": "ms"}
    rows = [common | {"by": name, "note": why} for name, why in wrong.items()]
    right = {name: call for name, call in calls.items() if name not in wrong}
    figures = in_turn(right, runs, timer)
    bases = [name for name in figures if name != OURS] or [OURS]
    for name, values in figures.items():
        row = common | spread(values) | {"by": name, "runs": runs}
        # Ours beside each of the others, they beside the first.
        for base in bases if name == OURS else bases[:1]:
            rows.append(row | {"ratio": ratio(figures[base], values), "baseline": base})
    return rows


def profile(call: Call, path: Path) -> None:
    """The kernels that take most of a frame, as a text file; mean of three frames."""
    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(3):
            call()
        torch.cuda.synchronize()
    table = profiler.key_averages().table(sort_by="self_device_time_total", row_limit=15)
    path.write_text(f"Three frames.\n{table}\n")


def measured_size(
    size: str, compiling: bool, networks: tuple[SAPNet, SAPNetVideo], add: Add
) -> None:
    """One size; contenders are made where they are measured, as all together would not fit."""
    width, height = map(int, size.split("x"))
    frames = [frame.cuda() for frame in moving_scene(height, width, STEP_PX)]
    still, video = networks
    image, inputs = frames[0], untuned(lambda: step_inputs(video, frames[0]))
    contenders = image_contenders(still, image, compiling)
    add("SAPNet, six stages", size, lambda: still(image), contenders)
    contenders = step_contenders(video, inputs, compiling)
    add("SAPNetVideo, step", size, lambda: video.step(*inputs), contenders)
    if not compiling:
        contenders = stream_contenders(video, frames)
        reference = untuned(lambda: played(video, frames))
        add("SAPNetVideo, frame of a video", size, reference, contenders)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time both networks beside what else runs them.")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="append to it")
    parser.add_argument("--sizes", nargs="*", default=SIZES, metavar="WxH")
    parser.add_argument("--compile", nargs="*", default=[SIZES[2]], metavar="WxH")
    parser.add_argument("--profiles", type=Path, metavar="FOLDER", help="of a 1080p frame each")
    parser.add_argument("--runs", type=int, default=20, help="counted rounds (20)")
    options = parser.parse_args()
    networks = load_network().cuda(), load_video_network().cuda()
    timer, results = ColdTimer(), Results(options.out, shlex.join(["python3", *sys.argv]))
    red = False

    def add(what: str, size: str, reference: Call, contenders: Makers) -> None:
        nonlocal red
        calls, wrong = made(reference, contenders)
        rows = measure(what, size, (calls, wrong), options.runs, timer)
        results.add(rows)
        red = red or any("red" in str(row.get("note")) for row in rows)
        whole = COMPILED not in contenders and OURS not in wrong
        if options.profiles and size == SIZES[2] and whole:
            name = re.sub(r"\W+", "_", what).lower()
            profile(calls[OURS], options.profiles / f"{name}.txt")
        calls.clear()
        free_memory()

    torch.backends.cudnn.benchmark = True
    for compiling, sizes in ((False, options.sizes), (True, options.compile)):
        for size in sizes:
            measured_size(size, compiling, networks, add)
    return int(red)


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
