"""What this machine and installation can do, for a person who asks why."""

import platform
from collections.abc import Iterator
from importlib import metadata

import av
import torch

import sapnet_stream
from sapnet_stream.networks.executor import default_dtype
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.networks.weights import BUNDLED, bundled_names, load_either, read_card
from sapnet_stream.video.codec import ENCODERS

# The fix of CVE-2026-107697 is in FFmpeg 8.1.3; libavformat's version tells them apart.
FIXED_AVFORMAT = (62, 12, 103)


def report() -> Iterator[tuple[str, str]]:
    """Pairs of a subject and what holds for it here.

    Raises:
        WeightsError: bundled weights are damaged.
    """
    yield "sapnet-stream", sapnet_stream.__version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in ("torch", "triton", "av", "openvino"):
        yield name, _version(name)
    yield from _ffmpeg()
    for device in _devices():
        free = available_bytes(device) / 2**30
        image, video = (
            str(default_dtype(device, video=of_videos)).removeprefix("torch.")
            for of_videos in (False, True)
        )
        dtypes = image if image == video else f"{image} for images, {video} for videos"
        yield str(device), f"{_device_name(device)}, {free:.1f} GiB free, default dtype {dtypes}"
    for name in bundled_names():
        network = load_either(name)
        card = read_card(BUNDLED / f"{name}.safetensors")
        kind = type(network).__name__
        yield f"weights {name}", f"{kind}, sha256 {card['sha256'][:16]}, intact"
    missing = [e.name for e in ENCODERS.values() if e.name not in av.codecs_available]
    yield "encoders", "all built in" if not missing else f"missing {', '.join(missing)}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _ffmpeg() -> Iterator[tuple[str, str]]:
    version = av.library_versions["libavformat"]
    text = "libavformat " + ".".join(map(str, version))
    if version < FIXED_AVFORMAT:
        text += ", older than the fix of CVE-2026-107697: open only files you trust"
    yield "ffmpeg", text


def _devices() -> list[torch.device]:
    cuda = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [torch.device("cpu"), *cuda]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
