"""What travels beside the video: sound, subtitles, a second video, attachments, data."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
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
@pytest.mark.parametrize(("codec", "lead"), [("aac", 2), ("libmp3lame", 12), ("libopus", 5)])
def test_sound_that_was_cut_away_is_not_heard_again(
    make_clip: Make,
    read_clip: Read,
    derain: Derain,
    sound: Callable[..., Any],
    tmp_path: Path,
    target_suffix: str,
    codec: str,
    lead: int,
) -> None:
    """A trimmed MP4 keeps the sound before its first picture, and says not to play it."""
    sounds, ticks = [sound(codec, "deu")], range(50)
    whole = make_clip("whole.mp4", "libx264", ticks=ticks, sounds=sounds, noise=False)
    early = Fraction(1, 2)
    with av.open(str(whole)) as old, av.open(str(tmp_path / "in.mp4"), "w") as new:
        copies = {s.index: new.add_stream_from_template(s) for s in old.streams}
        packet: Any
        for packet in (p for p in old.demux() if p.size):
            if packet.stream.type == "audio":
                shift = round(early / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = copies[packet.stream.index]
            new.mux(packet)
    target = tmp_path / f"out.{target_suffix}"
    assert derain(tmp_path / "in.mp4", target).warnings == []
    before, after = read_clip(tmp_path / "in.mp4"), read_clip(target)
    sent, received = before.packets[0], after.packets[0]
    assert 15 < sum(begin < 0 for _, begin, _ in sent) < len(sent) / 2
    moved = after.times[0] - before.times[0]
    assert abs(received[-1][1] - sent[-1][1] - moved) <= MILLISECOND
    # What is heard sounds as it did, and little is heard before it.
    heard, rest = samples(target), 2 * 48000 - round(early * 48000)
    assert rest - 1152 < len(heard) <= rest + (lead + 1) * 1152
    last = int(0.9 * rest)
    np.testing.assert_allclose(heard[-last:], samples(whole)[-last:], atol=1e-3)


def test_nothing_is_hidden_of_a_recording_over_a_wrap_of_its_clock(
    make_clip: Make, read_clip: Read, derain: Derain, sound: Callable[..., Any], tmp_path: Path
) -> None:
    """MPEG-TS counts anew after 26.5 hours: FFmpeg begins below zero to reach zero there."""
    whole = make_clip("whole.mp4", "libx264", sounds=[sound("aac")], noise=False, ticks=range(25))
    source, options = tmp_path / "in.ts", {"output_ts_offset": "95442.5"}
    with av.open(str(whole)) as old, av.open(str(source), "w", options=options) as new:
        copies = {s.index: new.add_stream_from_template(s) for s in old.streams}
        packet: Any
        for packet in (p for p in old.demux() if p.size):
            packet.stream = copies[packet.stream.index]
            new.mux(packet)
    target = tmp_path / "out.mp4"
    assert derain(source, target).warnings == []
    before, after = read_clip(source), read_clip(target)
    assert before.times[0] < -Fraction(3, 4)
    assert len(after.times) == 25
    moved = after.times[0] - before.times[0]
    assert [time - moved for time in after.times] == before.times
    assert abs(after.packets[0][0][1] - before.packets[0][0][1] - moved) <= MILLISECOND


def samples(path: Path) -> Any:
    """Of the first sound, its first channel."""
    with av.open(str(path)) as container:
        blocks = [block.to_ndarray()[0] for block in container.decode(audio=0)]
    return np.concatenate(blocks)


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


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_what_a_telephone_says_of_its_video_is_carried(
    make_clip: Make, derain: Derain, tmp_path: Path, suffix: str
) -> None:
    said = {
        "com.apple.quicktime.creationdate": "2024-05-05T10:00:00+0200",
        "com.apple.quicktime.location.ISO6709": "+48.1370+011.5750/",
        "title": "Regen im März",
    }
    plain, source = make_clip("plain.mov", "libx264", noise=False), tmp_path / "in.mov"
    options = {"movflags": "use_metadata_tags"}
    with av.open(str(plain)) as old, av.open(str(source), "w", options=options) as new:
        new.metadata.update(said)
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    assert derain(source, tmp_path / f"out.{suffix}").warnings == []
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        found = {name.lower(): text for name, text in container.metadata.items()}
    assert {name: found[name.lower()] for name in said} == said
