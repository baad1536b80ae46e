"""The network as published and as it is run here, beside two inference runtimes.

All contenders hold the same weights and take turns on the same picture, batch 1, all cores, so
that a machine whose speed drifts slows them alike, and without a graph of gradients. The network
for videos takes its turns on a few frames of one.
"""

import importlib.util
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.bench_compiled import compiled_network
from sapnet_stream.bench_video import FRAMES, video
from sapnet_stream.networks.executor import default_dtype
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.quantized_convolution import has_bytes
from sapnet_stream.networks.sapnet import SAPNet

Size = tuple[int, int]
SIZES: tuple[Size, ...] = ((720, 1280), (360, 640), (180, 320), (1080, 1920))
"""Height and width."""
ALL_UP_TO_PIXELS = 720 * 1280
"""Larger pictures only the quickest contenders get."""
VIDEO = STILL, MOVING = "video, camera still", "video, camera moves"
WRITTEN, COMPILED = "video as written, camera still", "video compiled, camera still"
Prepare = Callable[[SAPNet, Tensor], Callable[[], object]]


@dataclass(frozen=True)
class ModelResult:
    """Seconds of one contender on one size, run by run.

    Attributes:
        name: whose graph, in which runtime.
        runtime: and its version.
        dtype: of the arithmetic.
        height, width: of the picture.
        seconds: one figure per run; empty where the runtime is not installed.
    """

    name: str
    runtime: str
    dtype: str
    height: int
    width: int
    seconds: list[float]

    def is_baseline(self, name: str, dtype: str, other: "ModelResult") -> bool:
        """Whether this is that network in PyTorch, on the other's size."""
        return (
            (self.name, self.dtype) == (name, dtype)
            and self.runtime.startswith("torch ")
            and (self.height, self.width) == (other.height, other.width)
        )


@dataclass(frozen=True)
class Contender:
    """A way to run a network; `prepare` gives what is timed.

    Attributes:
        name: whose graph, or which network.
        package: the runtime's.
        dtype: of the arithmetic.
        prepare: from the network and a picture; what needs no other network ignores it.
        more: packages it needs beside.
        compiles: it needs a C++ compiler too.
        frames: that each call derains.
    """

    name: str
    package: str
    dtype: str
    prepare: Prepare
    more: tuple[str, ...] = ()
    compiles: bool = False
    frames: int = 1

    def __str__(self) -> str:
        return f"{self.name}, {self.package} {self.dtype}"

    @property
    def runtime(self) -> str:
        """Package and version, or what is not installed."""
        if self.missing:
            return f"{', '.join(self.missing)} not installed"
        return f"{self.package} {metadata.version(self.package)}"

    @property
    def is_quick(self) -> bool:
        """Whether it is tried on large pictures too."""
        fastest = str(default_dtype(torch.device("cpu"))).removeprefix("torch.")
        if self.name in VIDEO:
            return self.dtype in (fastest, "int8")
        return (self.name, self.dtype) == ("folded", fastest)

    @property
    def missing(self) -> list[str]:
        """What to install first."""
        lacking = [p for p in (self.package, *self.more) if importlib.util.find_spec(p) is None]
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
        return [*lacking, "C++ compiler"] if self.compiles and not compiler else lacking


def contenders() -> list[Contender]:
    """The network as published first: the others are measured against it."""
    able = {"float32"}
    if default_dtype(torch.device("cpu")) == torch.bfloat16:
        able.add("bfloat16")
    if has_bytes():
        able.add("int8")
    listed = [
        Contender("published", "torch", "float32", _published),
        Contender("published", "onnxruntime", "float32", _onnxruntime, ("onnx", "onnxscript")),
        Contender("published", "openvino", "float32", _openvino("f32")),
        Contender("folded", "torch", "float32", _folded(torch.float32)),
        Contender("compiled", "torch", "float32", _compiled(torch.float32), compiles=True),
        Contender("rearranged", "openvino", "float32", _rearranged(torch.float32)),
        Contender("published", "openvino", "bfloat16", _openvino("bf16")),
        Contender("folded", "torch", "bfloat16", _folded(torch.bfloat16)),
        Contender("compiled", "torch", "bfloat16", _compiled(torch.bfloat16), compiles=True),
        Contender("rearranged", "openvino", "bfloat16", _rearranged(torch.bfloat16)),
        _video(WRITTEN, "float32", video("as written", torch.float32, moving=False)),
        *_videos("float32", torch.float32),
        *_videos("bfloat16", torch.bfloat16),
        *_videos("int8", torch.int8),
    ]
    # Without instructions for them others are emulated; nobody would choose that.
    return [c for c in listed if c.dtype in able]


def _videos(name: str, dtype: torch.dtype) -> list[Contender]:
    """The video network, rearranged, in one dtype."""
    listed = [
        _video(STILL, name, video("rearranged", dtype, moving=False)),
        _video(MOVING, name, video("rearranged", dtype, moving=True)),
    ]
    if dtype.is_floating_point:
        compiled = video("compiled", dtype, moving=False)
        listed.append(_video(COMPILED, name, compiled, compiles=True))
    return listed


def _video(name: str, dtype: str, prepare: Prepare, *, compiles: bool = False) -> Contender:
    return Contender(name, "torch", dtype, prepare, compiles=compiles, frames=FRAMES)


def measure_models(
    network: SAPNet, runs: int, sizes: Sequence[Size], say: Callable[[str], object]
) -> Iterator[list[ModelResult]]:
    """Time every contender, `runs` rounds after one warm-up; yields the results of each size.

    Args:
        network: in all contenders that are no network for videos.
        runs: counted rounds.
        sizes: height and width of each.
        say: takes a line on what is being done, whenever that changes.
    """
    network = network.eval().requires_grad_(False)
    for size in sizes:
        with torch.inference_mode():
            results = _measure_size(network, size, runs, say)
        yield results


def _measure_size(
    network: SAPNet, size: Size, runs: int, say: Callable[[str], object]
) -> list[ModelResult]:
    # What was compiled for the sizes before counts against a limit.
    torch.compiler.reset()
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = math.prod(size) <= ALL_UP_TO_PIXELS
    listed = [c for c in contenders() if whole or c.is_quick]
    ready = [(c, None if c.missing else c.prepare(network, image)) for c in listed]
    seconds: list[list[float]] = [[] for _ in ready]
    for run in range(runs + 1):
        round_name = f"round {run} of {runs}" if run else "warm-up"
        for (contender, call), taken in zip(ready, seconds, strict=True):
            if call is not None:
                say(f"{size[1]}x{size[0]}, {round_name}: {contender}")
                began = time.perf_counter()
                call()
                if run:
                    taken.append((time.perf_counter() - began) / contender.frames)
    return [
        ModelResult(c.name, c.runtime, c.dtype, *size, taken)
        for (c, _), taken in zip(ready, seconds, strict=True)
    ]


def _published(network: SAPNet, image: Tensor) -> Callable[[], object]:
    return lambda: network(image)


def _folded(dtype: torch.dtype) -> Prepare:
    def prepare(network: SAPNet, image: Tensor) -> Callable[[], object]:
        executor = FoldedExecutor(network, device=image.device, dtype=dtype)
        return lambda: executor(image)

    return prepare


def _compiled(dtype: torch.dtype) -> Prepare:
    return lambda network, image: compiled_network(network, image, dtype, "default")


def _rearranged(dtype: torch.dtype) -> Prepare:
    def prepare(network: SAPNet, image: Tensor) -> Callable[[], object]:
        from sapnet_stream.networks.openvino import OpenVINOExecutor

        executor = OpenVINOExecutor(network, dtype=dtype)
        return lambda: executor(image)

    return prepare


def _onnxruntime(network: SAPNet, image: Tensor) -> Callable[[], object]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sapnet.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (image,), path, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name, pixels = session.get_inputs()[0].name, image.numpy()
    return lambda: session.run(None, {name: pixels})


def _openvino(precision: str) -> Prepare:
    def prepare(network: SAPNet, image: Tensor) -> Callable[[], object]:
        import sapnet_stream.networks.no_telemetry  # noqa: F401, I001 - before OpenVINO
        import openvino

        with warnings.catch_warnings():
            # The converter traces, which PyTorch warns of: of the deprecated call, and of our
            # checks of the shape, which is fixed here.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(network, example_input=image, input=[list(image.shape)])
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.compile_model(model, "CPU", options).create_infer_request()
        pixels = image.numpy()
        return lambda: request.infer({0: pixels}, share_inputs=True, share_outputs=True)

    return prepare
