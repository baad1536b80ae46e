"""Hardware that decodes: the CPU's frames, or one sentence."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from sapnet_stream.cli import main
from sapnet_stream.errors import UsageError
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.hardware import HardwareDecoder

Make = Callable[..., Path]


def decoded(path: Path, hardware: HardwareDecoder | None) -> list[Frame]:
    with VideoDecoder(path, hardware=hardware) as decoder:
        return [frame.detached() for frame in decoder]


def test_a_kind_that_is_not_built_in_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"--hwaccel abacus: this PyAV was built for .*cuda"):
        HardwareDecoder("abacus")


@pytest.mark.parametrize("name", ["cuda:99", "cuda:first"])
def test_a_device_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=f"--hwaccel {name} does not start here") as caught:
        HardwareDecoder(name)
    assert "\n" not in str(caught.value)


def test_a_codec_that_the_device_does_not_know_is_refused(make_clip: Make) -> None:
    # It opens with the first picture of a codec that it knows.
    hardware = HardwareDecoder("drm")
    with pytest.raises(UsageError, match=r"in\.mkv: --hwaccel drm does not decode ffv1"):
        decoded(make_clip("in.mkv"), hardware)


def test_the_command_decodes_nothing_where_the_device_is_not_there(
    make_clip: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = make_clip("in.mkv"), tmp_path / "out.mkv"
    assert main([str(source), str(target), "--hwaccel", "cuda:99"]) == 2
    assert "--hwaccel cuda:99 does not start here" in capfd.readouterr().err
    assert [path.name for path in tmp_path.glob("out*")] == []


@pytest.mark.usefixtures("needs_cuda")
@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx264", "yuv420p"), ("libx265", "yuv420p"), ("libx265", "yuv420p10le")],
)
def test_a_gpu_decodes_what_a_cpu_does(make_clip: Make, codec: str, pixel_format: str) -> None:
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        pytest.skip("needs the driver's library of decoders")
    path = make_clip("in.mkv", codec, pixel_format=pixel_format, noise=False, size=(320, 240))
    here, there = decoded(path, None), decoded(path, HardwareDecoder("cuda"))
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert (one.pts, one.layout, one.colour) == (other.pts, other.layout, other.colour)
        assert all((a == b).all() for a, b in zip(one.planes, other.planes, strict=True))
