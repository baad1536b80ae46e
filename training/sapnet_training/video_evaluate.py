"""Scores a video network: `python -m sapnet_training.video_evaluate --data RAINY[:CLEAN]`.

Folders of consecutive frames, or `--static`, the static-camera benchmark. PSNR and SSIM on Y
of outputs rounded to uint8, see `metrics`. Flicker is how much Y changes, in grey levels, from
the last frame, moved to where the camera looks now, to this one.

Shapes: T frames, H height, W width.
"""

import argparse
import csv
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import InputError, OutputError, SapnetError, UsageError
from sapnet_stream.networks.alignment import mesh_between, seen_from_now, small_factor
from sapnet_stream.networks.background import BackgroundMemory
from sapnet_stream.networks.camera import Camera
from sapnet_stream.networks.executor import default_dtype
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import VIDEO_NAME, load_video_network
from sapnet_training.data import image_files, read_image
from sapnet_training.metrics import luma, psnr, ssim_255
from sapnet_training.pairs import match
from sapnet_training.static_camera import LAST_SEEN, StaticClip, luma_error, static_clips

Record = dict[str, float]


class Forgetful(BackgroundMemory):
    """Remembers nothing: what the network does without its background memory."""

    def push(self, *_: object) -> None:
        """Nothing."""


@torch.inference_mode()
def derained(
    network: SAPNetVideo, frames: Iterable[Tensor], forget: bool = False
) -> Iterator[Tensor]:
    """[3, H, W] uint8 frame after frame of one video, in the CPU's fastest precision."""
    state = None
    dtype = default_dtype(torch.device("cpu"))
    for frame in frames:
        if state is None:
            state = network.initial(frame.shape[1], frame.shape[2])
            state = replace(state, memory=Forgetful()) if forget else state
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output, state = network(frame[None].float() / 255, state)
        yield (output[0].clamp(0, 1) * 255).round().to(torch.uint8)


def flickers(frames: Iterable[Tensor], camera_of: Iterable[Tensor]) -> Iterator[float]:
    """Of each frame but the first, [3, H, W] uint8; the camera is followed in `camera_of`."""
    camera, last, before = Camera(), None, None
    for frame, seen in zip(frames, camera_of, strict=True):
        camera.follow(seen.float() / 255)
        y = luma(frame).float()[None]
        if last is not None and before is not None:
            mesh = mesh_between(camera.view, before, small_factor(*frame.shape[1:]))
            yield (y - seen_from_now(last, mesh, y)).abs().mean().item()
        last, before = y, camera.view


def folder_scores(
    network: SAPNetVideo, rainy: list[Path], clean: list[Path] | None, forget: bool = False
) -> list[Record]:
    """Of each frame: seconds, flicker of input and output, and with clean frames PSNR and SSIM.

    Raises:
        InputError: a frame is unreadable or differs in size.
    """
    frames = [read_image(path) for path in rainy]
    if any(frame.shape != frames[0].shape for frame in frames):
        raise InputError(f"the frames in {rainy[0].parent} differ in size")
    outputs, records = [], []
    began = time.monotonic()
    for number, output in enumerate(derained(network, frames, forget)):
        record = {"frame": number + 1.0, "seconds": time.monotonic() - began}
        if clean is not None:
            target = read_image(clean[number])
            if target.shape != output.shape:
                raise InputError(f"{rainy[number]} and {clean[number]} differ in size")
            for name, image in (("rainy", frames[number]), ("derained", output)):
                record[f"{name}_psnr"] = psnr(luma(image), luma(target))
                record[f"{name}_ssim"] = ssim_255(luma(image), luma(target))
        records.append(record)
        outputs.append(output)
        began = time.monotonic()
    for name, images in (("rainy", frames), ("derained", outputs)):
        for record, value in zip(records[1:], flickers(images, frames), strict=True):
            record[f"{name}_flicker"] = value
    return records


def static_scores(clip: StaticClip, outputs: Iterable[Tensor]) -> list[Record]:
    """Of each frame: PSNR on Y outside the object, and where it has just been ("trail")."""
    records = []
    for number, output in enumerate(outputs):
        error = luma_error(output[None], clip.scene[number : number + 1])
        outside = ~clip.covered[number : number + 1]
        trail = clip.covered[max(0, number - LAST_SEEN) : number].any(0)[None] & outside
        record = {"frame": number + 1.0, "psnr": _decibels(error[outside])}
        if trail.any():
            record["trail"] = _decibels(error[trail])
        records.append(record)
    return records


def medians(clip: StaticClip, frames: int) -> Iterator[Tensor]:
    """The median of the last `frames` frames, this one included."""
    for number in range(len(clip.rainy)):
        yield clip.rainy[max(0, number + 1 - frames) : number + 1].median(0).values


@torch.inference_mode()
def one_by_one(network: SAPNet, clip: StaticClip) -> Iterator[Tensor]:
    """The paper's network on each frame."""
    for frame in clip.rainy:
        yield (network(frame[None].float() / 255)[0].clamp(0, 1) * 255).round().to(torch.uint8)


def means(records: list[Record]) -> Record:
    """Over the frames that have a value, of each column."""
    names = dict.fromkeys(name for record in records for name in record if name != "frame")
    return {name: statistics.fmean(r[name] for r in records if name in r) for name in names}


def write_csv(path: Path, records: list[Record]) -> None:
    """A line per frame.

    Raises:
        OutputError: the file cannot be written.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for record in records:
                writer.writerow({name: round(value, 4) for name, value in record.items()})
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def _decibels(squares: Tensor) -> float:
    error = squares.mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def run(options: argparse.Namespace) -> str:
    """What the command does; the line it prints."""
    network = load_video_network(options.weights)
    if options.static == bool(options.data):
        raise UsageError("give either --data or --static")
    if options.static:
        clips = static_clips()
        parts = [
            static_scores(clip, derained(network, clip.rainy, options.forget)) for clip in clips
        ]
        records = [means(list(frames)) for frames in zip(*parts, strict=True)]
        records = [{"frame": n + 1.0, **record} for n, record in enumerate(records)]
    else:
        rainy, colon, clean = options.data.partition(":")
        pairs = match(image_files(Path(rainy)), image_files(Path(clean))) if colon else None
        files = [pair.rainy for pair in pairs] if pairs else image_files(Path(rainy))
        targets = [pair.clean for pair in pairs] if pairs else None
        records = folder_scores(network, files, targets, options.forget)
    if options.csv is not None:
        write_csv(options.csv, records)
    scored = [record for record in records if record["frame"] >= options.first]
    if not scored:
        raise UsageError(f"--first must be 1 to {len(records)}, got {options.first}")
    columns = "  ".join(f"{name} {value:.4g}" for name, value in means(scored).items())
    return f"frames {options.first} to {len(records)}: {columns}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sapnet_training.video_evaluate")
    parser.add_argument("--weights", default=VIDEO_NAME, metavar="NAME_OR_PATH")
    parser.add_argument("--data", metavar="RAINY[:CLEAN]", help="folders of consecutive frames")
    parser.add_argument("--static", action="store_true", help="the static-camera benchmark")
    parser.add_argument("--first", type=int, default=9, metavar="N", help="first frame scored")
    parser.add_argument("--forget", action="store_true", help="without background memory")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a line per frame")
    try:
        print(run(parser.parse_args()))
    except SapnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
