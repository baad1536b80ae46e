"""What runs the networks on a GPU: as published, as someone runs them who tunes, and as here.

Shapes: H height, W width.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from typing import TypeVar, cast

import torch
from torch import Tensor

from benchmarks.timing import Call, recorded
from sapnet_stream.bench_compiled import compiled_network
from sapnet_stream.networks.background import LONG, STATISTICS
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.fused import FusedExecutor
from sapnet_stream.networks.fused_video import FusedVideo
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.video_stream import FrameExecutor, VideoStream

HALF = torch.float16
EAGER = "as written, eager, float32 NCHW"
RECORDED = "as written, float16 channels last, CUDA graph"
FOLDED = "folded, float16 channels last, CUDA graph"
COMPILED = "folded, float16, torch.compile max-autotune, CUDA graph"
OURS = "fused, float16"
T = TypeVar("T")
Makers = Mapping[str, Callable[[], Call]]
# Of torch.compile: the graph is ours to record.
MODE = "max-autotune-no-cudagraphs"


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
