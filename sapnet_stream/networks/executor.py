"""How a network is run: chosen once, at start.

`eager` is the network as written, `folded` the same function rearranged, `openvino` the
rearranged graph inside that runtime where it is installed, `fused` the rearranged function in
Triton kernels on a GPU, `quantized` the network for videos in bytes.
"""

import importlib.util
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.quantized_convolution import has_bytes
from sapnet_stream.networks.quantized_video import QuantizedVideo
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.video_stream import FrameExecutor, VideoExecutor, VideoStream
from sapnet_stream.triton_device import has_triton

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
"""Of the arithmetic, by the names that people give."""


class Executor(Protocol):
    """Derains images; made for one network, device, dtype and number of stages."""

    name: str

    def __call__(self, image: Tensor) -> Tensor:
        """Derain [N, 3, H, W] RGB float32 in [0, 1] on the executor's device, any H, W >= 1.

        Returns the same shape, float32, not clamped.

        Raises:
            TooLargeError: before any work, if a frame of this size does not fit.
        """
        ...

    def check_memory(self, height: int, width: int) -> None:
        """Make sure that a frame of this size fits.

        Raises:
            TooLargeError: it does not; the message names the bytes it needs.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """An executor to whose network the pictures before matter.

    Called like any other `Executor`, it takes every image for the first of a video.
    """

    past_frames: int

    def stream(self) -> VideoStream:
        """The way of one video."""
        ...


def default_dtype(device: torch.device, *, video: bool = False) -> torch.dtype:
    """The fastest dtype whose result cannot be told from float32 by eye.

    float16 on CUDA; bfloat16 on a CPU with instructions for it; elsewhere float32, or int8 for
    videos on a CPU with AVX2.

    Args:
        device: where.
        video: of the network for videos.
    """
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        if able.get("avx512_bf16") or able.get("amx_bf16"):
            return torch.bfloat16
        if video and has_bytes():
            return torch.int8
    return torch.float32


def choose_executor(
    network: SAPNet | SAPNetVideo,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    stages: int | None,
    memory_bytes: int | None,
) -> Executor:
    """The fastest executor of `network` for `device`.

    Args:
        network: any of its variants; its weights are taken over.
        device: where it runs.
        dtype: of weights and activations, None for `default_dtype`.
        stages: how many to run, None for all the network has.
        memory_bytes: what a frame may take, None for what the machine has available.

    Raises:
        UsageError: stages is not between 1 and what the network has, or int8 is not for it.
    """
    dtype = dtype or default_dtype(device, video=isinstance(network, SAPNetVideo))
    if dtype == torch.int8:
        _check_bytes(network, device)
    if isinstance(network, SAPNetVideo):
        if stages is not None:
            raise UsageError("--stages is for --model sapnet: the video network looks once")
        return VideoExecutor(frame_executor(network, device, dtype), device, dtype, memory_bytes)
    if _has_kernels(network, device, dtype):
        from sapnet_stream.networks.fused import FusedExecutor

        return FusedExecutor(
            network, device=device, dtype=dtype, stages=stages, memory_bytes=memory_bytes
        )
    if device.type == "cpu" and importlib.util.find_spec("openvino"):
        from sapnet_stream.networks.openvino import PRECISIONS, OpenVINOExecutor

        if dtype in PRECISIONS:
            return OpenVINOExecutor(network, dtype=dtype, stages=stages, memory_bytes=memory_bytes)
    return FoldedExecutor(
        network, device=device, dtype=dtype, stages=stages, memory_bytes=memory_bytes
    )


def _check_bytes(network: SAPNet | SAPNetVideo, device: torch.device) -> None:
    if not isinstance(network, SAPNetVideo):
        raise UsageError("--dtype int8 is for --model video: leave it out, or ask for that model")
    if device.type != "cpu":
        raise UsageError("--dtype int8 is for CPUs: leave it out, or add --device cpu")
    if not has_bytes():
        raise UsageError("--dtype int8 needs a CPU of the kind x86 with AVX2: leave it out")


def frame_executor(network: SAPNetVideo, device: torch.device, dtype: torch.dtype) -> FrameExecutor:
    """What runs a network for videos frame by frame; see `choose_executor`."""
    if _has_kernels(network, device, dtype):
        from sapnet_stream.networks.fused_video import FusedVideo

        return FusedVideo(network, device=device, dtype=dtype)
    if dtype == torch.int8:
        return QuantizedVideo(network, dtype=default_dtype(device))
    return FoldedVideo(network, device=device, dtype=dtype)


def _has_kernels(network: SAPNet | SAPNetVideo, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the fused kernels are made for this network and device."""
    halves = dtype in (torch.float16, torch.bfloat16)
    return halves and network.config.channels in (32, 64) and has_triton(device)
