"""What travels beside the video: sound, subtitles, a second video, attachments, data."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Derain = Callable[..., Any]
MILLISECOND = Fraction(1, 1000)


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
    codec, option, effort = "libx264", "preset", "ultrafast"
    if target_suffix == "webm":
        codec, option, effort = "libvpx-vp9", "cpu-used", "8"
    name = f"in.{source_suffix}"
    source = make_clip(name, codec, sounds=sounds, noise=False, options={option: effort})
    target = tmp_path / f"out.{target_suffix}"
    report = derain(source, target, preset=effort)
    before, after = read_clip(source), read_clip(target)

    assert report.warnings == []
    # QuickTime has its own numbers for languages, and none for some.
    assert after.tags["languages"] == before.tags["languages"]
    assert source_suffix == "mov" or before.tags["languages"] == languages
    assert after.tags["codecs"] == before.tags["codecs"]
    assert after.times[0] == before.times[0]
    tolerance = MILLISECOND if "mkv" in (source_suffix, target_suffix) else 0
    for every, received, name in zip(before.packets, after.packets, codecs, strict=True):
        # What AAC's encoder needs to begin is edited out in MP4.
        sent = every[(source_suffix, target_suffix) == ("mp4", "mkv") :]
        assert b"".join(p[0] for p in received) == b"".join(p[0] for p in sent)
        if name.startswith("pcm"):
            continue  # the reader cuts it where it likes
        for (_, *times), (_, *expected) in zip(received, sent, strict=True):
            pairs = zip(times, expected, strict=True)
            assert all(abs(a - b) <= tolerance for a, b in pairs)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "nut"])
def test_sound_that_was_edited_out_stays_out(
    make_clip: Make, derain: Derain, sound: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("cuts by the ffmpeg program")
    options = {"g": "5", "bf": "0"}
    whole = make_clip(
        "whole.mp4", "libx264", ticks=range(25), sounds=[sound("aac")], noise=False, options=options
    )
    source, target = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    command = [program, "-v", "error", "-ss", "0.52", "-i", str(whole), "-c", "copy", str(source)]
    subprocess.run(command, check=True)
    # FFmpeg moves a NUT whose first picture is decoded before zero.
    derain(source, target, options={"bf": "0"})
    (shown, heard), (shown_after, heard_after) = (times_and_samples(p) for p in (source, target))
    # A block that is edited out in part is no longer: times before zero are moved to it.
    most = 1024 if suffix in ("mkv", "nut") else 0
    assert 0 <= heard_after - heard <= most
    moves = {round(after - before, 3) for before, after in zip(shown, shown_after, strict=True)}
    assert max(moves) - min(moves) <= 0.001 and 0 <= min(moves) <= most / 48000


def times_and_samples(path: Path) -> tuple[list[float], int]:
    """When the pictures of a file are shown, and how much sound a decoder gives."""
    with av.open(str(path)) as container:
        times = [float(p.time) for p in container.decode(video=0) if p.time is not None]
    with av.open(str(path)) as container:
        return times, sum(block.samples for block in container.decode(audio=0))


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
