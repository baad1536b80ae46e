"""Every tile that tuning may choose compiles for real GPUs, without spilling, and fits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Triton interprets in this process; a compiler needs one of its own.
SCRIPT = """
import dataclasses, json, sys
import torch
from sapnet_kernels import (
    attention_scale, image_pair, rgb_residual_to_yuv420, video_input, video_output, yuv420_to_rgb
)
from sapnet_kernels.compiled import compiled
from sapnet_kernels.launches import image_launches, layer_launches, video_launches

capability, channels, height, width = map(int, sys.argv[1:5])
size, where = (height, width, channels), (torch.device("meta"), getattr(torch, sys.argv[5]))
launches = [
    *layer_launches(*size, [min(height, 2)], *where),
    *image_launches(*size, *where),
    *video_launches(*size, *where),
]
for launch in launches:
    for tile in launch.tiles:
        if tile.runs_on(capability):
            kernel = compiled(lambda: launch.run(tile), capability)
            print(json.dumps(dataclasses.asdict(kernel)))
sample = torch.zeros(height, width, dtype=torch.uint8, device="meta")
chroma = sample[::2, ::2]
planes = sample, chroma, chroma, 0.299, 0.114, 8, False
change = sample.new_zeros(3, height, width, dtype=torch.float32)
heads = change.new_zeros(channels + 2, 9 * channels)
sums, expand = change.new_zeros(height, 9, channels), heads[:channels, :2]
even = change.new_zeros(3, 2 * height, 2 * width)
past, decision = even.new_zeros(12, *even.shape[1:]), launches[0].x
for run in (
    lambda: yuv420_to_rgb.launch(*planes),
    lambda: rgb_residual_to_yuv420.launch(change, *planes),
    lambda: attention_scale.launch(sums, heads, heads[:, 0], expand, height * width),
    lambda: image_pair.launch(change, decision.dtype),
    lambda: video_input.launch(even, past, even[:1], decision.dtype),
    lambda: video_output.launch(decision, even, past, 3),
):
    print(json.dumps(dataclasses.asdict(compiled(run, capability))))
"""
ONE_TILE = """
import torch
from sapnet_kernels.compiled import compiled
from sapnet_kernels.launches import layer_launches

for height, width in (1080, 1920), (720, 1281):
    where = torch.device("meta"), torch.float16
    *convolutions, _ = layer_launches(height, width, 32, [1, 2, 16], *where)
    for launch in convolutions:
        compiled(lambda: launch.run(launch.tiles[-1]), 86)
"""
SHARED_KIB = {86: 99, 90: 227, 100: 227, 120: 99}
MATRIX_INSTRUCTIONS = {86: "mma", 90: "wgmma", 100: "tcgen05", 120: "mma"}


def kernels(
    cache: Path, capability: int, channels: int, size: tuple[int, int], dtype: str
) -> list[dict[str, object]]:
    printed = run(cache, SCRIPT, capability, channels, *size, dtype)
    return [json.loads(line) for line in printed.splitlines()]


def run(cache: Path, script: str, *arguments: object) -> str:
    """What a script prints that compiles."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**environment, "TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("capability", "channels", "dtype"),
    [(86, 32, "float16"), (90, 32, "float16"), (100, 64, "float16"), (120, 32, "bfloat16")],
)
def test_tiles_neither_spill_nor_overflow(
    capability: int, channels: int, dtype: str, tmp_path: Path
) -> None:
    compiled = kernels(tmp_path, capability, channels, (1080, 1920), dtype)
    assert len(compiled) >= 10
    for kernel in compiled:
        assert kernel["spill_loads"] == 0, kernel
        assert int(str(kernel["shared_bytes"])) <= SHARED_KIB[capability] * 1024, kernel
        if "conv" in str(kernel["name"]):
            assert MATRIX_INSTRUCTIONS[capability] in str(kernel["tensor_cores"]), kernel


def test_a_size_of_one_compiles(tmp_path: Path) -> None:
    """Triton takes an argument of 1 for a constant, which is another type."""
    assert kernels(tmp_path, 90, 32, (1, 1), "float16")


def test_all_sizes_and_dilations_share_a_kernel(tmp_path: Path) -> None:
    """On a GPU each that is compiled takes seconds before the first frame."""
    run(tmp_path, ONE_TILE)
    binaries = sorted(file.stem for file in tmp_path.rglob("*.cubin"))
    assert binaries == ["_fused_dilated_conv_kernel"]
