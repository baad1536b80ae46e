"""Small images made with Pillow and FFmpeg, and a stand-in for the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_stream.engine import DerainEngine
from sapnet_stream.image import derain_image

ORIENTATION = 0x0112
DEEP = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}


class Adding:
    """Stands in for the network: adds a picture or a number, and keeps what it saw."""

    name = "adding"

    def __init__(self, amount: float | torch.Tensor = 0.0) -> None:
        self.amount = amount
        self.seen = torch.empty(0)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image.clone()
        return image + self.amount

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def _noise(channels: int, size: tuple[int, int] = (23, 17), bits: int = 8) -> np.ndarray[Any, Any]:
    codes = np.random.default_rng(channels).integers(0, 2**bits, (*size[::-1], channels))
    return codes.astype(np.uint8 if bits == 8 else np.uint16)


def _image_of(channels: int, size: tuple[int, int] = (23, 17)) -> Image.Image:
    return Image.fromarray(
        _noise(channels, size)[..., 0] if channels == 1 else _noise(channels, size)
    )


def _samples_of(path: Path) -> np.ndarray[Any, Any]:
    """By Pillow: 8 bits per sample, as they are stored."""
    with Image.open(path) as image:
        return np.array(image)


def _write_deep(path: Path, name: str, order: str, codec: str) -> np.ndarray[Any, Any]:
    """A 16-bit image by FFmpeg's encoder; returns its samples."""
    samples = _noise(DEEP[name], bits=16)
    height, width, _ = samples.shape
    picture = av.VideoFrame(width, height, name + order)
    memory = np.frombuffer(memoryview(picture.planes[0]), ">u2" if order == "be" else "<u2")
    memory = memory.reshape(height, -1)
    memory[:, : samples.shape[2] * width] = samples.reshape(height, -1)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, name + order
    path.write_bytes(b"".join(map(bytes, [*encoder.encode(picture), *encoder.encode(None)])))
    return samples


def _exif_with_everything(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[ORIENTATION] = "Camera & Sons", orientation
    exif.get_ifd(0x8769).update({0x9003: "2021:06:01 12:00:00", 0x829A: 0.008, 0x927C: b"notes"})
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 26.5)})
    return exif


@pytest.fixture
def adding() -> type[Adding]:
    """The stand-in for the network."""
    return Adding


@pytest.fixture
def derain() -> Callable[..., list[str]]:
    """A function that derains an image file with it."""

    def run(source: Path, target: Path, amount: float = 0.0, **settings: Any) -> list[str]:
        return derain_image(source, target, DerainEngine(executor=Adding(amount)), **settings)

    return run


@pytest.fixture
def noise() -> Callable[..., Any]:
    """A function that gives random samples: channels, (width, height), bits."""
    return _noise


@pytest.fixture
def image_of() -> Callable[..., Any]:
    """A function that gives an image of them: channels, (width, height)."""
    return _image_of


@pytest.fixture
def samples_of() -> Callable[..., Any]:
    """A function that gives a file's samples."""
    return _samples_of


@pytest.fixture
def write_deep() -> Callable[..., Any]:
    """A function that gives a file of 16 bits per sample: path, format, byte order, codec."""
    return _write_deep


@pytest.fixture
def exif_with_everything() -> Callable[..., Any]:
    """A function that gives EXIF of three directories."""
    return _exif_with_everything
