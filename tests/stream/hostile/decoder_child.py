"""Decodes the files named on standard input, or derains them, under limits of time and memory.

For each it prints one line of JSON. A child that dies, or is ended by its watchdog, has said
one line less than it was given files, so the culprit is known.
"""

import faulthandler
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from sapnet_stream.derain import derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import SapnetError
from sapnet_stream.job import Job
from sapnet_stream.video.codec import EncoderSettings
from sapnet_stream.video.decode import VideoDecoder

FILE_SECONDS = 120
MEMORY_BYTES = 1 << 30


class Unchanged:
    """Stands in for the network."""

    name = "unchanged"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def decode(path: Path) -> dict[str, Any]:
    """Times of the frames in seconds."""
    with VideoDecoder(path) as decoder:
        return {"times": [frame.seconds for frame in decoder]}


def derain(path: Path) -> dict[str, Any]:
    """Times of the frames that were written, and what was said of them."""
    target = path.with_name(f"{path.stem}.out.mkv")
    job = Job(path, target, encoder=EncoderSettings("ffv1"), part_seconds=0.4)
    warnings = derain_file(job, DerainEngine(executor=Unchanged())).warnings
    times = decode(target)["times"]
    target.unlink()
    return {"times": times, "warnings": warnings}


WORKS = {"decode": decode, "derain": derain}


def attempt(path: Path) -> dict[str, Any]:
    """What became of a file; a traceback is what must not be."""
    try:
        return WORKS[sys.argv[1]](path)
    except SapnetError as error:
        return {"error": str(error)}
    except BaseException:  # noqa: BLE001  whatever it is, the parent reports it with its file
        return {"traceback": traceback.format_exc()}


def peak_bytes() -> int:
    """The most memory this process ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    torch.set_num_threads(1)
    # Nobody pulls the plug here, and waiting for the disk is most of a short job.
    os.fsync = lambda fd: None  # noqa: ARG005  the name is fsync's own
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for line in sys.stdin:
        faulthandler.dump_traceback_later(FILE_SECONDS, exit=True)
        result = attempt(Path(line.rstrip("\n")))
        print(json.dumps({**result, "peak_bytes": peak_bytes()}), flush=True)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    faulthandler.enable()
    main()
