"""Both networks, as published and as run here, on a GPU. From the repository:

    PYTHONPATH=.:kernels python3 kernels/benchmarks/networks.py --out CSV --profiles FOLDER

Contenders hold the same weights and take turns. One that cannot be made, or whose result is
another than the network's, is named and not timed; an error elsewhere costs the figures of one
network at one size. The exit status is 1 then.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contenders import (
    COMPILED,
    OURS,
    Makers,
    image_contenders,
    played,
    step_contenders,
    step_inputs,
    stream_contenders,
    untuned,
)
from benchmarks.timing import (
    Call,
    ColdTimer,
    Results,
    Row,
    free_memory,
    in_turn,
    ratio,
    spread,
    tried,
)
from sapnet_stream.bench_video import STEP_PX, moving_scene
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import load_network, load_video_network

SIZES = ("640x360", "1280x720", "1920x1080", "3840x2160")
LEAST_DB = 50.0
"""Of a result to the one in float32: what 16 bits cost is far less, what is wrong far more."""


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


def groups(
    size: str, compiling: bool, networks: tuple[SAPNet, SAPNetVideo]
) -> Iterator[tuple[str, Callable[[], tuple[Call, Makers]]]]:
    """What is timed at one size, and what makes its reference and its contenders.

    They are made where they are measured, as all together would not fit. A reference that shows one
    picture computes it once.
    """
    width, height = map(int, size.split("x"))
    still, video = networks

    def scene() -> list[Tensor]:
        return [frame.cuda() for frame in moving_scene(height, width, STEP_PX)]

    def image() -> tuple[Call, Makers]:
        frame = scene()[0]
        return cache(lambda: still(frame)), image_contenders(still, frame, compiling)

    def step() -> tuple[Call, Makers]:
        frame = scene()[0]
        inputs = untuned(lambda: step_inputs(video, frame))
        return cache(lambda: video.step(*inputs)), step_contenders(video, inputs, compiling)

    def stream() -> tuple[Call, Makers]:
        frames = scene()
        return untuned(lambda: played(video, frames)), stream_contenders(video, frames)

    if compiling:
        # A compiler takes longest for six stages: a run that is cut short has the other.
        yield "SAPNetVideo, step", step
    yield "SAPNet, six stages", image
    if not compiling:
        yield "SAPNetVideo, step", step
        yield "SAPNetVideo, frame of a video", stream


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

    def measured(of: Row, size: str, prepare: Callable[[], tuple[Call, Makers]]) -> list[Row]:
        calls, wrong = made(*prepare())
        what = str(of["what"])
        rows = measure(what, size, (calls, wrong), options.runs, timer)
        whole = COMPILED not in (calls | wrong) and OURS not in wrong
        if options.profiles and size == SIZES[2] and whole:
            name = re.sub(r"\W+", "_", what).lower()
            # After the figures, which are not lost with it.
            _, why = tried(partial(profile, calls[OURS], options.profiles / f"{name}.txt"))
            if why:
                rows.append(of | {"note": f"red, no profile: {why}"})
        return rows

    red = False
    torch.backends.cudnn.benchmark = True
    for compiling, sizes in ((False, options.sizes), (True, options.compile)):
        for size in sizes:
            for what, prepare in groups(size, compiling, networks):
                width, height = size.split("x")
                of: Row = {"what": what, "width": width, "height": height}
                red = results.measured(of, partial(measured, of, size, prepare)) or red
                free_memory()
    return int(red)


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
