"""One frame before and after: the right one, the right way up, in its proportions."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_stream.cli import main
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import InputError, OutputError, SapnetError, UsageError
from sapnet_stream.preview import frames_up_to, preview
from sapnet_stream.video.colour import to_rgb
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame

Make = Callable[..., Path]


class Brighter:
    """Stands in for the network, and counts its pictures."""

    name = "brighter"

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return image + 0.1

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def halves(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What is left and what is right in a picture."""
    with Image.open(path) as image:
        assert image.mode == "RGB" and image.width % 2 == 0
        samples = np.array(image).astype(int)
    width = samples.shape[1] // 2
    return samples[:, :width], samples[:, width:]


def frames_of(path: Path) -> list[Frame]:
    with VideoDecoder(path) as decoder:
        return list(decoder)


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """A function that previews a frame and returns both halves."""

    def run(source: Path, number: int) -> tuple[Any, Any]:
        executor = Brighter()
        engine = DerainEngine(executor=executor)
        preview(source, tmp_path / "look.png", number, engine, overwrite=True)
        assert executor.count == 1
        return halves(tmp_path / "look.png")

    return run


# B-frames, a long group of pictures, odd times; formats that tell times and that do not.
CLIPS = [
    ("b.mp4", {"codec": "libx264", "options": {"bf": "3", "g": "250"}, "ticks": range(40)}),
    ("cut.mkv", {"codec": "libx264", "options": {"bf": "2", "g": "7"}, "ticks": range(40)}),
    ("b.mov", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    ("late.ts", {"codec": "libx264", "options": {"bf": "2", "g": "9"}, "ticks": range(40)}),
    ("odd.mkv", {"ticks": [3, 4, 9, 10, 30, 31, 33, 70], "time_base": Fraction(1, 90)}),
    ("rate.mp4", {"codec": "libx264", "time_base": Fraction(1001, 24000), "ticks": range(60)}),
    ("plain.avi", {"codec": "mpeg4", "options": {"g": "5"}, "ticks": range(20)}),
    ("raw.h264", {"codec": "libx264", "options": {"bf": "0", "g": "5"}, "ticks": range(20)}),
]


@pytest.mark.parametrize(("name", "settings"), CLIPS, ids=[name for name, _ in CLIPS])
def test_frame_n_is_the_nth_that_is_decoded(
    make_clip: Make, name: str, settings: dict[str, Any]
) -> None:
    source = make_clip(name, **{"noise": False, **settings})
    frames = frames_of(source)
    for number in {0, 1, 5, len(frames) // 2, len(frames) - 2, len(frames) - 1}:
        found, info = frames_up_to(source, number, 3)
        wanted = frames[max(0, number - 3) : number + 1]
        assert [frame.seconds for frame in found] == [frame.seconds for frame in wanted], number
        assert info.width == 64
        for frame, want in zip(found, wanted, strict=True):
            for one, other in zip(frame.planes, want.planes, strict=True):
                assert torch.equal(one, other), number
    for number in (len(frames), 100_000):
        with pytest.raises(UsageError, match=f"has {len(frames)} frames, 0 to {len(frames) - 1}"):
            frames_up_to(source, number, 3)


def test_a_frame_far_away_is_reached_without_decoding_all_before(
    make_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(
        "long.mp4", "libx264", ticks=range(300), noise=False, options={"g": "10", "bf": "2"}
    )
    decoders: list[VideoDecoder] = []

    class Counted(VideoDecoder):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            decoders.append(self)

    monkeypatch.setattr("sapnet_stream.preview.VideoDecoder", Counted)
    expected = frames_of(source)[280]
    frames, _ = frames_up_to(source, 280, 16)
    assert len(frames) == 17
    assert torch.equal(frames[-1].planes[0], expected.planes[0])
    assert len(decoders) == 1 and decoders[0].decoded < 60


def test_left_is_before_and_right_is_after(
    make_clip: Make, look: Callable[..., tuple[Any, Any]]
) -> None:
    source = make_clip("in.mkv", pixel_format="bgr0", size=(31, 20))
    before, after = look(source, 4)
    expected = (to_rgb(frames_of(source)[4])[0] * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(before, expected)
    assert np.abs(after - np.minimum(before + 0.1 * 255, 255)).max() <= 1


TURNS = {
    0: [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30],
    90: [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30],
    180: [-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30],
    270: [0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30],
}


@pytest.mark.parametrize("degrees", TURNS)
def test_it_is_turned_as_a_player_turns_it(
    make_clip: Make, look: Callable[..., tuple[Any, Any]], degrees: int
) -> None:
    source = make_clip("in.mp4", "libx264", noise=False, display_matrix=TURNS[degrees])
    plain = make_clip("plain.mp4", "libx264", noise=False)
    (upright, _), (stored, _) = look(source, 3), look(plain, 3)
    # The matrix turns clockwise, NumPy counterclockwise.
    assert np.array_equal(upright, np.rot90(stored, -degrees // 90))


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(Fraction(4, 3), (85, 48)), (Fraction(1, 2), (64, 96)), (Fraction(1), (64, 48))],
)
def test_it_has_the_proportions_of_the_display(
    make_clip: Make, look: Callable[..., tuple[Any, Any]], ratio: Fraction, size: tuple[int, int]
) -> None:
    source = make_clip("in.mp4", "libx264", noise=False, sample_aspect_ratio=ratio)
    before, after = look(source, 0)
    assert before.shape == after.shape == (size[1], size[0], 3)


def test_a_turned_picture_is_stretched_as_it_is_stored(
    make_clip: Make, look: Callable[..., tuple[Any, Any]]
) -> None:
    settings = {"noise": False, "sample_aspect_ratio": Fraction(4, 3)}
    turned = make_clip("in.mp4", "libx264", display_matrix=TURNS[90], **settings)
    stored = make_clip("plain.mp4", "libx264", **settings)
    (upright, _), (lying, _) = look(turned, 0), look(stored, 0)
    assert upright.shape == (85, 48, 3)
    assert np.abs(upright - np.rot90(lying, -1)).max() <= 1


def test_colours_are_those_of_the_tags(
    make_clip: Make, look: Callable[..., tuple[Any, Any]]
) -> None:
    # 601 and 709, limited and full, of the same samples.
    pictures = [
        look(make_clip(f"{matrix}{full}.mkv", colour=(matrix, full, 1, 1)), 0)[0]
        for matrix in (1, 6)
        for full in (1, 2)
    ]
    for number, one in enumerate(pictures):
        for other in pictures[number + 1 :]:
            assert np.abs(one - other).mean() > 1


def test_a_wide_gamut_is_tagged_in_the_picture(make_clip: Make, look: Any, tmp_path: Path) -> None:
    source = make_clip("hdr.mkv", pixel_format="yuv420p10le", colour=(9, 1, 9, 16))
    look(source, 0)
    assert b"cICP\x09\x0d\x00\x01" in (tmp_path / "look.png").read_bytes()
    look(make_clip("sdr.mkv", colour=(1, 1, 1, 1)), 0)
    assert b"cICP" not in (tmp_path / "look.png").read_bytes()


def test_mistakes_are_one_sentence_and_write_nothing(make_clip: Make, tmp_path: Path) -> None:
    source = make_clip("in.mp4", "libx264", ticks=range(3), noise=False)
    (tmp_path / "there.png").write_bytes(b"precious")
    cases: list[tuple[type[SapnetError], Path, str, int]] = [
        (UsageError, source, "look.png", 3),
        (UsageError, source, "look.png", -1),
        (OutputError, source, "look.mp4", 0),
        (OutputError, source, "there.png", 0),
        (OutputError, source, "none/look.png", 0),
        (InputError, tmp_path / "missing.mp4", "look.png", 0),
        (InputError, tmp_path / "there.png", "look.png", 0),
    ]
    for kind, path, name, number in cases:
        with pytest.raises(kind):
            preview(path, tmp_path / name, number, DerainEngine(executor=Brighter()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_a_video_is_no_image_but_has_frames(
    make_clip: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(make_clip("in.mkv")), str(tmp_path / "out.png")]) == 2
    assert "add --preview FRAME for one of its frames" in capfd.readouterr().err
