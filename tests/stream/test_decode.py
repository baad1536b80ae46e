"""Parts of files, damaged files, and files that are not what they seem."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.demux import Demuxer
from sapnet_stream.video.span import Span, span_between

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]

# Keyframes every 12 frames with B-frames between: a place to seek to is rarely the start.
GROUPS = {"preset": "medium", "g": "12", "bf": "3"}
STARTS = [0.5, 0.9, 1.0, 1.4, 1.43, 1.44, 1.48, 1.88, 1.92, 1.96, 2.0, 2.39, 3.3]


def times(path: Path, *part: float | None) -> list[Fraction]:
    with VideoDecoder(path, span_between(path, *part)) as decoder:
        return [frame.pts * frame.time_base for frame in decoder]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "nut", "ts", "avi", "h264"])
def test_a_part_has_exactly_the_frames_between_its_ends(make_clip: Make, suffix: str) -> None:
    clip = make_clip(f"in.{suffix}", "libx264", ticks=range(100), noise=False, options=GROUPS)
    every = times(clip)
    assert len(every) == 100
    with av.open(str(clip)) as container:
        first = Fraction(container.start_time or 0, 1_000_000)
    for start in STARTS:
        begin = first + Fraction(start).limit_denominator(1_000_000)
        assert times(clip, start, 0.8) == [
            t for t in every if begin <= t < begin + Fraction(4, 5)
        ], start
    assert times(clip, None, 0.2) == [t for t in every if t < first + Fraction(1, 5)]
    assert times(clip, 3.9, None) == [t for t in every if t >= first + Fraction(39, 10)]


def test_few_times_in_a_program_stream_lose_no_frame_of_a_part(make_clip: Make) -> None:
    clip = make_clip("in.mpg", "libx264", ticks=range(100), noise=False, options=GROUPS)
    every = times(clip)
    for number in (46, 58, 76):
        with VideoDecoder(clip, Span(every[number])) as decoder:
            assert [frame.pts * frame.time_base for frame in decoder] == every[number:], number


def test_a_part_begins_at_zero_with_its_sound_in_step(
    make_clip: Make, read_clip: Read, derain: Derain, sound: Any, tmp_path: Path
) -> None:
    marks = [
        {
            "id": n,
            "start": n * 900,
            "end": n * 900 + 900,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": f"part {n}"},
        }
        for n in range(3)
    ]
    source = make_clip(
        "in.mp4",
        "libx264",
        ticks=range(75),
        noise=False,
        options=GROUPS,
        sounds=[sound("aac")],
        chapters=marks,
    )
    derain(source, tmp_path / "out.mp4", start_seconds=1.0, duration_seconds=1.2)
    before, after = read_clip(source), read_clip(tmp_path / "out.mp4")
    with av.open(str(source)) as container:
        begin = 1 + Fraction(container.start_time or 0, 1_000_000)
    tick = Fraction(1, 12800)
    inside = [t for t in before.times if begin <= t < begin + Fraction(12, 10)]
    assert len(after.times) == 30
    for was, now in zip(inside, after.times, strict=True):
        assert abs(was - begin - now) <= tick
    heard = [p for p in before.packets[0] if begin <= p[1] < begin + Fraction(12, 10)]
    assert [p[0] for p in after.packets[0]] == [p[0] for p in heard]
    for was, now in zip(heard, after.packets[0], strict=True):
        # MP4 keeps the delay of a track's first sample in milliseconds.
        assert abs(was[1] - begin - now[1]) <= Fraction(1, 1000)
    titles = [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in after.tags["chapters"]]
    assert [title for title, _ in titles] == ["part 1", "part 2"]
    assert titles[0][1] == 0 and abs(titles[1][1] + begin - Fraction(18, 10)) <= Fraction(1, 1000)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ((-1.0, None), "--start must be 0 or more"),
        ((float("nan"), None), "--start must be 0 or more"),
        ((float("inf"), None), "--start must be 0 or more"),
        ((None, 0.0), "--duration must be more than 0"),
        ((None, float("nan")), "--duration must be more than 0"),
        ((99.0, None), "beyond the end"),
        ((0.41, 0.01), "no frame at or after --start and before the end of --duration"),
        ((0.97, None), "no frame at or after --start$"),
    ],
)
def test_a_part_that_is_none_is_refused(
    make_clip: Make, part: tuple[float | None, float | None], reason: str
) -> None:
    clip = make_clip(ticks=range(25))
    with pytest.raises(UsageError, match=reason):
        VideoDecoder(clip, span_between(clip, *part))


@pytest.mark.parametrize("damaged", [[10], [27], [29], [12, 13, 25], [28, 29]])
def test_damaged_packets_are_counted_and_the_rest_is_kept(
    make_clip: Make, derain: Derain, tmp_path: Path, damaged: list[int]
) -> None:
    clip = make_clip("in.mkv", "libx264", ticks=range(30), noise=False, options={"g": "1"})
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    for number in damaged:
        at = data.find(packets[number])
        data[at + 4 : at + len(packets[number])] = bytes(len(packets[number]) - 4)
    clip.write_bytes(data)
    report = derain(clip, tmp_path / "out.mkv")
    assert report.frames == 30 - len(damaged)
    (warning,) = report.warnings
    assert warning.startswith(f"{len(damaged)} damaged packets")


def test_a_file_that_was_cut_short_is_told(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    whole = make_clip("whole.mp4", "libx264", ticks=range(100), noise=False)
    # The index in front, as downloads have it.
    with (
        av.open(str(whole)) as old,
        av.open(str(tmp_path / "in.mp4"), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in list(old.demux()):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    cut = tmp_path / "in.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    report = derain(cut, tmp_path / "out.mp4")
    assert 0 < report.frames < 100
    assert any("cut short" in warning for warning in report.warnings)


def test_time_that_starts_again_loses_no_frame(
    make_clip: Make, derain: Derain, sound: Any, tmp_path: Path
) -> None:
    clip = make_clip("once.ts", "libx264", ticks=range(20), noise=False, sounds=[sound("aac")])
    (tmp_path / "in.ts").write_bytes(clip.read_bytes() * 2)
    report = derain(tmp_path / "in.ts", tmp_path / "out.mkv")
    assert report.frames == 40


def test_the_size_must_not_change_midway(make_clip: Make, tmp_path: Path) -> None:
    small = make_clip("a.h264", "libx264", noise=False, ticks=range(5))
    large = make_clip("b.h264", "libx264", size=(96, 64), noise=False, ticks=range(5))
    (tmp_path / "in.h264").write_bytes(small.read_bytes() + large.read_bytes())
    with (
        pytest.raises(InputError, match=r"frame 6 .* 64x48 .* 96x64 .* cut the file"),
        VideoDecoder(tmp_path / "in.h264") as decoder,
    ):
        list(decoder)


@pytest.mark.parametrize("strange", [1, 10])
def test_a_few_pictures_of_another_size_are_damage(
    make_clip: Make, derain: Derain, tmp_path: Path, strange: int
) -> None:
    large = make_clip("large.avi", "mjpeg", "yuvj420p", size=(96, 64), ticks=range(strange))
    with av.open(str(large)) as container:
        wrong = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    clip = make_clip("plain.mkv", "mjpeg", "yuvj420p", ticks=range(30))
    with av.open(str(clip)) as old, av.open(str(tmp_path / "in.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            place = number - 15
            other: Any = av.Packet(wrong[place]) if 0 <= place < strange else packet
            other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
            other.stream = stream
            new.mux_one(other)
    report = derain(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert report.frames == 30 - strange
    (warning,) = report.warnings
    assert warning.startswith(f"{strange} damaged packets")


def test_times_beyond_all_reason_are_moved(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    ticks = [2**62 + number for number in range(4)]
    clip = make_clip("in.mkv", "mjpeg", "yuvj420p", ticks=ticks, time_base=Fraction(1, 1000))
    report = derain(clip, tmp_path / "out.mkv")
    assert report.frames == 4
    assert any("4 frames" in w and "went back in time" in w for w in report.warnings)


def test_cover_art_is_not_the_video(make_clip: Make, derain: Derain) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("makes a file with cover art by the ffmpeg program")
    clip = make_clip("plain.mp4", "libx264", noise=False)
    folder = clip.parent
    picture = av.VideoFrame.from_ndarray(np.zeros((20, 30, 3), np.uint8), "rgb24")
    picture.save(folder / "cover.png")
    command = "-v error -i plain.mp4 -i cover.png -map 0 -map 1 -c copy -disposition:v:1"
    subprocess.run([program, *command.split(), "attached_pic", "in.mp4"], cwd=folder, check=True)
    # Matroska's is another: there and back.
    for before, after in (("in.mp4", "out.mp4"), ("in.mp4", "out.mkv"), ("out.mkv", "back.mp4")):
        report = derain(folder / before, folder / after)
        assert (report.frames, report.warnings) == (12, [])
        with av.open(str(folder / "in.mp4")) as one, av.open(str(folder / after)) as two:
            covers = [bytes(next(c.demux(c.streams[1]))) for c in (one, two)]
            assert covers[0] == covers[1]
            assert two.streams[1].disposition == one.streams[1].disposition
    (warning,) = derain(folder / "in.mp4", folder / "out.mov").warnings
    assert "stream 1 (video, png) was left out" in warning and warning.endswith(".mp4 can")
    demuxer = Demuxer(folder / "in.mp4")
    with demuxer.container:
        streams = [demuxer.video, *demuxer.others]
        packets = list(demuxer.packets(streams, Fraction(4, 25)))
    assert len(packets) < 10, "the cover has no end to wait for"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("mp4", "ffconcat version 1.0\nfile secret.mkv\n"),
        ("mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mkv\n#EXT-X-ENDLIST\n"),
        ("mkv", "ffconcat version 1.0\nfile 'secret.mkv'\n"),
        ("mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'),
        ("sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    ],
)
def test_a_list_of_other_files_is_not_followed(
    make_clip: Make, tmp_path: Path, suffix: str, content: str
) -> None:
    make_clip("secret.mkv")
    path = tmp_path / f"list.{suffix}"
    path.write_text(content)
    with pytest.raises(InputError, match="is not a video file"):
        VideoDecoder(path)


@pytest.mark.parametrize("name", ["concat:a.mkv|b.mkv", "subfile,,start,0,end,9,,:a.mkv", "pipe:"])
def test_a_name_is_a_name_and_no_address(
    make_clip: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clip = make_clip("a.mkv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        VideoDecoder(Path(name))
    clip.rename(tmp_path / name)
    assert len(times(Path(name))) == 12


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(5000), b"\0\0\0\x18ftypmp42"])
def test_what_is_no_video_is_told_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        VideoDecoder(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_sound_alone_and_folders_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mka"), "w", format="matroska") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        block.sample_rate, block.pts = 48000, 0
        container.mux(stream.encode(block) + stream.encode(None))
    with pytest.raises(InputError, match="no video stream"):
        VideoDecoder(tmp_path / "in.mka")
    with pytest.raises(InputError, match="is a folder"):
        VideoDecoder(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        VideoDecoder(tmp_path / "nothing.mp4")
