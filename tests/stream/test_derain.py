"""The file job: the target appears complete or not at all, whatever happens on the way."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sapnet_stream.derain import Start, derain_file, derain_video
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import OutputError, SapnetError, UsageError
from sapnet_stream.job import Job
from sapnet_stream.video.codec import EncoderSettings

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk, a write beyond `size` bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Failing:
    """Works for some frames, then fails as a broken device would."""

    name = "failing"

    def __init__(self, frames: int) -> None:
        self.left = frames

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the device went away")
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("frames", [0, 1, 7, 11])
def test_a_failing_network_leaves_nothing_and_says_where(
    make_clip: Make, tmp_path: Path, suffix: str, frames: int
) -> None:
    source = make_clip("in.mp4", "libx264", noise=False)
    before = names(tmp_path)
    job = Job(source, tmp_path / f"out.{suffix}", encoder=EncoderSettings(preset="ultrafast"))
    with pytest.raises(RuntimeError, match="went away") as caught:
        derain_file(job, DerainEngine(executor=Failing(frames)))
    assert f"at the frame of {frames / 25:.3f} s" in caught.value.__notes__
    assert "in stage derain" in caught.value.__notes__
    assert names(tmp_path) == before


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1"])
def test_giving_up_in_the_middle_is_quick_with_every_encoder(
    make_clip: Make, tmp_path: Path, codec: str
) -> None:
    source = make_clip("in.mkv", ticks=range(60))
    began = time.monotonic()
    job = Job(source, tmp_path / "out.mkv", encoder=EncoderSettings(codec=codec))
    with pytest.raises(RuntimeError, match="went away"):
        derain_file(job, DerainEngine(executor=Failing(40)))
    assert time.monotonic() - began < 20
    assert names(tmp_path) == {"in.mkv"}


def test_an_existing_target_is_kept_unless_told_otherwise(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.mkv")
    target = tmp_path / "out.mkv"
    target.write_text("precious")
    with pytest.raises(OutputError, match=r"exists: .* --overwrite"):
        derain(source, target)
    assert target.read_text() == "precious"
    with pytest.raises(RuntimeError):
        derain_file(Job(source, target, overwrite=True), DerainEngine(executor=Failing(3)))
    assert target.read_text() == "precious"
    derain(source, target, overwrite=True)
    assert len(read_clip(target).times) == 12
    assert names(tmp_path) == {"in.mkv", "out.mkv"}


def test_a_target_written_meanwhile_is_kept_and_so_is_the_work(
    make_clip: Make, read_clip: Read, tmp_path: Path
) -> None:
    source = make_clip("in.mkv")
    target = tmp_path / "out.mkv"
    engine = DerainEngine(executor=Failing(99))

    def intrude(*_: object) -> None:
        target.write_text("precious")

    with pytest.raises(OutputError, match="meanwhile: the result is"):
        derain_file(Job(source, target), engine, intrude)
    assert target.read_text() == "precious"
    assert len(read_clip(tmp_path / "out.partial.mkv").times) == 12


def test_a_file_named_like_the_unfinished_one_is_kept(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("out.partial.mkv")
    content = source.read_bytes()
    derain(source, tmp_path / "out.mkv")
    assert source.read_bytes() == content
    assert names(tmp_path) == {"out.mkv", "out.partial.mkv"}


@pytest.mark.parametrize("kind", ["same", "symlink", "hard link"])
def test_the_input_is_never_the_output(
    make_clip: Make, derain: Derain, tmp_path: Path, kind: str
) -> None:
    source = make_clip("in.mkv")
    content = source.read_bytes()
    target = source if kind == "same" else tmp_path / "other.mkv"
    if kind == "symlink":
        target.symlink_to(source)
    elif kind == "hard link":
        target.hardlink_to(source)
    with pytest.raises(OutputError, match="is the input"):
        derain(source, target, overwrite=True)
    assert source.read_bytes() == content


@pytest.mark.parametrize(
    ("target", "settings", "reason"),
    [
        ("no/such/folder/out.mkv", {}, "is not a folder"),
        ("folder.mkv", {}, "is a folder"),
        ("pipe.mkv", {"overwrite": True}, "device or a pipe"),
        ("out", {}, r"ending \(none\)"),
        ("out.xyz", {}, "ending .xyz"),
        ("out.png", {}, "ending .png"),
        ("out.m3u8", {}, "ending .m3u8"),
        ("out.avi", {}, "ending .avi"),
        ("out.webm", {"codec": "h264"}, "webm files cannot hold h264"),
        ("out.mov", {"codec": "ffv1"}, "mov files cannot hold ffv1"),
        ("out.mkv", {"codec": "h264", "preset": "warp"}, "libx264 cannot .* --preset"),
        ("out.mkv", {"codec": "av1", "preset": "warp"}, "libsvtav1 cannot .* --preset"),
        ("out.mkv", {"crf": 20}, "ffv1 is lossless and has no --crf"),
        ("out.mkv", {"preset": "slow"}, "ffv1 has no --preset"),
        ("out.mkv", {"codec": "h264", "crf": 64}, "--crf must be 0"),
        ("x" * 300 + ".mkv", {}, "File name too long"),
    ],
)
def test_a_target_that_cannot_be_is_told_in_one_sentence(
    make_clip: Make,
    derain: Derain,
    tmp_path: Path,
    target: str,
    settings: dict[str, Any],
    reason: str,
) -> None:
    source = make_clip("in.mkv")
    (tmp_path / "folder.mkv").mkdir()
    os.mkfifo(tmp_path / "pipe.mkv")
    before = names(tmp_path)
    with pytest.raises((OutputError, UsageError), match=reason) as caught:
        derain(source, tmp_path / target, **settings)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_told(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.mkv")
    (tmp_path / "shut").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        derain(source, tmp_path / "shut" / "out.mkv")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.9, 0.999])
def test_a_full_disk_is_one_sentence_and_loses_no_part(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, suffix: str, share: float
) -> None:
    source = make_clip("in.mkv", ticks=range(30))
    whole = tmp_path / f"whole.{suffix}"
    settings: dict[str, Any] = {"codec": "h264", "crf": 10, "part_seconds": 0.4}
    derain(source, whole, **settings)
    size = whole.stat().st_size
    before = names(tmp_path)
    target = tmp_path / f"out.{suffix}"
    with largest_file(int(size * share)), pytest.raises(OutputError, match=r"out.* cannot be"):
        derain(source, target, **settings)
    kept = {f"out.{suffix}.parts"} if share >= 0.5 else set()
    assert names(tmp_path) == before | kept
    derain(source, target, resume=True, **settings)
    assert names(tmp_path) == before | {f"out.{suffix}"}
    once, twice = read_clip(whole), read_clip(target)
    assert once.times == twice.times
    assert all(
        np.array_equal(a, b)
        for one, two in zip(once.planes, twice.planes, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def test_strength_zero_is_exact_and_half_is_half(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", "ffv1", "yuv420p", (33, 17), noise=False)
    for strength in (0, 1, 0.5):
        derain(source, tmp_path / f"{strength}.mkv", amount=0.08, strength=strength)
    before, *after = (
        read_clip(path) for path in (source, *(tmp_path / f"{s}.mkv" for s in (0, 1, 0.5)))
    )
    luma, none, full, half = (clip.planes[0][0].astype(int) for clip in (before, *after))
    assert np.array_equal(luma, none)
    steps = [int(np.median(other - luma)) for other in (full, half)]
    assert steps == [round(0.08 * 219), round(0.04 * 219)]


def test_a_video_can_be_iterated_in_the_library(make_clip: Make) -> None:
    frames = derain_video(make_clip("in.mkv"), DerainEngine(executor=Failing(99)))
    assert [frame.pts for frame in frames] == [40 * n for n in range(12)]
    stopped = derain_video(make_clip("in.mkv"), DerainEngine(executor=Failing(99)))
    next(stopped)
    stopped.close()


def test_every_error_has_its_own_documented_status() -> None:
    kinds = [k for k in SapnetError.__subclasses__() if k.__module__ == SapnetError.__module__]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes == {
        "UsageError": 2,
        "InputError": 3,
        "OutputError": 4,
        "WeightsError": 5,
        "TooLargeError": 6,
    }


def test_what_is_needed_is_said_and_refused_before_the_first_frame(
    make_clip: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("in.mkv", ticks=range(30))
    starts: list[Start] = []
    engine = DerainEngine(executor=Failing(99))
    derain_file(Job(source, tmp_path / "one.mkv"), engine, starts.append)
    assert "of memory beside the network's" in str(starts[0].needs) and not starts[0].warnings
    needed = starts[0].needs.disk_bytes
    assert needed is not None and needed > 0

    def free(amount: int) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=amount)
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    free(needed - 1)
    derain_file(Job(source, tmp_path / "two.mkv"), engine, starts.append)
    (warning,) = starts[1].warnings
    assert "free space" in warning
    free(needed // 20)
    with pytest.raises(OutputError, match="of disk until its end"):
        derain_file(Job(source, tmp_path / "three.mkv"), engine, starts.append)
    assert len(starts) == 2
    assert names(tmp_path) == {"in.mkv", "one.mkv", "two.mkv"}


def test_what_the_pixel_format_loses_is_said_unless_it_was_asked_for(
    make_clip: Make, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", pixel_format="yuv420p10le")
    starts: list[Start] = []
    engine = DerainEngine(executor=Failing(99))
    for number, wanted in enumerate((None, "yuv420p")):
        encoder = EncoderSettings("vp9", pixel_format=wanted)
        job = Job(source, tmp_path / f"{number}.mkv", encoder=encoder)
        derain_file(job, engine, starts.append)
    (said,), (none) = (start.warnings for start in starts)
    assert "the output is yuv420p: 10 bits become 8;" in said and none == []
