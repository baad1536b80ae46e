"""What a job is said to need, against what real jobs take."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from sapnet_stream.errors import OutputError, TooLargeError
from sapnet_stream.limits import Needs, check_needs, needs, size
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.video.codec import EncoderPlan, EncoderSettings, plan_encoder
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.span import span_between

Derain = Callable[..., Any]


def look(
    path: Path, seconds: float | None = None, **settings: Any
) -> tuple[VideoInfo, EncoderPlan]:
    with VideoDecoder(path, span_between(path, None, seconds)) as decoder:
        info = decoder.info
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        return info, plan_encoder(EncoderSettings(**settings), info, container)


@pytest.mark.parametrize("settings", [{}, {"crf": 12.0}, {"codec": "ffv1"}], ids=str)
def test_real_results_are_near_what_was_said(
    data_dir: Path, derain: Derain, tmp_path: Path, settings: dict[str, Any]
) -> None:
    source = data_dir / "video" / "clips" / "bikes.mp4"
    said = needs(*look(source, 1.0, **settings), source.stat().st_size).disk_bytes
    derain(source, tmp_path / "out.mkv", preset=None, duration_seconds=1.0, **settings)
    took = 2 * (tmp_path / "out.mkv").stat().st_size
    assert said is not None
    # Never refused for a job that fits, and warned of one that does not.
    assert said / 10 < took < said


def test_quality_depth_and_size_count(data_dir: Path) -> None:
    source = data_dir / "video" / "clips" / "bikes.mp4"
    length = source.stat().st_size
    info, plan = look(source)
    _, finer = look(source, crf=12.0)
    disk = needs(info, plan, length).disk_bytes or 0
    assert needs(info, finer, length).disk_bytes == pytest.approx(2 * disk, rel=0.01)
    assert needs(info, plan, length, done_frames=info.frame_count or 0).disk_bytes == disk // 2
    large = replace(info, width=7680, height=4320)
    assert 5 * 2**30 < needs(large, plan, length).memory_bytes < 10 * 2**30
    deep = replace(large, layout=replace(large.layout, bits=10))
    assert needs(deep, plan, length).memory_bytes > 1.5 * needs(large, plan, length).memory_bytes


def test_a_header_that_promises_anything_refuses_nothing(data_dir: Path) -> None:
    source = data_dir / "video" / "clips" / "bikes.mp4"
    info, plan = look(source)
    lying = needs(replace(info, frame_count=2**62), plan, source.stat().st_size)
    assert lying.disk_bytes is not None and lying.disk_bytes <= 3 * source.stat().st_size
    assert needs(replace(info, frame_count=None), plan, 1000).disk_bytes is None
    assert needs(replace(info, frame_count=0), plan, 1000).disk_bytes is None


def test_what_is_not_there_is_refused_and_what_is_tight_is_told(tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path).free
    memory = available_bytes(torch.device("cpu"))
    assert check_needs(Needs(2**20, None), tmp_path) == []
    assert check_needs(Needs(2**20, 2**20), tmp_path) == []
    (told,) = check_needs(Needs(2**20, 3 * disk), tmp_path)
    assert size(3 * disk) in told and str(tmp_path) in told
    with pytest.raises(OutputError, match="name an output on another disk"):
        check_needs(Needs(2**20, 100 * disk), tmp_path)
    (told,) = check_needs(Needs(3 * memory // 2, None), tmp_path)
    assert "of memory" in told
    with pytest.raises(TooLargeError, match="scale the video down"):
        check_needs(Needs(10 * memory, None), tmp_path)


def test_sizes_are_said_as_people_do() -> None:
    assert size(30 * 2**10) == "30 KiB"
    assert (size(5 * 2**20), size(3 * 2**30 // 2)) == ("5 MiB", "1.5 GiB")
    assert str(Needs(2**30, 2**20)) == (
        "about 1.0 GiB of memory beside the network's, 1 MiB of disk until the end"
    )
    assert str(Needs(2**30, None)) == "about 1.0 GiB of memory beside the network's"
