"""Following a camera: shifts to parts of a pixel, cuts, and what must not mislead it."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from sapnet_stream.networks.alignment import (
    View,
    mesh_between,
    seen_from_now,
    small_factor,
    unit_spectrum,
)
from sapnet_stream.networks.camera import Camera, correlation

SIZE = (240, 320)


def world(seed: int, height: int = 420, width: int = 620) -> Tensor:
    """A scene with detail at all scales, [1, 3, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 3, height, width)
    for cells in (6, 24, 96):
        coarse = torch.rand(1, 3, cells, 2 * cells, generator=generator)
        image += F.interpolate(coarse, (height, width), mode="bicubic") / 3
    return image.clamp(0, 1)


def filmed(scene: Tensor, y: float, x: float) -> Tensor:
    """[3, H, W] of the scene from (60 + y, 100 + x) on."""
    height, width = scene.shape[2:]
    points = torch.stack(
        torch.meshgrid(
            (torch.arange(SIZE[0]) + 60.5 + y) * 2 / height - 1,
            (torch.arange(SIZE[1]) + 100.5 + x) * 2 / width - 1,
            indexing="ij",
        )[::-1],
        dim=-1,
    )
    return F.grid_sample(scene, points[None], mode="bicubic", align_corners=False)[0].clamp(0, 1)


def rained_on(frame: Tensor, seed: int) -> Tensor:
    """Upright streaks, elsewhere in each frame."""
    generator = torch.Generator().manual_seed(seed)
    drops = (torch.rand(1, 1, *SIZE, generator=generator) > 0.998).float()
    streaks = F.max_pool2d(drops, (21, 1), 1, (10, 0))[0]
    return (frame + 0.5 * streaks).clamp(0, 1)


def test_a_pan_is_followed_in_rain_and_does_not_drift() -> None:
    camera, scene = Camera(), world(1)
    for number in range(30):
        y, x = 4 * math.sin(number / 5), 3.3 * number
        followed = camera.follow(rained_on(filmed(scene, y, x), number))
        assert followed == (number > 0)
        assert camera.view.position == pytest.approx((y, x), abs=0.3), number


def test_a_camera_on_a_tripod_stands_still_in_rain() -> None:
    camera, frame = Camera(), filmed(world(2), 0, 0)
    start = View((0.0, 0.0))
    for number in range(12):
        camera.follow(rained_on(frame, number))
        assert mesh_between(camera.view, start, 1) is None


def test_an_object_that_passes_a_camera_on_a_tripod_moves_nothing() -> None:
    camera, scene, thing = Camera(), filmed(world(3), 0, 0), filmed(world(4), 0, 0)
    for number in range(12):
        frame = scene.clone()
        frame[:, 60:160, 20 * number : 20 * number + 80] = thing[:, :100, :80]
        camera.follow(frame)
        assert max(abs(side) for side in camera.view.position) < 0.25


def test_another_scene_is_a_cut() -> None:
    camera = Camera()
    first, second = filmed(world(5), 0, 0), filmed(world(6), 0, 0)
    followed = [camera.follow(frame) for frame in (first, first, second, second, first)]
    assert followed == [False, True, False, True, False]
    assert camera.view.position == (0.0, 0.0)


def test_plain_black_and_tiny_frames_are_followed() -> None:
    for frame in (torch.zeros(3, 20, 30), torch.full((3, 1, 1), 0.5), torch.ones(3, 300, 260)):
        camera = Camera()
        assert [camera.follow(frame) for _ in range(3)] == [False, True, True]
        assert camera.view.position == (0.0, 0.0)


def test_parts_of_the_picture_move_as_they_do() -> None:
    """The near half of the scene moves three pixels more than the far one."""
    scene = world(7)
    far, near = filmed(scene, 0, 0), filmed(scene, 0, 0)
    later_far, later_near = filmed(scene, 0, 4), filmed(scene, 0, 6.5)
    past = torch.cat((far[:, :120], near[:, 120:]), dim=1)
    now = torch.cat((later_far[:, :120], later_near[:, 120:]), dim=1)
    views = [
        View(position, image.mean(0)) for position, image in (((0.0, 0.0), past), ((0.0, 5.0), now))
    ]
    mesh = mesh_between(views[1], views[0], small_factor(*SIZE))
    assert mesh is not None
    assert mesh[0, 1, 0].median().item() == pytest.approx(4, abs=0.2)
    assert mesh[0, 1, -1].median().item() == pytest.approx(6.5, abs=0.2)
    moved = seen_from_now(past[None], mesh, now[None])[0]
    inner = (slice(None), slice(20, -20), slice(20, -30))
    assert (moved - now)[inner].abs().mean() < 0.3 * (past - now)[inner].abs().mean()


class Begun(TorchFunctionMode):
    """Functions whose results are on the meta device and no argument is."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        given, made = (
            any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(tree))
            for tree in ((args, kwargs), result)
        )
        if made and not given:
            self.names.add(func.__name__)
        return result


def test_what_streams_of_a_device_share_is_copied_there_and_not_computed() -> None:
    # Another stream would not wait for a computation; a copy from the CPU is waited for.
    picture = torch.zeros(61, 47, device="meta")
    with Begun() as begun:
        unit_spectrum(picture)
    assert begun.names == {"to"}


@pytest.mark.parametrize(("dark", "noise"), [(0.0, 0.02), (0.2, 0.03), (0.1, 0.0)])
def test_night_and_fog_are_one_scene_from_one_place(dark: float, noise: float) -> None:
    # Noise correlates anywhere; the pictures moved so far did not overlap, and their crops
    # had different sizes.
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        camera = Camera()
        for number in range(60):
            frame = dark + noise * torch.rand(3, 180, 320, generator=generator)
            assert camera.follow(frame) == (number > 0)
            assert camera.view.position == (0, 0)


def test_a_faint_grain_is_followed_far() -> None:
    # Of 8 x 8 small pixels each is grey; the key is changed on the way.
    grain = torch.rand(1, 3, 210, 310, generator=torch.Generator().manual_seed(5))
    scene = 0.5 + 0.05 * F.interpolate(grain, (420, 620), mode="bicubic")
    camera = Camera()
    for number in range(30):
        camera.follow(filmed(scene, 2.0 * number, 5.0 * number))
        y, x = camera.view.position
        assert abs(y - 2 * number) < 1 and abs(x - 5 * number) < 1


def test_pictures_that_do_not_overlap_are_not_alike() -> None:
    small = world(1)[0].mean(0)
    height, width = small.shape
    for away in ((height, 0), (-2 * height, 3), (0, width + 5), (7, -3 * width)):
        assert correlation(small, small, (0, 0), away, 1) == 0
    assert correlation(small, small, (0, 0), (0, 0), 1) > 0.99
