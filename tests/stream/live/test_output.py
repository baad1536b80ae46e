"""Outputs: formats by name, mistakes in one sentence, and which rolling files stay."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.output import (
    Keep,
    Output,
    free_path,
    parse_keep,
    prune,
    rolling_files,
    timed_path,
)


def output(text: str, segment_seconds: float | None = None) -> Output:
    return Output(parse_address(text, "output"), segment_seconds)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.mkv", "matroska"),
        ("a.mp4", "mp4"),
        ("a.ts", "mpegts"),
        ("a.m3u8", "hls"),
        ("-", "mpegts"),
        ("rtsp://h/x", "rtsp"),
        ("rtmp://h/app/key", "flv"),
        ("srt://h:9", "mpegts"),
        ("udp://h:9", "mpegts"),
    ],
)
def test_formats(name: str, format: str) -> None:
    assert output(name).format == format


def test_passwords_of_srt_are_options_and_packets_of_udp_fit() -> None:
    srt = Output(parse_address("srt://h:9", "output").with_credentials(None, "pass word!"))
    assert srt.options == {"passphrase": "pass word!"} and "pass" not in srt.url
    assert output("udp://h:9").url == "udp://h:9?pkt_size=1316"
    assert output("udp://h:9?ttl=2").url == "udp://h:9?ttl=2"


def write_playlist(clip: Path, to: Output) -> list[str]:
    """Cut a clip into pieces of 0.4 s; returns the names of those that can be found by it."""
    options = {**to.options, "hls_time": "0.4"}
    with av.open(str(clip)) as old, av.open(to.url, "w", format=to.format, options=options) as new:
        copy = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    lines = Path(to.address.path).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_playlists_in_one_folder_keep_apart_and_delete_what_is_old(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"bf": "0", "g": "10", "preset": "ultrafast"}
    clip = make_clip("in.ts", "libx264", ticks=range(250), noise=False, options=options)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.chdir(folder)
    found = [write_playlist(clip, output(name)) for name in ("live.m3u8", "live1.m3u8")]
    assert found == [[f"{name}_{n}.ts" for n in range(19, 25)] for name in ("live", "live1")]
    # FFmpeg deletes a piece after the next one only.
    kept = {*found[0], *found[1], "live_18.ts", "live1_18.ts", "live.m3u8", "live1.m3u8"}
    assert {each.name for each in folder.iterdir()} == kept


def test_mistakes(tmp_path: Path) -> None:
    for text in ("out.avi", "out"):
        with pytest.raises(OutputError, match="names no format"):
            output(text)
    with pytest.raises(OutputError, match="not a folder"):
        output(str(tmp_path / "none" / "a.mkv"))
    with pytest.raises(OutputError, match="you may not write to"):
        output("/proc/self/a.mkv")
    with pytest.raises(UsageError, match="--segment is for files"):
        output("rtsp://h/x", 60)
    for text in ("", "0", "5m", "-3", "1.5h", "2 GB"):
        with pytest.raises(UsageError, match="--keep must be like"):
            parse_keep(text)


def test_limits_are_understood() -> None:
    assert parse_keep("20") == Keep(files=20)
    assert parse_keep("12h") == Keep(seconds=43_200)
    assert parse_keep("7d") == Keep(seconds=604_800)
    assert parse_keep("20GB") == Keep(bytes=20 * 10**9)


def test_names_tell_the_time_and_are_never_used_twice(tmp_path: Path) -> None:
    now = datetime(2026, 11, 26, 9, 30, 5, tzinfo=UTC)
    first = timed_path(tmp_path / "yard.mkv", now)
    assert first.name == "yard-20261126T093005Z.mkv"
    first.touch()
    second = timed_path(tmp_path / "yard.mkv", now)
    assert second.name == "yard-20261126T093005Z-2.mkv"
    assert free_path(tmp_path / "new.mkv").name == "new.mkv"


@pytest.fixture
def rolled(tmp_path: Path) -> Callable[[], list[int]]:
    """A folder of five rolling files of an hour and 100 bytes each; returns those left."""
    for hour in range(5):
        file = tmp_path / f"yard-20261126T0{hour}0000Z.mkv"
        file.write_bytes(bytes(100))
        os.utime(file, (hour * 3600, hour * 3600))
    # What only looks like one of them.
    for name in ("yard.mkv", "yard-2.mkv", "backyard-20261126T000000Z.mkv", "yard-notes.mkv"):
        (tmp_path / name).touch()
    return lambda: [int(f.name[14:16]) for f in rolling_files(tmp_path / "yard.mkv")]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), [0, 1, 2, 3, 4]),
        (Keep(files=2), [3, 4]),
        (Keep(seconds=2 * 3600), [2, 3, 4]),
        (Keep(bytes=350), [2, 3, 4]),
        (Keep(bytes=1), [4]),
        (Keep(seconds=0), [4]),
    ],
)
def test_the_oldest_are_deleted_and_nothing_else(
    tmp_path: Path, rolled: Callable[[], list[int]], keep: Keep, left: list[int]
) -> None:
    others = len(list(tmp_path.iterdir())) - 5
    prune(tmp_path / "yard.mkv", keep, now_seconds=4 * 3600)
    assert rolled() == left
    assert len(list(tmp_path.iterdir())) == others + len(left)


def test_files_that_a_full_disk_left_empty_count_for_nothing(
    tmp_path: Path, rolled: Callable[[], list[int]]
) -> None:
    for second in range(1, 4):
        file = tmp_path / f"yard-20261126T05000{second}Z.mkv"
        file.touch()
        os.utime(file, (5 * 3600 + second,) * 2)
    prune(tmp_path / "yard.mkv", Keep(files=5), now_seconds=6 * 3600)
    assert rolled() == [0, 1, 2, 3, 4]
