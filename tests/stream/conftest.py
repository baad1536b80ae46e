"""Small video files made with PyAV, read back without any code of the package."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from sapnet_stream.derain import Report, derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.job import Job
from sapnet_stream.video.codec import EncoderSettings

MILLISECOND = Fraction(1, 1000)


class Constant:
    """Stands in for the network: adds the same amount to every sample."""

    name = "constant"

    def __init__(self, amount: float = 0.0) -> None:
        self.amount = amount

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + self.amount

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@dataclass
class Sound:
    """One audio or subtitle stream to put beside the video."""

    codec: str
    language: str = "eng"


@dataclass
class Clip:
    """What a file holds: of the video, times in seconds and planes; of others, packets."""

    times: list[Fraction] = field(default_factory=list)
    planes: list[list[np.ndarray[Any, Any]]] = field(default_factory=list)
    packets: list[list[tuple[bytes, Fraction, Fraction]]] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)

    def is_same(self, other: "Clip") -> bool:
        """In time, in every sample, and in what travels beside it."""
        return (
            self.times == other.times
            and self.packets == other.packets
            and all(
                np.array_equal(a, b)
                for left, right in zip(self.planes, other.planes, strict=True)
                for a, b in zip(left, right, strict=True)
            )
        )


def _noise_picture(width: int, height: int, pixel_format: str, seed: int) -> av.VideoFrame:
    """A picture of random bits; bits a sample does not have are cleared."""
    generator = np.random.default_rng(seed)
    picture = av.VideoFrame(width, height, pixel_format)
    bits = picture.format.components[0].bits
    shift = 16 - bits if pixel_format.startswith("p0") else 0
    for plane in picture.planes:
        if bits == 8:
            samples = generator.integers(0, 256, plane.buffer_size).astype(np.uint8)
        else:
            codes = generator.integers(0, 2**bits, plane.buffer_size // 2)
            samples = (codes << shift).astype(np.uint16)
        plane.update(samples.tobytes())
    return picture


def _smooth_picture(width: int, height: int, pixel_format: str, number: int) -> av.VideoFrame:
    """A ramp that moves, for lossy codecs: each frame differs from the others."""
    rows, columns = np.mgrid[:height, :width]
    ramp = (rows * 2 + columns * 3 + number * 16) % 256
    rgb = np.stack((ramp, 255 - ramp, (ramp + 80) % 256), axis=2).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixel_format)


def _add_sounds(container: Any, sounds: Sequence[Sound], seconds: float) -> list[Any]:
    packets = []
    for number, sound in enumerate(sounds):
        if sound.codec in ("mov_text", "subrip"):
            continue
        stream = container.add_stream(sound.codec, rate=48000)
        stream.codec_context.layout = "mono"
        stream.metadata["language"] = sound.language
        kind = "s16" if sound.codec in ("pcm_s16le", "libopus", "flac") else "fltp"
        total, position = int(seconds * 48000), 0
        while position < total:
            wave = np.sin(np.arange(position, position + 960) * (0.02 + 0.01 * number))
            samples = (wave * 9000).astype(np.int16) if kind == "s16" else wave.astype(np.float32)
            block = av.AudioFrame.from_ndarray(samples[None], kind, "mono")
            block.sample_rate, block.pts = 48000, position
            block.time_base = Fraction(1, 48000)
            packets += stream.encode(block)
            position += 960
        packets += stream.encode(None)
    return packets


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Frames this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small file into the test's folder."""

    def make(
        name: str = "rainy.mkv",
        codec: str = "ffv1",
        pixel_format: str = "yuv420p",
        size: tuple[int, int] = (64, 48),
        ticks: Sequence[int] = range(12),
        time_base: Fraction = Fraction(1, 25),
        rate: Fraction | None = None,
        sounds: Sequence[Sound] = (),
        noise: bool = True,
        options: dict[str, str] | None = None,
        sample_aspect_ratio: Fraction | None = None,
        colour: tuple[int, int, int, int] | None = None,
        display_matrix: Sequence[int] | None = None,
        metadata: dict[str, str] | None = None,
        chapters: Sequence[Any] = (),
    ) -> Path:
        path = tmp_path / name
        with av.open(f"file:{path}", "w") as container:
            video: Any = container.add_stream(
                codec, rate=rate or 1 / time_base, options=options or {}
            )
            context = video.codec_context
            context.width, context.height = size
            context.pix_fmt, context.time_base = pixel_format, time_base
            if sample_aspect_ratio:
                context.sample_aspect_ratio = sample_aspect_ratio
            if colour:
                context.colorspace, context.color_range = colour[:2]
                context.color_primaries, context.color_trc = colour[2:]
            if display_matrix:
                video.set_display_matrix(display_matrix)
            container.metadata.update(metadata or {})
            if chapters:
                container.set_chapters(list(chapters))
            packets = _add_sounds(container, sounds, float((ticks[-1] + 1) * time_base))
            for number, tick in enumerate(ticks):
                paint = _noise_picture if noise else _smooth_picture
                picture = paint(*size, pixel_format, number)
                picture.pts, picture.time_base = tick, time_base
                if colour:
                    picture.colorspace, picture.color_range = colour[:2]
                packets += video.encode(picture)
            packets += video.encode(None)
            for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
                container.mux(packet)
        return path

    return make


def read(path: Path) -> Clip:
    """Everything in a file, in its own order."""
    clip = Clip()
    with av.open(f"file:{path}") as container:
        video: Any = container.streams.video[0]
        others = [s for s in container.streams if s.index != video.index]
        by_stream: dict[int, list[tuple[bytes, Fraction, Fraction]]] = {s.index: [] for s in others}
        packet: Any
        for packet in container.demux():
            if packet.stream.index != video.index:
                if packet.size:
                    base = packet.time_base
                    entry = (bytes(packet), packet.pts * base, packet.dts * base)
                    by_stream[packet.stream.index].append(entry)
                continue
            for picture in packet.decode():
                clip.times.append(picture.pts * picture.time_base)
                clip.planes.append(list(_samples(picture)))
                clip.tags |= {
                    "colour": (
                        int(picture.colorspace),
                        int(picture.color_range),
                        int(picture.color_primaries),
                        int(picture.color_trc),
                    ),
                    "rotation": picture.rotation,
                    "format": picture.format.name,
                    "size": (picture.width, picture.height),
                }
        clip.packets = [by_stream[s.index] for s in others]
        clip.tags |= {
            "aspect": Fraction(video.codec_context.sample_aspect_ratio or 0),
            "languages": [s.metadata.get("language") for s in others],
            "codecs": [s.codec_context.name for s in others if s.codec_context],
            "video": video.codec_context.name,
            "metadata": dict(container.metadata),
            "chapters": container.chapters(),
        }
    return clip


def _samples(picture: av.VideoFrame) -> Iterator[np.ndarray[Any, Any]]:
    wide = picture.format.components[0].bits > 8
    packed = len(picture.planes) < len(picture.format.components)
    for plane in picture.planes:
        rows = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8).reshape(
            plane.height, -1
        )
        # The two of nv12, the three of rgb24: padding is cut at whole bytes per pixel.
        per = rows.shape[1] if packed else plane.width
        yield rows[:, :per].copy()


@pytest.fixture
def read_clip() -> Callable[[Path], Clip]:
    """The function that reads a file back."""
    return read


@pytest.fixture
def make_picture() -> Callable[..., av.VideoFrame]:
    """The function that makes a picture of random codes: width, height, format, seed."""
    return _noise_picture


@pytest.fixture
def sound() -> type[Sound]:
    """What `make_clip` takes in its list of sounds."""
    return Sound


@pytest.fixture
def derain() -> Callable[..., Report]:
    """A function that derains a file with a stand-in for the network."""

    def run(source: Path, target: Path, amount: float = 0.0, **settings: Any) -> Report:
        names = ("codec", "crf", "preset", "pixel_format", "options")
        encoder = {name: settings.pop(name) for name in names if name in settings}
        engine = DerainEngine(executor=Constant(amount), strength=settings.pop("strength", 1.0))
        told = {name: settings.pop(name) for name in ("stop", "on_again") if name in settings}
        job = Job(source, target, encoder=EncoderSettings(**encoder), **settings)
        return derain_file(job, engine, **told)

    return run


@pytest.fixture
def ffprobe() -> Callable[..., dict[str, Any]]:
    """What the ffprobe program, another reader, says of a file: streams, frames, format."""
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("compares by the ffprobe program")

    def run(path: Path, *options: str) -> dict[str, Any]:
        command = [program, "-v", "error", "-of", "json", *options, str(path)]
        output = subprocess.run(command, capture_output=True, check=True).stdout
        found: dict[str, Any] = json.loads(output)
        return found

    return run
