"""A job on a damaged file that was stopped ends as if it had not been."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from sapnet_stream.derain import Report, derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.job import Job
from sapnet_stream.stop import Stop
from sapnet_stream.video.codec import EncoderSettings
from sapnet_stream.video.demux import Demuxer

Make = Callable[..., Path]
Read = Callable[[Path], Any]


class Same:
    """Stands in for the network: changes nothing."""

    name = "same"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


def derain(source: Path, target: Path, stop_at: int | None = None, resume: bool = False) -> Report:
    """In parts of ten frames; asked to stop once `stop_at` frames are written."""
    stop, written = Stop(), list[None]()

    def on_frame() -> None:
        written.append(None)
        if len(written) == stop_at:
            stop.ask()

    settings = EncoderSettings("ffv1")
    job = Job(source, target, encoder=settings, part_seconds=0.4, resume=resume)
    return derain_file(job, DerainEngine(executor=Same()), on_frame=on_frame, stop=stop)


@pytest.fixture
def check(read_clip: Read, tmp_path: Path) -> Callable[[Path, int], Report]:
    """A function that stops a job, lets it go on, and compares it with one that was not."""

    def run(source: Path, stop_at: int) -> Report:
        whole = derain(source, tmp_path / "whole.mkv")
        assert not derain(source, tmp_path / "out.mkv", stop_at).complete
        report = derain(source, tmp_path / "out.mkv", resume=True)
        assert report.complete and report.warnings == whole.warnings
        assert read_clip(tmp_path / "out.mkv").is_same(read_clip(tmp_path / "whole.mkv"))
        return report

    return run


def positions(path: Path) -> list[tuple[int, int]]:
    """Where the packets of the video lie in the file, from byte to byte."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pos or 0, (packet.pos or 0) + packet.size) for packet in packets]


def test_frames_behind_lost_ones_are_not_repeated(make_clip: Make, check: Any) -> None:
    clip = make_clip("in.avi", "mpeg4", ticks=range(100), noise=False, options={"g": "12"})
    data, packets = bytearray(clip.read_bytes()), positions(clip)
    # With the eight bytes before each, which say that there is one.
    begin, end = packets[20][0] - 8, packets[24][0] - 8
    data[begin:end] = bytes(end - begin)
    clip.write_bytes(data)
    assert check(clip, 55).frames == 96


def test_pictures_that_follow_a_damaged_keyframe_are_the_same(make_clip: Make, check: Any) -> None:
    options = {"g": "50", "sc_threshold": "0", "bf": "0"}
    clip = make_clip("in.mp4", "libx264", ticks=range(100), noise=False, options=options)
    data, (begin, end) = bytearray(clip.read_bytes()), positions(clip)[50]
    # But for its headers: what is missing is made up from the picture before, which a decoder
    # that begins here has not seen.
    data[begin + 40 : end] = bytes(end - begin - 40)
    clip.write_bytes(data)
    assert check(clip, 75).frames == 100


@pytest.mark.parametrize("numbers", [[58, 59], [59, 60], [60, 61], [63]])
@pytest.mark.parametrize(("name", "codec"), [("in.mov", "mjpeg"), ("in.mp4", "libx264")])
def test_damage_where_a_job_goes_on_is_counted_once(
    make_clip: Make, check: Any, name: str, codec: str, numbers: list[int]
) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = make_clip(name, codec, pixel_format, ticks=range(100), options={"g": "12"})
    data, packets = bytearray(clip.read_bytes()), positions(clip)
    for begin, end in (packets[number] for number in numbers):
        data[begin:end] = bytes(end - begin)
    clip.write_bytes(data)
    assert check(clip, 55).warnings[0].startswith(f"{len(numbers)} damaged packets")


def test_a_place_that_cannot_be_read_is_counted_once(make_clip: Make, check: Any) -> None:
    clip = make_clip("in.ivf", "libvpx", ticks=range(100), options={"cpu-used": "8"})
    data, (begin, _) = bytearray(clip.read_bytes()), positions(clip)[70]
    # The packet's length.
    data[begin : begin + 4] = b"\xff" * 4
    clip.write_bytes(data)
    demuxer = Demuxer(clip)
    with demuxer.container:
        assert len(list(demuxer.packets([demuxer.video]))) < 100
    assert check(clip, 55).warnings[0].startswith(f"{demuxer.damaged} damaged packets")
