import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_stream.networks.weights import load_video_network
from sapnet_training.real_rain import (
    MARGIN_PX,
    main,
    real_rain,
    table,
    without_repeats,
)
from sapnet_training.video_derainer import derainer

HEIGHT, WIDTH = 144, 168
INNER = (HEIGHT - 2 * MARGIN_PX) * (WIDTH - 2 * MARGIN_PX)
STREAK_PX = 30


@pytest.fixture
def scene() -> Tensor:
    """A camera that pans 3 pixels right and 1 down per frame, [T, 3, H, W] uint8."""
    coarse = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(coarse, scale_factor=4, mode="bicubic")[0].clamp(0.1, 0.7) * 255
    frames = [image[:, t : t + HEIGHT, 3 * t : 3 * t + WIDTH] for t in range(7)]
    return torch.stack(frames).byte()


@pytest.fixture
def rainy(scene: Tensor) -> Tensor:
    """A streak 150 levels above the scene, elsewhere in every frame."""
    rainy = scene.float()
    for number, frame in enumerate(rainy):
        column = MARGIN_PX + 5 + 9 * number
        frame[:, MARGIN_PX + 8 : MARGIN_PX + 8 + STREAK_PX, column] += 150
    return rainy.clamp(max=255).byte()


def test_streaks_are_what_passes_and_not_what_the_camera_does(scene: Tensor, rainy: Tensor) -> None:
    wet, dry = real_rain(rainy, rainy).streaks, real_rain(rainy, scene).streaks
    # At most 150 levels of Y, and no less than what is left where the scene around is brighter.
    assert 40 < wet / (STREAK_PX / INNER) ** 0.5 < 150 * 219 / 255
    assert dry < wet / 50


def test_a_scene_without_its_rain_is_whole(scene: Tensor, rainy: Tensor) -> None:
    clean = real_rain(rainy, scene)
    assert clean.sharpness == pytest.approx(1, abs=0.01)
    assert clean.shift == pytest.approx((0, 0, 0), abs=0.02)


def test_blur_loses_sharpness(rainy: Tensor) -> None:
    blurred = F.avg_pool2d(rainy.float(), 7, stride=1, padding=3, count_include_pad=False)
    assert real_rain(rainy, blurred.byte()).sharpness < 0.7


def test_a_tint_is_a_shift(scene: Tensor, rainy: Tensor) -> None:
    tinted = scene.clone()
    tinted[:, 0] += 10
    assert real_rain(rainy, tinted).shift == pytest.approx((2.568, -1.482, 4.392), abs=0.03)


def test_repeated_frames_are_left_out(scene: Tensor) -> None:
    repeated = scene[:4].repeat_interleave(2, 0)
    assert torch.equal(without_repeats(repeated), scene[:4])


@pytest.mark.parametrize(("frames", "side"), [(2, 160), (3, 96)])
def test_too_little_is_one_sentence(frames: int, side: int) -> None:
    clip = torch.zeros(frames, 3, side, side, dtype=torch.uint8)
    with pytest.raises(InputError, match=f"needs 3 different frames .* got {frames} of {side}x"):
        real_rain(clip, clip)


def test_command_prints_a_table_and_writes_a_sheet(
    rainy: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, frame in enumerate(rainy):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / f"{number:03}.png")
    options = [str(tmp_path), "--frames", "4", "--sheet", str(tmp_path / "sheet" / "s.jpg")]
    monkeypatch.setattr(sys, "argv", ["real_rain", *options])
    assert main() == 0
    text = capsys.readouterr().out
    assert text.startswith("4 different frames of")
    (line,) = [line for line in text.splitlines() if line.startswith("| rainy")]
    assert [cell.strip() for cell in line.split("|")[3:5]] == ["100%", "1.000"]
    with Image.open(tmp_path / "sheet" / "s.jpg") as sheet:
        assert sheet.size == (2 * WIDTH + 4, 2 * HEIGHT + 16)


def test_a_network_for_videos_has_its_memory(
    rainy: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, frame in enumerate(rainy[:3]):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(sys, "argv", ["real_rain", str(tmp_path), "--weights", "sapnet_video"])
    assert main() == 0
    derained = torch.stack(list(derainer(load_video_network())(rainy[:3])))
    want = table({"rainy": rainy[:3], "sapnet_video": derained})
    assert capsys.readouterr().out.endswith(f"{want}\n")


def test_a_gap_between_frames_is_one_sentence(
    rainy: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in (1, 2, 4):
        Image.fromarray(rainy[0].permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(sys, "argv", ["real_rain", str(tmp_path)])
    assert main() == 3
    assert "4.png does not follow 2.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"), [([], "differ in size"), (["--frames", "0"], "--frames must be 1")]
)
def test_frames_that_do_not_do_are_one_sentence(
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for side in (150, 160):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    monkeypatch.setattr(sys, "argv", ["real_rain", str(tmp_path), *more])
    assert main() in (2, 3)
    assert message in capsys.readouterr().err
