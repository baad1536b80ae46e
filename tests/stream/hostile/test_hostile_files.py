"""Files that are no video, or that would have another file or address read in their place."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

Make = Callable[..., Path]
Read = Callable[[Path], Any]
Refused = Callable[..., str]
Command = Callable[..., Any]

SUFFIXES = ["mp4", "mkv", "avi", "ts"]

NO_VIDEO = {
    "empty": b"",
    "one byte": b"\0",
    "zeros": bytes(100_000),
    "text": b"All work and no play makes Jack a dull boy.\n" * 500,
    "html": b"<!DOCTYPE html><html><body><video src='canary.mkv'></video></body></html>",
    "json": b'{"file": "canary.mkv"}',
    "script": b"#!/bin/sh\ntouch owned\n",
    "archive": b"PK\3\4" + bytes(2000),
    "program": b"\x7fELF\2\1\1" + bytes(2000),
    "noise": np.random.default_rng(1).bytes(100_000),
    "mp4 brand": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "mp4 too long": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\xff\xff\xff\xffmoov",
    "mkv head": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\1\x42\xf7\x81\1",
    "avi head": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih",
    "ts packets": (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 200,
    "ogg": b"OggS" + bytes(500),
    "flv": b"FLV\1\5\0\0\0\t\0\0\0\0" + bytes(300),
    "swf": b"FWS\x09" + bytes(300),
}

LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "unsafe": "ffconcat version 1.0\noption safe 0\nfile '{0}'\nduration 1\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{0}\n#EXT-X-ENDLIST\n",
    "hls map": "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:9\n"
    '#EXT-X-MAP:URI="{0}"\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:9,\n{0}\n',
    "hls master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{0}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="9"><BaseURL>{0}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "smooth": '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="{0}"/>'
    "</SmoothStreamingMedia>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "a=control:{0}\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "asx": '<ASX version="3.0"><Entry><Ref href="{0}"/></Entry></ASX>',
    "asf reference": "[Reference]\nRef1={0}\n",
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\n",
    "rtsptext": "rtsptext\nrtsp://127.0.0.1/{0}\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist '
    'xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>{0}</Id></CompositionPlaylist>',
    "ffmetadata": ";FFMETADATA1\ntitle={0}\n",
    "webvtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n{0}\n",
    "vapoursynth": "import vapoursynth\nopen('{0}').read()\n",
}


@pytest.mark.parametrize("content", NO_VIDEO.values(), ids=NO_VIDEO)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_video_is_refused(
    refused: Refused, tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"in.{suffix}").write_bytes(content)
    assert f"in.{suffix}" in refused(3, f"in.{suffix}", "out.mkv")


@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize(
    "reference", ["canary.mkv", "{folder}/canary.mkv", "http://127.0.0.1:{port}/a.mkv"]
)
def test_a_list_is_not_followed(
    refused: Refused, make_clip: Make, tmp_path: Path, port: int, content: str, reference: str
) -> None:
    make_clip("canary.mkv")
    listed = content.format(reference.format(folder=tmp_path, port=port))
    for suffix in (*SUFFIXES, "m3u8", "mpd", "ffconcat", "sdp"):
        (tmp_path / f"in.{suffix}").write_text(listed)
        refused(3, f"in.{suffix}", "out.mkv")


@pytest.mark.parametrize("entry", ["alias", "url", "url of a server"])
def test_an_mp4_whose_samples_lie_elsewhere_is_refused(
    refused: Refused, make_clip: Make, tmp_path: Path, port: int, entry: str
) -> None:
    canary = make_clip("canary.mov", "mjpeg", "yuvj420p")
    entries = {
        "alias": alias("canary.mov"),
        "url": box(b"url ", bytes(4) + b"canary.mov\0"),
        "url of a server": box(b"url ", bytes(4) + b"http://127.0.0.1:%d/\0" % port),
    }
    movie = replace_box(
        canary.read_bytes(), [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"], entries[entry]
    )
    # The samples themselves are gone, so that only the other file has them.
    begin, end = movie.index(b"mdat") + 4, movie.index(b"moov") - 4
    (tmp_path / "in.mov").write_bytes(movie[:begin] + bytes(end - begin) + movie[end:])
    if entry == "alias":
        with av.open("in.mov", options={"enable_drefs": "1"}) as container:
            assert len(list(container.decode(video=0))) == 12, "the trap is not armed"
    assert "no frame of its video could be decoded" in refused(3, "in.mov", "out.mkv")


def test_a_reference_movie_is_refused(refused: Refused, make_clip: Make, tmp_path: Path) -> None:
    make_clip("canary.mov", "mjpeg", "yuvj420p")
    reference = box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", 11) + b"canary.mov\0")
    movie = box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", reference)))
    (tmp_path / "in.mov").write_bytes(movie)
    refused(3, "in.mov", "out.mkv")


def test_a_segment_linked_to_another_file_is_read_alone(
    command: Command, make_clip: Make, read_clip: Read, tmp_path: Path
) -> None:
    make_clip("b.mkv")
    clip = bytearray(make_clip("in.mkv", ticks=range(5)).read_bytes())
    # The names of the writing programs make room for NextFilename and NextUID.
    first = clip.index(b"\x4d\x80")
    second = first + 3 + (clip[first + 2] & 0x7F)
    assert clip[second : second + 2] == b"\x57\x41"
    behind = second + 3 + (clip[second + 2] & 0x7F)
    link = b"\x3e\x83\xbb\x85b.mkv"
    identifier = b"\x3e\xb9\x23\x90" + bytes(range(16))
    # FFmpeg 9 leaves room for the name alone.
    if behind - first >= len(link) + len(identifier) + 2:
        link += identifier
    spare = behind - first - len(link) - 2
    clip[first:behind] = link + b"\xec" + bytes([0x80 + spare]) + bytes(spare)
    (tmp_path / "in.mkv").write_bytes(clip)
    assert command("in.mkv", "out.mkv").status == 0
    assert len(read_clip(tmp_path / "out.mkv").times) == 5


@pytest.mark.parametrize("kinds", ["sound", "cover", "words", "sound cover words"])
def test_a_file_without_moving_pictures_is_refused(
    refused: Refused, tmp_path: Path, kinds: str
) -> None:
    av.VideoFrame(32, 32, "rgb24").save(tmp_path / "cover.png")
    streams: dict[str, tuple[str, bytes, dict[str, int]]] = {
        "sound": ("pcm_s16le", bytes(4800), {"rate": 48000}),
        "cover": ("png", (tmp_path / "cover.png").read_bytes(), {"width": 32, "height": 32}),
        "words": ("mov_text", b"\0\5words", {}),
    }
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        packets = []
        for kind in kinds.split():
            codec, content, options = streams[kind]
            stream: Any = container.add_mux_stream(codec, **options)
            if kind == "cover":
                stream.disposition = Disposition.attached_pic
            packet: Any = av.Packet(content)
            packet.pts = packet.dts = 0
            packet.stream, packet.time_base = stream, Fraction(1, 48000)
            packets.append(packet)
        container.mux(packets)
    assert "has no video stream" in refused(3, "in.mp4", "out.mkv")


def box(name: bytes, content: bytes) -> bytes:
    """A box of an MP4 file."""
    return struct.pack(">I", 8 + len(content)) + name + content


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + size]
        place += size


def replace_box(data: bytes, names: list[bytes], entry: bytes) -> bytes:
    """`data` with the only entry of the table at the end of a path of boxes replaced."""
    if not names:
        return data[:8] + entry
    return b"".join(
        box(name, replace_box(content, names[1:], entry) if name == names[0] else content)
        for name, content in boxes(data)
    )


def alias(path: str) -> bytes:
    """An entry that names a file as classic Mac OS did."""
    name = path.encode()
    record = bytes(10) + bytes(28) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    record += bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    absolute = name + b"\0" * (len(name) % 2)
    record += struct.pack(">HH", 2, len(name)) + absolute + struct.pack(">Hh", 0xFFFF, 0)
    return box(b"alis", bytes(4) + record.ljust(160, b"\0"))
