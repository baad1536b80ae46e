"""Filmed photographs, the rain on them, and batches of both."""

import pytest
import torch
from torch import Tensor

from sapnet_stream.networks.background import STATISTICS
from sapnet_stream.networks.sapnet_video import FIRST_LOOKS
from sapnet_training.seeds import seeded
from sapnet_training.video_clips import make_clips
from sapnet_training.video_rain import VideoRain
from sapnet_training.video_scenes import Draw, make_scene


@pytest.fixture(scope="module")
def photographs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 20, 30, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (130, 180), mode="bicubic")
    return list((images.clamp(0, 1) * 255).to(torch.uint8))


@pytest.fixture(scope="module")
def rain() -> VideoRain:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randint(0, 100, (2, 50, 60), dtype=torch.uint8, generator=generator)
    return VideoRain(masks, seed=1)


def test_a_scene_is_the_same_for_the_same_seed_alone(photographs: list[Tensor]) -> None:
    first, again, other = (
        make_scene(photographs, 5, 64, Draw(seeded("scene", n))) for n in (1, 1, 2)
    )
    assert first.frames.shape == (5, 3, 64, 64)
    assert torch.equal(first.frames, again.frames)
    assert not torch.equal(first.frames, other.frames)
    assert 0 <= first.frames.min() < first.frames.max() <= 1


def test_positions_say_where_the_camera_looks(photographs: list[Tensor]) -> None:
    """Most of what moves by the camera's own motion is where that says."""
    better = total = 0
    for number in range(120):
        scene = make_scene(photographs, 2, 64, Draw(seeded("pan", number)))
        y, x = (round(v) for v in scene.positions[1].tolist())
        if max(abs(y), abs(x)) < 2:
            continue
        first, second = scene.frames[:, :, 10:-10, 10:-10]
        ahead = scene.frames[0, :, 10 + y : 54 + y, 10 + x : 54 + x]
        total += 1
        better += int((ahead - second).abs().mean() < (first - second).abs().mean())
    assert total >= 5
    assert better >= 0.7 * total


def test_half_of_the_cameras_or_less_stand_still(photographs: list[Tensor]) -> None:
    scenes = [make_scene(photographs, 3, 32, Draw(seeded("still", n))) for n in range(60)]
    still = sum(not scene.positions.any() for scene in scenes)
    assert 15 <= still <= 35


def test_rain_adds_light_to_most_clips_and_none_to_some(rain: VideoRain) -> None:
    clean = torch.full((4, 3, 64, 64), 0.4)
    changes = [(rain(clean, Draw(seeded("rain", n))) - clean).mean().item() for n in range(60)]
    dry = sum(abs(change) < 1e-3 for change in changes)
    assert min(changes) > -1e-3
    assert 1 <= dry <= 20
    assert max(changes) > 0.05


def test_falling_streaks_fall(rain: VideoRain) -> None:
    """A clip's streaks either move down by the same step each frame or are new in each."""
    clean, falling = torch.zeros(3, 3, 96, 96), 0
    for number in range(40):
        frames = rain(clean, Draw(seeded("fall", number))).mean(1)
        spectra = torch.fft.rfft2(frames - frames.mean((1, 2), keepdim=True))
        surface = torch.fft.irfft2(spectra[1:] * spectra[:-1].conj())
        first, second = (divmod(int(s.argmax()), 96) for s in surface)
        falling += first[0] > 0 and max(abs(a - b) for a, b in zip(first, second, strict=True)) < 2
    assert 3 <= falling <= 30


def test_clips_hold_the_past_of_each_frame(photographs: list[Tensor], rain: VideoRain) -> None:
    clips = make_clips(photographs, rain, 3, 8, 48, Draw(seeded("clips", 4)))
    assert clips.rainy.shape == clips.clean.shape == (3, 8, 3, 48, 48)
    assert clips.past.shape == (3, 8, 3 * STATISTICS, 48, 48)
    assert clips.looks.shape == (3, 8, 1, 48, 48)
    assert clips.motion.shape == clips.shift.shape == (3, 8, 2)
    for look in range(FIRST_LOOKS):
        assert torch.equal(clips.rainy[:, look], clips.rainy[:, 0])
        assert not clips.looks[:, look].any()
        assert not clips.motion[:, look].any()
        assert torch.equal(clips.past[:, look], clips.rainy[:, 0].repeat(1, STATISTICS, 1, 1))
    assert (clips.rainy[:, FIRST_LOOKS] != clips.rainy[:, 0]).any()
    assert clips.looks[:, FIRST_LOOKS].max() == 1
    assert (clips.past[:, -1] != clips.rainy[:, -1].repeat(1, STATISTICS, 1, 1)).any()
