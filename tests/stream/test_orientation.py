"""Pictures as they are seen: as players turn them, and back."""

import itertools
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.video.frame import Colour, Frame, pixel_layout
from sapnet_stream.video.info import video_info
from sapnet_stream.video.orientation import AS_STORED, Orientation
from sapnet_stream.video.picture import read_planes

ALL = [Orientation(*pair) for pair in itertools.product(range(4), (False, True))]
# a b u c d v x y w of ISO/IEC 14496-12, y downwards: where the point (1, 0) and (0, 1) go.
MATRICES = {
    (1, 0, 0, 1): Orientation(0),
    (0, -1, 1, 0): Orientation(1),
    (-1, 0, 0, -1): Orientation(2),
    (0, 1, -1, 0): Orientation(3),
    (-1, 0, 0, 1): Orientation(0, mirrored=True),
    (1, 0, 0, -1): Orientation(2, mirrored=True),
    (0, 1, 1, 0): Orientation(3, mirrored=True),
    (0, -1, -1, 0): Orientation(1, mirrored=True),
}


def matrix_of(a: int, b: int, c: int, d: int) -> list[int]:
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(("corners", "expected"), MATRICES.items())
def test_each_of_the_eight_matrices(
    corners: tuple[int, int, int, int], expected: Orientation
) -> None:
    assert Orientation.from_matrix(matrix_of(*corners)) == expected


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (30, 0), (60, 1), (100, 1), (179, 2)])
def test_another_angle_is_the_nearest_quarter(degrees: int, turns: int) -> None:
    turn = np.deg2rad(degrees)
    cosine, sine = int(np.cos(turn) * 65536), int(np.sin(turn) * 65536)
    matrix = [cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30]
    assert Orientation.from_matrix(matrix) == Orientation(turns)


@pytest.mark.parametrize("orientation", ALL)
def test_turning_back_is_exact(orientation: Orientation) -> None:
    image = torch.rand(1, 3, 5, 7)
    seen = orientation.upright(image)
    assert tuple(seen.shape[2:]) == orientation.size(5, 7)
    assert torch.equal(orientation.stored(seen), image)


@pytest.mark.parametrize("orientation", ALL)
def test_samples_of_16_bits_are_turned_as_others_are(orientation: Orientation) -> None:
    codes = torch.arange(35, dtype=torch.int32).view(5, 7) + 60_000
    seen = orientation.upright(codes.to(torch.uint16))
    assert torch.equal(seen.to(torch.int32), orientation.upright(codes))
    assert torch.equal(orientation.stored(seen).to(torch.int32), codes)


@pytest.mark.parametrize("corners", MATRICES)
def test_another_player_turns_alike(
    make_clip: Callable[..., Path], corners: tuple[int, int, int, int]
) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("compares by the ffmpeg program, which turns what it writes")
    source = make_clip(
        "in.mp4",
        "libx264",
        size=(64, 48),
        ticks=[0],
        noise=False,
        display_matrix=matrix_of(*corners),
    )
    command = [program, "-v", "error", "-i", str(source), "-f", "rawvideo", "-"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    with av.open(str(source)) as container:
        picture = next(container.decode(video=0))
        info = video_info(picture, container.streams.video[0], None)
        seen = info.orientation.upright(read_planes(picture, info.layout)[0])
    luma = np.frombuffer(shown, np.uint8)[: 64 * 48].reshape(seen.shape)
    assert np.array_equal(luma, seen.numpy())


class Streaks:
    """Stands in for the network: darkens the top row of what it sees."""

    name = "streaks"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        clean = image.clone()
        clean[:, :, 0] -= 0.5
        return clean

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@pytest.mark.parametrize("orientation", ALL)
def test_the_network_sees_upright_and_the_planes_stay_as_stored(orientation: Orientation) -> None:
    layout, colour = pixel_layout("gray"), Colour(0.2126, 0.0722, True)
    planes = (torch.full((4, 6), 200, dtype=torch.uint8),)
    frame = Frame(planes, layout, colour, 0, Fraction(1, 25), orientation=orientation)
    done: Any = DerainEngine(executor=Streaks()).frame(frame)
    changed = orientation.upright(done.planes[0] != 200)
    assert done.planes[0].shape == (4, 6)
    assert changed[0].all() and not changed[1:].any()


def test_nothing_said_is_as_stored() -> None:
    assert Orientation.from_matrix(None) == AS_STORED
