"""Files in, files out: every frame, its time and its samples, and all that travels beside it."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]
MILLISECOND = Fraction(1, 1000)

FASTEST = {"libx264": "ultrafast", "libx265": "ultrafast", "libvpx-vp9": "8", "libsvtav1": "12"}
EFFORT = {"libvpx-vp9": "cpu-used"}
CONTAINERS = [
    ("mp4", "libx264"),
    ("mp4", "libx265"),
    ("mp4", "libsvtav1"),
    ("mov", "libx264"),
    ("mkv", "libx264"),
    ("mkv", "libx265"),
    ("mkv", "ffv1"),
    ("webm", "libvpx-vp9"),
    ("webm", "libsvtav1"),
]
TIMINGS: dict[str, tuple[list[int], Fraction, Fraction]] = {
    "constant": (list(range(10)), Fraction(1, 25), Fraction(25)),
    "variable": ([0, 1, 2, 5, 6, 9, 20, 21], Fraction(1, 100), Fraction(25)),
    "24000/1001": (list(range(10)), Fraction(1001, 24000), Fraction(24000, 1001)),
    "late start": (list(range(50, 58)), Fraction(1, 25), Fraction(25)),
    "1/90000": ([n * 3003 + n % 3 for n in range(8)], Fraction(1, 90000), Fraction(30000, 1001)),
}


def fastest(codec: str) -> dict[str, str]:
    return {EFFORT.get(codec, "preset"): FASTEST[codec]} if codec in FASTEST else {}


def milliseconds(time: Fraction) -> Fraction:
    """As Matroska stores it: rounded, halves away from zero."""
    return int(time * 1000 + Fraction(1, 2)) * MILLISECOND


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_frame_keeps_its_time(
    make_clip: Make,
    read_clip: Read,
    derain: Derain,
    tmp_path: Path,
    suffix: str,
    codec: str,
    timing: str,
) -> None:
    ticks, time_base, rate = TIMINGS[timing]
    source = make_clip(
        f"in.{suffix}",
        codec=codec,
        ticks=ticks,
        time_base=time_base,
        rate=rate,
        noise=False,
        options=fastest(codec),
    )
    preset = {"preset": FASTEST[codec]} if codec in FASTEST else {}
    report = derain(source, tmp_path / f"out.{suffix}", **preset)
    before, after = read_clip(source), read_clip(tmp_path / f"out.{suffix}")
    assert report.frames == len(before.times) == len(ticks)
    assert after.times == before.times
    assert after.tags["video"] == before.tags["video"]
    assert report.warnings == []
    if suffix in ("mp4", "mov"):
        assert after.times == [tick * time_base for tick in ticks]


def test_a_second_video_is_copied_untouched(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, capfd: Any
) -> None:
    first = make_clip("one.mkv", "libx264", noise=False, options={"bf": "0"})
    second = make_clip(
        "two.mkv", "libx265", noise=False, options={"x265-params": "log-level=none:bframes=0"}
    )
    with av.open(str(tmp_path / "in.mkv"), "w") as new:
        packets: list[Any] = []
        with av.open(str(first)) as one, av.open(str(second)) as two:
            for old in (one, two):
                stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
                for packet in (p for p in old.demux() if p.size):
                    packet.stream = stream
                    packets.append(packet)
            for packet in sorted(packets, key=lambda p: p.pts):
                new.mux_one(packet)
    capfd.readouterr()
    derain(tmp_path / "in.mkv", tmp_path / "out.mkv")
    # PyAV opens encoders for streams of video that it is not told to leave alone.
    assert capfd.readouterr().err == ""
    with av.open(str(tmp_path / "in.mkv")) as one, av.open(str(tmp_path / "out.mkv")) as two:
        headers = [c.streams.video[1].codec_context.extradata for c in (one, two)]
        assert headers[0] == headers[1]
    before, after = read_clip(tmp_path / "in.mkv"), read_clip(tmp_path / "out.mkv")
    assert [p[0] for p in after.packets[0]] == [p[0] for p in before.packets[0]]


@pytest.mark.parametrize("timing", TIMINGS)
def test_matroska_rounds_to_milliseconds_and_no_more(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, timing: str
) -> None:
    ticks, time_base, rate = TIMINGS[timing]
    source = make_clip("in.nut", ticks=ticks, time_base=time_base, rate=rate)
    derain(source, tmp_path / "out.mkv")
    expected = [milliseconds(tick * time_base) for tick in ticks]
    assert read_clip(tmp_path / "out.mkv").times == expected


@pytest.mark.parametrize(
    ("source_suffix", "target_suffix", "codecs"),
    [
        ("mp4", "mp4", ["aac", "aac"]),
        ("mkv", "mkv", ["libopus", "flac"]),
        ("mkv", "mp4", ["libopus", "aac"]),
        ("mov", "mov", ["pcm_s16le", "aac"]),
        ("mp4", "mkv", ["aac"]),
        ("mkv", "webm", ["libopus"]),
    ],
)
def test_sound_is_copied(
    make_clip: Make,
    read_clip: Read,
    derain: Derain,
    sound: Callable[..., Any],
    tmp_path: Path,
    source_suffix: str,
    target_suffix: str,
    codecs: list[str],
) -> None:
    languages = ["deu", "jpn"][: len(codecs)]
    sounds = [sound(*pair) for pair in zip(codecs, languages, strict=True)]
    codec = "libvpx-vp9" if target_suffix == "webm" else "libx264"
    name = f"in.{source_suffix}"
    source = make_clip(name, codec, sounds=sounds, noise=False, options=fastest(codec))
    target = tmp_path / f"out.{target_suffix}"
    report = derain(source, target, preset=FASTEST[codec])
    before, after = read_clip(source), read_clip(target)

    assert report.warnings == []
    # QuickTime has its own numbers for languages, and none for some.
    assert after.tags["languages"] == before.tags["languages"]
    assert source_suffix == "mov" or before.tags["languages"] == languages
    assert after.tags["codecs"] == before.tags["codecs"]
    # Matroska has no negative times: FFmpeg 8 moves a file that begins with some as a whole.
    moved = after.times[0] - before.times[0]
    assert 0 <= moved <= (Fraction(22, 1000) if target_suffix == "mkv" else 0)
    tolerance = MILLISECOND if "mkv" in (source_suffix, target_suffix) else 0
    for sent, received, name in zip(before.packets, after.packets, codecs, strict=True):
        assert b"".join(p[0] for p in received) == b"".join(p[0] for p in sent)
        if name.startswith("pcm"):
            continue  # the reader cuts it where it likes
        for (_, *times), (_, *expected) in zip(received, sent, strict=True):
            pairs = zip(times, expected, strict=True)
            assert all(abs(a - b - moved) <= tolerance for a, b in pairs)


@pytest.mark.parametrize("target_suffix", ["mkv", "mp4"])
def test_subtitles_are_copied_or_their_loss_is_told(
    read_clip: Read, derain: Derain, make_clip: Make, tmp_path: Path, target_suffix: str
) -> None:
    plain = make_clip("plain.mkv", "libx264", noise=False, ticks=range(25))
    with av.open(str(plain)) as old, av.open(str(tmp_path / "in.mkv"), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        words: Any = new.add_mux_stream("subrip")
        words.metadata["language"] = "fra"
        words.time_base = MILLISECOND
        packet: Any
        for packet in list(old.demux(old.streams.video[0])):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        # Two at once, as for signs and speech.
        for start, text in [(100, b"Il pleut"), (100, b"encore"), (700, b"Fini")]:
            packet = av.Packet(text)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = 200, MILLISECOND, words
            new.mux(packet)
    target = tmp_path / f"out.{target_suffix}"
    report = derain(tmp_path / "in.mkv", target)
    before, after = read_clip(tmp_path / "in.mkv"), read_clip(target)
    if target_suffix == "mkv":
        assert len(before.packets[0]) == 3
        assert after.packets == before.packets
        assert after.tags["languages"] == ["fra"]
        assert report.warnings == []
    else:
        assert after.packets == []
        (warning,) = report.warnings
        assert "subtitle" in warning and ".mkv can" in warning


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_tags_chapters_and_rotation_are_carried(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, suffix: str
) -> None:
    quarter_turn = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    marks = [
        {
            "id": number,
            "start": number * 200,
            "end": number * 200 + 200,
            "time_base": MILLISECOND,
            "metadata": {"title": f"part {number}"},
        }
        for number in range(2)
    ]
    source = make_clip(
        f"in.{suffix}",
        "libx264",
        "yuv420p10le",
        noise=False,
        sample_aspect_ratio=Fraction(4, 3),
        colour=(9, 1, 9, 16),
        display_matrix=quarter_turn,
        metadata={"title": "Regen im März"},
        chapters=marks,
    )
    report = derain(source, tmp_path / f"out.{suffix}")
    before, after = read_clip(source).tags, read_clip(tmp_path / f"out.{suffix}").tags
    assert report.warnings == []
    for name in ("colour", "rotation", "aspect", "format", "size"):
        assert after[name] == before[name], name
    assert after["colour"] == (9, 1, 9, 16)
    assert after["aspect"] == Fraction(4, 3)
    assert abs(after["rotation"]) == 90
    assert after["metadata"]["title"] == "Regen im März"
    titles = [chapter["metadata"]["title"] for chapter in after["chapters"]]
    starts = [chapter["start"] * chapter["time_base"] for chapter in after["chapters"]]
    assert (titles, starts) == (["part 0", "part 1"], [0, Fraction(1, 5)])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_another_reader_finds_the_same(
    make_clip: Make, derain: Derain, sound: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("compares by the ffprobe program")
    ticks, time_base, rate = TIMINGS["variable"]
    source = make_clip(
        f"in.{suffix}",
        "libx264",
        ticks=ticks,
        time_base=time_base,
        rate=rate,
        noise=False,
        sounds=[sound("aac", "deu")],
        colour=(1, 1, 1, 1),
    )
    derain(source, tmp_path / f"out.{suffix}")
    entries = (
        "frame=media_type,pts_time,color_space,color_range,color_primaries,color_transfer"
        ":stream=codec_name,width,height:stream_tags=language"
    )
    command = [program, "-v", "error", "-show_entries", entries, "-of", "compact"]
    before, after = (
        subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout
        for path in (source, tmp_path / f"out.{suffix}")
    )
    # Sound and pictures of about the same time may lie in either order.
    assert sorted(after.splitlines()) == sorted(before.splitlines())
    assert after.count("media_type=video") == len(ticks)


def test_attachments_data_and_timecodes_are_carried_or_named(
    make_clip: Make, derain: Derain, tmp_path: Path
) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("makes a file with an attachment by the ffmpeg program")
    make_clip("plain.mkv", "libx264", noise=False)
    (tmp_path / "font.ttf").write_bytes(bytes(range(256)) * 40)
    command = "-v error -i plain.mkv -c copy"
    font = "-attach font.ttf -metadata:s:t mimetype=application/x-truetype-font in.mkv"
    for arguments in (font, "-timecode 01:02:03:04 in.mov"):
        subprocess.run([program, *command.split(), *arguments.split()], cwd=tmp_path, check=True)

    assert derain(tmp_path / "in.mkv", tmp_path / "out.mkv").warnings == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        attachment: Any
        (attachment,) = (s for s in container.streams if s.type == "attachment")
        assert attachment.data == (tmp_path / "font.ttf").read_bytes()
        assert attachment.metadata["filename"] == "font.ttf"
    (warning,) = derain(tmp_path / "in.mkv", tmp_path / "out.mp4").warnings
    assert "(attachment, no codec) was left out" in warning and warning.endswith(".mkv can")

    for suffix in ("mov", "mp4", "mkv"):
        assert derain(tmp_path / "in.mov", tmp_path / f"time.{suffix}").warnings == []
        with av.open(str(tmp_path / f"time.{suffix}")) as container:
            tags = {k.lower(): v for k, v in container.streams.video[0].metadata.items()}
            tags |= {k.lower(): v for k, v in container.metadata.items()}
            assert tags["timecode"] == "01:02:03:04", suffix
            data = [s for s in container.streams if s.type == "data"]
            assert len(data) == (suffix != "mkv"), suffix


# x265 has a least size; that of SVT-AV1 depends on its version.
NOT_SMALL = ("hevc",)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (3, 2)])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "ffv1"])
def test_the_smallest_pictures_go_through_or_are_refused_before_work_starts(
    make_clip: Make, read_clip: Read, derain: Derain, tmp_path: Path, size: Any, codec: str
) -> None:
    source = make_clip("in.nut", "rawvideo", "yuv444p", size, ticks=[0])
    target = tmp_path / "out.mkv"
    if codec in NOT_SMALL:
        with pytest.raises(OutputError, match=f"cannot encode {size[0]}x{size[1]}"):
            derain(source, target, codec=codec)
        assert [path.name for path in tmp_path.iterdir()] == ["in.nut"]
    else:
        derain(source, target, codec=codec)
        assert read_clip(target).tags["size"] == size
        assert len(read_clip(target).times) == 1
