import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sapnet_training import frames
from sapnet_training.before_after import rgb_frames
from sapnet_training.clip import write_video
from sapnet_training.data import read_image
from sapnet_training.frames import MASKED, WET, main, rained_on
from sapnet_training.pairs import find_pairs, read_pair
from sapnet_training.picture_file import as_picture, save_picture
from sapnet_training.rain import SyntheticRain


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Six frames of 64 x 48, each a shade brighter than the last."""
    shades = torch.arange(6).view(6, 1, 1, 1) / 20 + 0.2
    write_video(tmp_path / "v.mp4", shades.expand(6, 3, 48, 64), Fraction(25))
    return tmp_path / "v.mp4"


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["frames", *options])
    return main()


def test_dry_frames_are_those_of_the_video(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, str(video), str(tmp_path / "dry"), "--every", "4") == 0
    assert sorted(p.name for p in (tmp_path / "dry").rglob("*.png")) == ["00000.png", "00004.png"]
    decoded = list(rgb_frames(video))
    assert torch.equal(read_image(tmp_path / "dry" / "clean" / "00004.png"), decoded[4])


def test_it_writes_pairs_of_every_nth_frame(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        options = [str(video), str(tmp_path / name), "--every", "2", "--rain", "shower"]
        assert run(monkeypatch, *options) == 0
    pairs = find_pairs("a", tmp_path)
    assert [pair.rainy.name for pair in pairs] == ["00000.png", "00002.png", "00004.png"]
    for number, pair in enumerate(pairs):
        rainy, clean = read_pair(pair).chunk(2)
        assert clean.float().mean() == pytest.approx(255 * (0.2 + number * 0.1), abs=3)
        assert rainy.float().mean() > clean.float().mean() + 1
        assert torch.equal(rainy, read_image(tmp_path / "b" / "rainy" / pair.rainy.name))


@pytest.mark.parametrize("preset", WET)
def test_every_frame_of_every_rain_is_rainy(
    preset: str, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = []
    if preset in MASKED:
        streaks = torch.randint(0, 256, (3, 90, 90), generator=torch.Generator().manual_seed(0))
        save_picture(as_picture(streaks.byte()), tmp_path / "masks" / "m.png")
        masks = ["--masks", str(tmp_path / "masks")]
    assert run(monkeypatch, str(video), str(tmp_path / "out"), "--rain", preset, *masks) == 0
    added = [
        rainy.float() - clean
        for rainy, clean in (read_pair(pair).chunk(2) for pair in find_pairs("out", tmp_path))
    ]
    assert len(added) == 6
    assert all(image.abs().mean() > 0.5 for image in added)
    assert len({image.numpy().tobytes() for image in added}) == 6  # it falls


def test_rain_goes_on_through_a_clip_and_differs_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "CLIP", 2)
    rain = SyntheticRain({"shower": 1.0})

    def fallen(count: int, seed: int) -> list[Tensor]:
        still = [torch.full((3, 40, 40), 80, dtype=torch.uint8)] * count
        return [rainy for rainy, _ in rained_on(still, rain, seed)]

    four = fallen(4, seed=1)
    assert len(four) == 4
    assert torch.equal(four[1], fallen(2, seed=1)[1])
    assert not torch.equal(four[0], four[2]) and not torch.equal(four[0], fallen(1, seed=2)[0])


def test_rain_begins_anew_where_a_video_changes_its_size() -> None:
    sizes = [(40, 40)] * 2 + [(32, 48)] * 2 + [(40, 40)]
    shown = [torch.full((3, *size), 80, dtype=torch.uint8) for size in sizes]
    rain = SyntheticRain({"shower": 1.0})
    pairs = list(rained_on(shown, rain, seed=1))
    assert [tuple(image.shape[1:]) for pair in pairs for image in pair] == [
        size for size in sizes for _ in range(2)
    ]
    assert torch.equal(pairs[1][0], list(rained_on(shown[:2], rain, seed=1))[1][0])
    assert not torch.equal(pairs[0][0], pairs[4][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["none.mp4", "out"], "none.mp4"),
        (["none.mp4", "out", "--every", "0"], "--every must be at least 1"),
        (["VIDEO", "VIDEO"], "cannot write"),
        (["VIDEO", "out", "--rain", "light"], "name a folder of them with --masks"),
        (["VIDEO", "out", "--rain", "heavy"], "name a folder of them with --masks"),
        (["VIDEO", "out", "--rain", "drizzle", "--masks", "m"], "--masks is for --rain curtain"),
        (["VIDEO", "out", "--rain", "light", "--masks", "m"], "m is no folder"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str],
    message: str,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *(str(video) if o == "VIDEO" else o for o in options)) != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_frames_of_two_videos_do_not_mix(
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, str(video), str(tmp_path / "a")) == 0
    before = sorted((tmp_path / "a").rglob("*"))
    assert run(monkeypatch, str(video), str(tmp_path / "a"), "--rain", "shower") == 4
    assert "clean exists and may hold other frames: name another" in capsys.readouterr().err
    assert sorted((tmp_path / "a").rglob("*")) == before
