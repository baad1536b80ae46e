"""The fastest way to run each op on this device, measured once and kept on disk.

Only `tune` measures, at start-up. While frames run, `chosen` looks into a dictionary; what was
never tuned runs by the first tile of its list that the device can run.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
import triton
from torch import Tensor

from sapnet_kernels.tile import Tile

_chosen: dict[str, Tile] = {}
# Milliseconds for each of some thirty tiles, before the first frame of a size.
_MEASURE = partial(triton.testing.do_bench, warmup=5, rep=30)


def key(op: str, x: Tensor, channels: int, dilation: int) -> str:
    """What a choice holds for; pixels are told to a power of two."""
    device = torch.cuda.get_device_name(x.device) if x.device.type == "cuda" else "cpu"
    dtype = str(x.dtype).removeprefix("torch.")
    bucket = (int(x.shape[0]) * int(x.shape[1]) - 1).bit_length()
    widths = f"{x.shape[2]} to {channels} channels"
    return f"{op}, {device}, {dtype}, {widths}, dilation {dilation}, 2^{bucket} pixels"


def runnable(tiles: Sequence[Tile], x: Tensor) -> list[Tile]:
    """The tiles of a list that are made for the device and dtype of a frame."""
    if x.device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(x.device)
        tiles = [tile for tile in tiles if tile.runs_on(10 * major + minor)]
    else:
        tiles = [tile for tile in tiles if not tile.gluon]
    if x.dtype != torch.float32:
        return tiles
    # For comparison only, and twice as large: nothing is held or loaded ahead.
    return [replace(tile, stages=1, resident=False) for tile in tiles if not tile.gluon]


def chosen(op: str, tiles: Sequence[Tile], x: Tensor, channels: int, dilation: int) -> Tile:
    """The tile to run `op` by on the frame `x` [H, W, C], to `channels` channels."""
    return _chosen.get(key(op, x, channels, dilation)) or runnable(tiles, x)[0]


def tune(
    op: str,
    tiles: Sequence[Tile],
    x: Tensor,
    channels: int,
    dilation: int,
    run: Callable[[Tile], object],
    measure: Callable[[Callable[[], object]], float] = _MEASURE,
    file: Path | None = None,
) -> None:
    """Make `chosen` return the fastest tile for frames like `x`; measure unless `file` knows.

    Args:
        op, tiles, x, channels, dilation: as for `chosen`.
        run: runs the op once by a tile.
        measure: milliseconds that a call takes.
        file: JSON; None is `cache_file()`. One that cannot be read is written anew.
    """
    file = file or cache_file()
    name, usable = key(op, x, channels, dilation), runnable(tiles, x)
    known = _read(file)
    tile = next((tile for tile in usable if asdict(tile) == known.get(name)), None)
    if tile is None:
        # The events that measure are of the current device.
        with torch.cuda.device_of(x):
            tile = min(usable, key=lambda tile: measure(lambda: run(tile)))
        # Where nothing can be kept, the next start measures again.
        with suppress(OSError):
            _write(file, {**known, name: asdict(tile)})
    _chosen[name] = tile


def cache_file() -> Path:
    """Where choices are kept: the user's cache, by the compiler's version."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "sapnet-stream" / f"tiles-triton-{triton.__version__}.json"


def _read(file: Path) -> dict[str, object]:
    try:
        choices = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _write(file: Path, choices: dict[str, object]) -> None:
    # Renamed into place: programs that start together never read half a file.
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
        json.dump(choices, part, indent=1)
    Path(part.name).replace(file)
