"""Compile every op and tile for GPUs that need not be there, and print what it takes.

Nothing is timed. From the repository:

    python kernels/benchmarks/kernel_report.py --out kernels/benchmarks/results/kernel_report.md
"""

import argparse
import datetime
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import triton

from sapnet_kernels import (
    attention_scale,
    image_pair,
    rgb_residual_to_yuv420,
    video_input,
    video_output,
    yuv420_to_rgb,
)
from sapnet_kernels.compiled import Compiled, compiled
from sapnet_kernels.launches import Launch, image_launches, layer_launches, video_launches
from sapnet_kernels.tile import Tile

META = torch.device("meta")
HEIGHT, WIDTH = 1080, 1920
REGISTERS = 65536


@dataclass(frozen=True)
class Target:
    """Limits of one compute capability (CUDA C++ Programming Guide, technical specifications).

    Attributes:
        capability: 90 is 9.0.
        shared_bytes: of a multiprocessor.
        block_bytes: of that, the most one program may take.
        warps, blocks: the most on a multiprocessor.
    """

    capability: int
    shared_bytes: int
    block_bytes: int
    warps: int
    blocks: int

    def occupancy(self, kernel: Compiled) -> int:
        """Warps on a multiprocessor, in percent of the most."""
        # Registers come in portions of 256 a warp; each program reserves 1 KiB more.
        warp_registers = -(-kernel.registers * 32 // 256) * 256
        by_registers = REGISTERS // (warp_registers * kernel.warps)
        by_shared = self.shared_bytes // (kernel.shared_bytes + 1024)
        blocks = min(by_registers, by_shared, self.blocks, self.warps // kernel.warps)
        return 100 * blocks * kernel.warps // self.warps


KIB = 1024
TARGETS = [
    Target(80, 164 * KIB, 163 * KIB, 64, 32),
    Target(86, 100 * KIB, 99 * KIB, 48, 16),
    Target(89, 100 * KIB, 99 * KIB, 48, 24),
    Target(90, 228 * KIB, 227 * KIB, 64, 32),
    Target(100, 228 * KIB, 227 * KIB, 64, 32),
    Target(120, 100 * KIB, 99 * KIB, 48, 24),
]
COLUMNS = (
    "target",
    "op",
    "C",
    "tile",
    "warps",
    "stages",
    "registers",
    "spill loads",
    "shared KB",
    "tensor cores",
    "occupancy",
)


def launches(channels: int) -> Iterator[Launch]:
    """Every op that has tiles. The dilation changes no code."""
    size, where = (HEIGHT, WIDTH, channels), (META, torch.float16)
    yield from layer_launches(*size, [2], *where)
    yield from image_launches(*size, *where)
    if channels < 64:  # of 64 channels it is one more of the layers
        yield from video_launches(*size, *where)


def without_tiles(target: Target) -> Iterator[tuple[int | None, Compiled]]:
    """The ops that run in one way: channels, None for planes of samples, and the kernel."""

    def compile_scale(channels: int) -> Compiled:
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=META)

        rows, columns, squeezed = channels + channels // 16, 9 * channels, channels // 16
        given = zeros(264, 9, channels), zeros(rows, columns), zeros(rows)
        return compiled(
            lambda: attention_scale.launch(*given, zeros(channels, squeezed), HEIGHT * WIDTH),
            target.capability,
        )

    for channels in (32, 64):
        yield channels, compile_scale(channels)
    luma = torch.zeros(HEIGHT, WIDTH, device=META, dtype=torch.uint8)
    chroma = luma.new_zeros(HEIGHT // 2, WIDTH // 2)
    planes = luma, chroma, chroma, 0.2126, 0.0722, 8, False
    yield None, compiled(lambda: yuv420_to_rgb.launch(*planes), target.capability)
    change = luma.new_zeros(3, HEIGHT, WIDTH, dtype=torch.float32)
    yield None, compiled(lambda: rgb_residual_to_yuv420.launch(change, *planes), target.capability)
    yield 16, compiled(lambda: image_pair.launch(change, torch.float16), target.capability)
    past, seen = change.new_zeros(12, HEIGHT, WIDTH), change[:1]
    given = change, past, seen, torch.float16
    yield None, compiled(lambda: video_input.launch(*given), target.capability)
    decision = change.new_zeros(HEIGHT // 2, WIDTH // 2, 32, dtype=torch.float16)
    yield 32, compiled(lambda: video_output.launch(decision, change, past, 3), target.capability)


def row(target: Target, channels: int | None, tile: Tile | None, kernel: Compiled) -> str:
    """One line of the table.

    Raises:
        SystemExit: the kernel spills registers or needs more shared memory than there is.
    """
    shape = "–" if tile is None else str(tile.pixels)
    if tile is not None and (tile.resident or tile.gluon):
        shape += ", resident"
    if kernel.spill_loads or kernel.shared_bytes > target.block_bytes:
        sys.exit(f"sm_{target.capability} {kernel.name} {tile}: {kernel} spills or does not fit")
    cells = (
        f"sm_{target.capability}",
        kernel.name,
        channels or "–",
        shape,
        kernel.warps,
        tile.stages if tile else "–",
        kernel.registers,
        kernel.spill_loads,
        f"{kernel.shared_bytes / 1000:.1f}",
        " ".join(kernel.tensor_cores) or "–",
        f"{target.occupancy(kernel)} %",
    )
    return line(cells)


def line(cells: tuple[object, ...]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def resources() -> Iterator[str]:
    """The table of what each kernel takes."""
    yield line(COLUMNS)
    yield line(("---",) * len(COLUMNS))
    for target in TARGETS:
        for channels in (32, 64):
            for launch in launches(channels):
                for tile in launch.tiles:
                    if tile.runs_on(target.capability):
                        kernel = compiled(lambda: launch.run(tile), target.capability)  # noqa: B023
                        yield row(target, channels, tile, kernel)
        for width, kernel in without_tiles(target):
            yield row(target, width, None, kernel)


def traffic() -> Iterator[str]:
    """The table of bytes and operations of one pixel."""
    head = ("op", "C", "FLOP", "bytes, the floor", "bytes asked of the caches", "FLOP per byte")
    yield line(head)
    yield line(("---",) * len(head))
    for channels in (32, 64):
        for launch in launches(channels):
            intensity = f"{launch.flop / launch.bytes:.0f}"
            sizes = (launch.flop, launch.bytes, launch.asked_bytes, intensity)
            yield line((launch.op, channels, *sizes))


def stage() -> str:
    """Bytes and operations of a whole stage beside the floor of kernels/README.md."""
    units, cell, first, again, last, _ = launches(32)
    each = [*[units] * 10, cell, first, again]
    flop = sum(launch.flop for launch in each)
    # Every other convolution has no residual to read.
    moved = sum(launch.bytes for launch in each) - 5 * 64
    all_moved = 6 * moved + last.bytes - again.bytes
    return (
        f"A stage of 32 channels is {flop / 1000:.0f} kFLOP and moves {moved / 1000:.2f} kB per "
        f"pixel; six are {6 * flop * HEIGHT * WIDTH / 1e12:.2f} TFLOP and "
        f"{all_moved * HEIGHT * WIDTH / 1e9:.1f} GB per 1920×1080 frame."
    )


def report() -> Iterator[str]:
    yield "# What the kernels compile to"
    yield ""
    yield (
        f"Written by `make kernel-report` on {datetime.date.today()} with Triton "
        f"{triton.__version__} and PyTorch {torch.__version__}, float16, {WIDTH}×{HEIGHT}. "
        "Compiled ahead of time, without a GPU: nothing here is a time. "
        "Speed: nvidia-h200.md beside this file."
    )
    yield ""
    yield (
        "`spill loads` are reads of registers that went to memory. A tile that has any, or needs "
        "more shared memory than a program may have (99 KiB on sm_86, sm_89 and sm_120), ends the "
        "report with an error, and is not in the list that tuning chooses from. `mma` beside "
        "`wgmma` or `tcgen05` is the small product behind the tap sums. Occupancy is that of the "
        "registers and shared memory."
    )
    yield ""
    yield from resources()
    yield ""
    yield "## Operations and bytes of one pixel"
    yield ""
    yield stage()
    yield (
        "The floor counts each tensor once. What the caches are asked for counts each of the nine "
        "taps; how much of that the first-level cache answers is not measured yet."
    )
    yield ""
    yield from traffic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    out = parser.parse_args().out
    out.write_text("\n".join(report()) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
