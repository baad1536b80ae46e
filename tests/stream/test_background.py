"""The background memory: ranks by comparison, alignment, and what it says of a scene."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sapnet_stream.networks import background
from sapnet_stream.networks.alignment import View
from sapnet_stream.networks.background import LONG, SHORT, BackgroundMemory, ranks

HERE = View((0.0, 0.0))


def scene(height: int = 40, width: int = 56) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 3, 10, 14, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    return (image.clamp(0, 1) * 200).to(torch.uint8)


@pytest.mark.parametrize("n", range(1, 18))
def test_ranks_are_those_of_sorting(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    values = [torch.randint(0, 9, (50,), dtype=torch.uint8, generator=generator) for _ in range(n)]
    before = torch.stack(values)
    ordered = before.sort(0).values
    for wanted in ([0], [n - 1], [(n - 1) // 2], [(n - 1) // 2, (n - 1) // 4], list(range(n))):
        found = torch.empty(len(wanted), 50, dtype=torch.uint8)
        ranks(values, wanted, found)
        assert torch.equal(found, ordered[wanted])
    assert torch.equal(torch.stack(values), before)


@pytest.mark.parametrize("length", [1, 9, 10, 11, 25])
def test_ranks_of_large_pictures_are_found_in_strips(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_STRIP_BYTES", 10)
    generator = torch.Generator().manual_seed(length)
    values = list(torch.randint(0, 256, (5, 1, length), dtype=torch.uint8, generator=generator))
    found = torch.full((2, 1, length), 255, dtype=torch.uint8)
    ranks(values, [1, 2], found)
    assert torch.equal(found, torch.stack(values).sort(0).values[1:3])


def test_nothing_is_known_before_the_first_frame() -> None:
    frame = scene()
    statistics, seen, mesh = BackgroundMemory().statistics(frame, HERE)
    assert all(torch.equal(s, frame) for s in statistics)
    assert not seen.any()
    assert mesh is None


def test_what_is_there_once_is_forgotten_where_the_camera_stands_still() -> None:
    memory, clean = BackgroundMemory(), scene()
    for number in range(LONG):
        rainy = clean.clone()
        rainy[:, :, 3 * number : 3 * number + 3] = 255
        memory.push(rainy, HERE)
    statistics, seen, mesh = memory.statistics(torch.full_like(clean, 255), HERE)
    assert all(torch.equal(s, clean) for s in statistics)
    assert torch.allclose(seen, torch.ones(1))
    assert mesh is None


def test_the_camera_s_motion_is_taken_back_to_parts_of_a_pixel() -> None:
    world = scene(60, 120).float()[None]
    memory = BackgroundMemory()
    step = 2.4

    def filmed(number: int) -> Tensor:
        points = torch.stack(
            torch.meshgrid(
                (torch.arange(40) + 10.5) / 30 - 1,
                (torch.arange(56) + 5.5 + step * number) / 60 - 1,
                indexing="ij",
            )[::-1],
            dim=-1,
        )
        image = torch.nn.functional.grid_sample(
            world, points[None], mode="bicubic", align_corners=False
        )
        return image[0].round().clamp(0, 255).to(torch.uint8)

    for number in range(SHORT):
        memory.push(filmed(number), View((0.0, step * number)))
    now = filmed(SHORT)
    statistics, seen, mesh = memory.statistics(now, View((0.0, step * SHORT)))
    assert mesh is not None
    assert torch.allclose(mesh.flatten(), torch.tensor([0.0, step]))
    # Within the field of view of all of the frames it is what is seen now.
    error = (statistics[0].float() - now.float())[:, :, : 56 - 13].abs()
    assert error.mean() < 0.5
    assert seen[0, 0, 0] == pytest.approx(SHORT / LONG)
    # What comes into view on the right was seen by nobody: the frame stands in.
    assert seen[0, 0, -1] == 0
    assert torch.equal(statistics[:, :, :, -2:], now[None, :, :, -2:].expand(3, -1, -1, -1))


def test_frames_from_elsewhere_count_while_they_are_recent_only() -> None:
    memory = BackgroundMemory()
    for number in range(LONG):
        memory.push(torch.full((3, 40, 56), 10 * number, dtype=torch.uint8), View((3.0, 0.0)))
    _, seen, _ = memory.statistics(torch.zeros(3, 40, 56, dtype=torch.uint8), HERE)
    assert seen.max() == pytest.approx(SHORT / LONG)


def test_a_repeated_frame_is_remembered_once_but_a_drift_is_followed() -> None:
    memory, frame = BackgroundMemory(), scene()
    for _ in range(4):
        memory.push(frame, HERE)
    assert torch.equal(memory.statistics(frame, HERE)[1].max(), torch.tensor(1 / LONG))
    levels = [frame]
    for number in range(12):  # each differs by a twelfth of a grey level from the one before
        step = frame.clone()
        step.view(-1)[: frame.numel() * (number + 1) // 12] += 1
        levels.append(step)
        memory.push(step, HERE)
    assert all((a != b).any() for a, b in pairwise(levels))
    assert 3 / LONG < memory.statistics(frame, HERE)[1].max() < 6 / LONG
