"""Every op by every tile beside cuDNN and torch.compile, on a GPU. From the repository:

    PYTHONPATH=kernels python3 kernels/benchmarks/ops.py --out FILE.csv

An op whose result is wrong is named and not timed, and the exit status is 1.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cases import DTYPE, Case, cases
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
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import chosen, runnable

# Largest and root-mean-square error over the reference's root mean square, as in the tests.
LIMITS = (4e-3, 6e-4)
# Of sums over two million pixels; a border row that is counted or not makes five times as much.
SUMS_LIMITS = (1e-4, 1e-4)
OURS, PYTORCH = "ours", "cuDNN and PyTorch"
COPY, PRODUCT = "copy of 1 GiB", "product of 8192 x 8192"


def wrong_tiles(case: Case) -> dict[Tile, str]:
    """The tiles by which a case gives wrong results, and what is wrong."""
    # TF32 would round more than the ops do, and looking for the fastest way takes longer than it.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        wanted = case.reference()
    found = {}
    for tile in case.launch.tiles:
        # Memory that `empty` hands out is full of NaN then: what a kernel leaves out shows.
        torch.use_deterministic_algorithms(True)
        results = case.launch.run(tile)
        torch.use_deterministic_algorithms(False)
        assert isinstance(results, tuple)
        why = _differences(results, wanted, case.sums)
        if why:
            found[tile] = why
    return found


def _differences(results: Sequence[Tensor], wanted: Sequence[Tensor], sums: int) -> str:
    pairs = [(r, w, LIMITS) for r, w in zip(results, wanted, strict=False)]
    if sums:
        own = tap_sums_reference(results[0].double(), sums)[0]
        pairs.append((results[-1].double().sum(0), own, SUMS_LIMITS))
    for number, (result, want, limits) in enumerate(pairs):
        worst, typical = errors(result, want)
        if not (worst <= limits[0] and typical <= limits[1]):
            return f"result {number} is off by {worst:.1e}, {typical:.1e} rms"
    return ""


def errors(result: Tensor, reference: Tensor) -> tuple[float, float]:
    """Largest and root-mean-square difference, over the reference's root mean square."""
    difference = result.to(reference.dtype) - reference
    size = reference.square().mean().sqrt()
    return (difference.abs().max() / size).item(), (difference.square().mean().sqrt() / size).item()


def measure(case: Case, runs: int, timer: Callable[[Call], float]) -> list[Row]:
    """Rows of a case; one that says "red" for each tile whose result is wrong."""
    wrong, launch = wrong_tiles(case), case.launch
    height, width = launch.x.shape[:2]
    common: Row = {"what": case.what, "dtype": "float16", "channels": case.channels}
    common |= {"dilation": launch.dilation, "height": height, "width": width, "unit": "ms"}
    common |= {"flop": height * width * launch.flop, "bytes": height * width * launch.bytes}
    rows = [
        common | {"by": launch.op, "tile": name(tile), "note": f"red, not timed: {why}"}
        for tile, why in wrong.items()
    ]
    right = [tile for tile in launch.tiles if tile not in wrong]
    if not runnable(right, launch.x):
        return rows
    replace(launch, tiles=right).tune()
    best = chosen(launch.op, right, launch.x, launch.channels, launch.dilation)
    calls = {name(tile): recorded(partial(launch.run, tile)) for tile in right}
    others = {
        OURS: recorded(partial(case.whole, best)),
        PYTORCH: recorded(case.baseline),
        "torch.compile": recorded(_compiled(case.baseline)),
    }
    figures = in_turn(calls | others, runs, timer)
    for contender, values in figures.items():
        row = common | spread(values) | {"by": contender, "runs": runs}
        if contender in calls:
            row |= {"by": launch.op, "tile": contender}
        if contender == name(best):
            row["chosen"] = "yes"
        rows.append(row | {"ratio": ratio(figures[PYTORCH], values), "baseline": PYTORCH})
    return rows


def name(tile: Tile) -> str:
    """Short, for a table."""
    moved = "descriptors" if tile.descriptors else "pointers"
    weights = "Gluon" if tile.gluon else "resident" if tile.resident else "streamed"
    shape = f"{tile.pixels} pixels, {tile.warps} warps, {tile.stages} stages"
    return f"{shape}, {tile.programs_per_sm} per SM, {moved}, {weights}"


def _compiled(call: Call) -> Call:
    # Beyond some number of dilations it would give up and run as it is.
    torch._dynamo.reset()
    return torch.compile(call, dynamic=False)


def ceilings(runs: int, timer: Callable[[Call], float]) -> Iterator[Row]:
    """What the device copies and multiplies at most, as PyTorch does."""
    source, target = torch.rand(2, 2**28, device="cuda")
    a, b, product = torch.randn(3, 8192, 8192, device="cuda").to(DTYPE)
    calls = {
        COPY: recorded(lambda: target.copy_(source)),
        PRODUCT: recorded(lambda: torch.mm(a, b, out=product)),
    }
    sizes = {COPY: (0, 2 * source.nbytes), PRODUCT: (2 * 8192**3, 3 * a.nbytes)}
    for what, values in in_turn(calls, runs, timer).items():
        row: Row = {"what": what, "by": "PyTorch", "unit": "ms", "runs": runs}
        yield row | spread(values) | dict(zip(("flop", "bytes"), sizes[what], strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="Time every op by every tile.")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="append to it")
    parser.add_argument("--size", default="1920x1080", metavar="WxH")
    parser.add_argument("--runs", type=int, default=50, help="counted rounds (50)")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    timer, results = ColdTimer(), Results(options.out, shlex.join(["python3", *sys.argv]))

    def measured(make: Callable[[], Case]) -> list[Row]:
        return measure(make(), options.runs, timer)

    results.add(list(ceilings(options.runs, timer)))
    red = False
    for number, make in enumerate(cases(height, width, torch.device("cuda"))):
        red = results.measured({"what": f"case {number}"}, partial(measured, make)) or red
        free_memory()
    return int(red)


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(main())
