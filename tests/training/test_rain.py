import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_stream.errors import UsageError
from sapnet_training import rain_presets
from sapnet_training.jpeg import compress
from sapnet_training.rain import SyntheticRain, main
from sapnet_training.rain_presets import PRESETS, RainPreset
from sapnet_training.rain_report import RainStatistics, statistics
from sapnet_training.streaks import Drops, StreakShape, mask_parts


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_rain_and_another_seed_other_rain(preset: str) -> None:
    clean = torch.full((2, 3, 40, 56), 0.4)
    masks = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8, generator=seeded(9))
    rain = SyntheticRain({preset: 1.0}, masks)
    first, again, other = (rain(clean, seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# Compression may darken a pixel beside a streak.
@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"dry", "outdoors"}))
def test_rain_only_adds_light_to_a_dark_scene(preset: str) -> None:
    masks = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8, generator=seeded(9))
    rainy, target = SyntheticRain({preset: 1.0}, masks)(torch.zeros(8, 3, 48, 48), seeded())
    assert rainy.shape == target.shape == (8, 3, 48, 48)
    assert (rainy >= target).all()
    assert (rainy - target).mean() > 0.003
    assert torch.equal((rainy * 255).round() / 255, rainy)


def test_dry_samples_are_their_own_target() -> None:
    clean = torch.rand(4, 3, 32, 32, generator=seeded(3))
    rainy, target = SyntheticRain({"dry": 1.0})(clean, seeded())
    assert torch.equal(rainy, target)


def test_heavier_presets_are_heavier(data_dir: Path) -> None:
    from sapnet_training.training_images import read_masks

    clean = torch.full((24, 3, 96, 96), 0.35)
    masks = read_masks(data_dir / "train" / "garg_streaks_207")
    error = {}
    for preset in ("light", "medium", "heavy"):
        rainy, target = SyntheticRain({preset: 1.0}, masks)(clean, seeded())
        error[preset] = (rainy - target).square().mean().item()
    assert error["light"] < error["medium"] < error["heavy"]


def test_drops_fall_along_their_streak_between_frames() -> None:
    size = (96, 96)
    angle = torch.tensor([[0.3]])
    shape = StreakShape(angle, *(torch.tensor([[v]]) for v in (12.0, 1.5, 2.0)))
    drops = Drops(torch.full((1, 1, 1, 2), 0.3), torch.ones(1, 1, 1), size)
    step = 10 * torch.stack((angle.cos(), angle.sin()), dim=-1)
    before, after = (
        drops.streaks(shape.spectrum(size), n * step, whole_pixels=False)[0] for n in (0, 1)
    )

    def centre(field: torch.Tensor) -> torch.Tensor:
        grid = torch.stack(torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij"))
        return (grid * field).sum((1, 2)) / field.sum()

    torch.testing.assert_close(centre(after) - centre(before), step[0, 0], atol=0.05, rtol=0)


def test_streak_has_its_length_width_and_peak() -> None:
    size = (128, 128)
    shape = StreakShape(*(torch.tensor([[v]]) for v in (0.0, 30.0, 3.0, 8.0)))
    field = torch.fft.irfft2(shape.spectrum(size), s=size)[0, 0]
    assert field.max().item() == pytest.approx(1, abs=1e-4)
    assert (field > 0.5).any(1).sum() == pytest.approx(33, abs=1)
    assert (field > 0.5).any(0).sum() == 3


def test_a_part_larger_than_the_mask_repeats_it() -> None:
    masks = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    part = mask_parts(masks, torch.zeros(1, 1, 4) + torch.tensor([0, 0, 0, 0.9]), 6, 8)
    assert torch.equal((part[0, 0] * 255).round().to(torch.uint8), masks[0].repeat(2, 2))


def added(monkeypatch: pytest.MonkeyPatch, preset: RainPreset, grey: float = 0.0) -> torch.Tensor:
    """Rainy - clean of four grey scenes."""
    monkeypatch.setitem(rain_presets.PRESETS, "here", preset)
    clean = torch.full((4, 3, 192, 192), grey)
    rainy, target = SyntheticRain({"here": 1.0})(clean, seeded())
    return rainy - target


def leaning(degrees: float, length: float, depth: float = 1.0) -> RainPreset:
    one = (length, length)
    return RainPreset(
        layers=(1, 1),
        slant=(degrees, degrees),
        spread=(0, 0),
        length=one,
        width=(2.5, 2.5),
        density=(0.3, 0.3),
        brightness=(0.5, 0.5),
        depth=(depth, depth),
    )


def test_statistics_find_direction_and_length(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, RainStatistics] = {}
    for name, preset in {"long": leaning(15, 30), "short": leaning(-25, 8)}.items():
        found[name] = statistics(list(added(monkeypatch, preset)))
    assert found["long"].directions.argmax() == 10  # from 10 to 20 degrees
    assert found["short"].directions.argmax() in (6, 7)
    assert found["long"].length[12] > 0.35 > 0.15 > found["short"].length[12]
    assert found["long"].width[4] < 0.2
    assert found["long"].distance(found["long"])["spectrum"] == 0


def test_far_streaks_are_shorter_fainter_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = (added(monkeypatch, leaning(0, 40, depth)) for depth in (1, 3))
    assert far.max() < 0.6 * near.max()
    assert statistics(list(far)).length[12] < statistics(list(near)).length[12]
    assert (far > 0.02).float().mean() > 0.8 * (near > 0.02).float().mean()


def test_veil_draws_the_scene_towards_the_airlight(monkeypatch: pytest.MonkeyPatch) -> None:
    veil = RainPreset(veil=(0.25, 0.25), airlight=(0.6, 0.6))
    assert added(monkeypatch, veil, 0.2).mean().item() == pytest.approx(0.1, abs=0.003)


def test_stored_images_are_compressed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rain_presets.PRESETS, "here", RainPreset(jpeg=(20, 20)))
    clean = torch.rand(2, 3, 40, 56, generator=seeded(4))
    rainy, target = SyntheticRain({"here": 1.0})(clean, seeded())
    assert torch.equal(rainy, target)
    assert (target - clean).abs().mean() > 0.05


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_compression_is_that_of_a_jpeg_file(data_dir: Path, quality: int) -> None:
    path = next((data_dir / "test" / "rain100_clean").iterdir())
    with Image.open(path) as picture:
        image = picture.convert("RGB").crop((0, 0, 203, 149))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    pixels, stored = (
        torch.from_numpy(np.array(i)).permute(2, 0, 1).float() for i in (image, Image.open(file))
    )
    ours = compress(pixels[None] / 255, torch.tensor([float(quality)]))[0] * 255
    assert (ours - stored).abs().mean() < 0.45 * (pixels - stored).abs().mean() + 0.5


def test_presets_and_shares_are_checked() -> None:
    with pytest.raises(UsageError, match="hail"):
        SyntheticRain({"hail": 1.0})
    with pytest.raises(UsageError, match="shares"):
        SyntheticRain({"dry": 0.0})
    with pytest.raises(UsageError, match="'light' is drawn from masks"):
        SyntheticRain({"drizzle": 1.0, "light": 1.0})


def test_masks_of_a_clip_keep_their_direction_and_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rain_presets.PRESETS, "here", RainPreset(masks=(1, 1), mask_gain=(1, 1)))
    mask = (torch.eye(32) * 255).to(torch.uint8)[None]
    rainy, _ = SyntheticRain({"here": 1.0}, mask).fall(torch.zeros(6, 4, 3, 32, 32), seeded())
    grey = rainy[:, :, 0]
    assert (grey.sum((2, 3)) == 32).all()
    down = (grey[..., 1:, 1:] * grey[..., :-1, :-1]).sum((2, 3)) > 15
    assert (down == down[:, :1]).all() and 0 < down[:, 0].sum() < 6
    assert all(len({frame.numpy().tobytes() for frame in clip}) > 1 for clip in grey)


def test_the_clip_is_the_same_every_time_and_its_clean_twin_has_no_rain(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
    paths = [tmp_path / name for name in ("a.mp4", "b.mp4")]
    clean = tmp_path / "clean.mp4"
    for path in paths:
        options = ["--seconds", "0.4", "--size", "96x64", "--clean", str(clean)]
        command = [sys.executable, "-m", "sapnet_training.rain", str(path), *options]
        subprocess.run(command, check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with av.open(str(paths[0])) as rainy_file, av.open(str(clean)) as clean_file:
        assert rainy_file.streams.video[0].codec_context.colorspace == 1  # BT.709
        rainy, dry = (
            np.stack([f.to_ndarray(format="rgb24").astype(float) for f in file.decode(video=0)])
            for file in (rainy_file, clean_file)
        )
    assert rainy.shape == dry.shape == (10, 64, 96, 3)
    psnr = 10 * np.log10(255**2 / np.square(rainy - dry).mean())
    assert 15 < psnr < 30
    assert np.abs(dry[0] - dry[-1]).mean() > 2  # the camera moves


def test_a_bad_size_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sapnet_training.rain", str(tmp_path / "a.mp4")]
    done = subprocess.run([*command, "--size", "97x64"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --size is WIDTHxHEIGHT")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", [("--fps", "1/0"), ("--fps", "-1"), ("--seconds", "nan")])
def test_a_bad_rate_or_length_is_one_sentence(
    wrong: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rain", str(tmp_path / "a.mp4"), f"{wrong[0]}={wrong[1]}"])
    assert main() == 2
    assert f"{wrong[0]} " in capsys.readouterr().err
