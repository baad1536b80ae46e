"""Whether frames of several cameras are derained faster together than one by one, on a CPU.

    python -m tests.stream.live.batching --csv tests/stream/live/results/batching.csv

A row is one network in one runtime, one size and one number of cameras. The two ways take turns
within a process, so that a machine whose speed drifts slows both alike; `ratio` is the median of
the time one by one over the time the other way, of pairs: above 1 the other way is faster.

The folded executors put each frame's own attention into their weights, so a batch of frames has
no common weights. What can be batched is the network as written, channels last, and OpenVINO's
graph. "turns" compares frames from one thread with the same frames from a thread a camera, which
is how `sapnet-stream live` runs.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import openvino
import torch
from torch import Tensor

from sapnet_stream.networks.background import STATISTICS
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.openvino import PRECISIONS, OpenVINOExecutor, folded_graph
from sapnet_stream.networks.weights import load_network, load_video_network
from tests.stream.live.table import write_table

HEADER = (
    *("network", "other", "dtype", "width", "height", "cameras"),
    *("one_by_one_seconds", "other_seconds", "ratio", "runs", "threads"),
)
SIZES = ((180, 320), (360, 640))  # height, width
CAMERAS = (2, 4)
# Six do the same three times.
STAGES = 2
DTYPE = torch.bfloat16

Work = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Two ways to derain a frame of each camera.

    Attributes:
        network, other: which network one by one, and what the other way is.
        dtype: of the arithmetic of both.
        one_by_one, together: do it.
    """

    network: str
    other: str
    dtype: torch.dtype
    one_by_one: Work
    together: Work


def in_openvino(height: int, width: int, count: int) -> Pair:
    """N requests of one frame, and one of N."""
    images = torch.rand(count, 3, height, width)
    executor = OpenVINOExecutor(load_network(), dtype=DTYPE, stages=STAGES)
    model = folded_graph(load_network(), STAGES)
    model.reshape([count, 3, height, width])
    options = {"INFERENCE_PRECISION_HINT": PRECISIONS[DTYPE], "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.compile_model(model, "CPU", options).create_infer_request()
    pixels = images.numpy()

    def together() -> object:
        return request.infer([pixels], share_inputs=True, share_outputs=True)

    return Pair("sapnet, openvino", "a batch", DTYPE, lambda: executor(images), together)


def in_torch(height: int, width: int, count: int) -> Pair:
    """Folded one by one, and as written in one batch."""
    images = torch.rand(count, 3, height, width)
    executor = FoldedExecutor(
        load_network(), device=images.device, dtype=DTYPE, stages=STAGES, memory_bytes=None
    )
    written = load_network().requires_grad_(False).to(DTYPE)
    written = written.to(memory_format=torch.channels_last)
    batch = images.to(DTYPE, memory_format=torch.channels_last)

    def together() -> object:
        return written(batch, STAGES)

    return Pair("sapnet, folded", "a batch as written", DTYPE, lambda: executor(images), together)


def _frames(height: int, width: int, count: int, dtype: torch.dtype) -> list[Tensor]:
    """What a step of the video network takes: frame, past, seen, h and c."""
    shapes = [(3, height, width), (3 * (STATISTICS + 1), height, width), (1, height, width)]
    taken = [torch.rand(count, *shape) for shape in shapes]
    h = torch.rand(count, 32, height // 2, width // 2)
    return [*taken, h.to(dtype, memory_format=torch.channels_last), h]


def video_written(height: int, width: int, count: int) -> Pair:
    """The video network's step, as written both times: what a batch by itself gains."""
    written = load_video_network().requires_grad_(False).to(memory_format=torch.channels_last)
    batch = _frames(height, width, count, torch.float32)
    singles = [[each[n : n + 1] for each in batch] for n in range(count)]

    def one_by_one() -> object:
        return [written.step(*single) for single in singles]

    def together() -> object:
        return written.step(*batch)

    return Pair("video, as written", "a batch", torch.float32, one_by_one, together)


def video_folded(height: int, width: int, count: int) -> Pair:
    """The step as it runs, beside a batch as written: what a batch would gain today."""
    written = video_written(height, width, count)
    folded = FoldedVideo(load_video_network(), device=torch.device("cpu"), dtype=torch.float32)
    batch = _frames(height, width, count, torch.float32)
    singles = [[each[n : n + 1] for each in batch] for n in range(count)]

    def one_by_one() -> object:
        return [folded.step(*single) for single in singles]

    return Pair("video, folded", "a batch as written", torch.float32, one_by_one, written.together)


def video_turns(height: int, width: int, count: int) -> Pair:
    """The step as it runs, from one thread, and from a thread a camera in turns."""
    folded = FoldedVideo(load_video_network(), device=torch.device("cpu"), dtype=DTYPE)
    batch = _frames(height, width, count, DTYPE)
    singles = [[each[n : n + 1] for each in batch] for n in range(count)]
    threads = [ThreadPoolExecutor(1) for _ in range(count)]

    def one_by_one() -> object:
        return [threads[0].submit(folded.step, *single).result() for single in singles]

    def in_turns() -> object:
        pairs = zip(threads, singles, strict=True)
        return [thread.submit(folded.step, *single).result() for thread, single in pairs]

    return Pair("video, folded", "turns", DTYPE, one_by_one, in_turns)


PAIRS = (in_openvino, in_torch, video_written, video_folded, video_turns)


@torch.no_grad()
def measure(runs: int, sizes: Iterable[tuple[int, int]] = SIZES) -> Iterator[tuple[object, ...]]:
    """A row for each pair; see `HEADER`."""
    for height, width in sizes:
        for count in CAMERAS:
            for prepare in PAIRS:
                pair = prepare(height, width, count)
                ways = pair.one_by_one, pair.together
                for way in ways:
                    way()
                # By turns who comes first.
                both = [
                    [_seconds(way) for way in ways[:: 1 - 2 * (run % 2)]][:: 1 - 2 * (run % 2)]
                    for run in range(runs)
                ]
                ratio = statistics.median(one / other for one, other in both)
                medians = [statistics.median(taken) for taken in zip(*both, strict=True)]
                names = pair.network, pair.other, str(pair.dtype).removeprefix("torch.")
                figures = [f"{each:.4g}" for each in (*medians, ratio)]
                yield (*names, width, height, count, *figures, runs, torch.get_num_threads())


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--csv", type=Path, default=Path("batching.csv"))
    options = parser.parse_args()
    write_table(options.csv, HEADER, measure(options.runs))


if __name__ == "__main__":
    main()
