"""Where a live stream goes: which format, with which options, under which names."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.live.address import Address
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.tls import tls_options

# By the endings of files; MP4 in fragments, which are whole whenever the writing ends.
FILES = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts", ".nut": "nut"}
_FRAGMENTS = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
# Written every second, however small the pictures are: by default every five.
_CLUSTERS = {"cluster_time_limit": "1000"}
_HLS = {
    "hls_time": "2",
    "hls_list_size": "6",
    # Written beside the playlist and renamed: a reader never finds half of one.
    "hls_flags": "temp_file+delete_segments+omit_endlist",
}
_FORMATS = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "rtmp": "flv",
    "rtmps": "flv",
    "srt": "mpegts",
    "udp": "mpegts",
    "pipe": "mpegts",
    "hls": "hls",
}
_UNITS = {"h": 3600, "d": 86400, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Keep:
    """Which of the rolling files stay: the newest, up to a count, an age or a size.

    Attributes:
        files, seconds, bytes: the limit, None for no limit of this kind.
    """

    files: int | None = None
    seconds: int | None = None
    bytes: int | None = None


def parse_keep(text: str) -> Keep:
    """A limit as it is typed: "20" files, "12h", "7d", "500MB" or "20GB".

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"([1-9]\d*)(h|d|MB|GB)?", text)
    if not match:
        raise UsageError(f"--keep must be like 20 (files), 12h, 7d, 500MB or 20GB, got {text!r}")
    count = int(match[1]) * _UNITS.get(match[2] or "", 1)
    if not match[2]:
        return Keep(files=count)
    return Keep(seconds=count) if match[2] in "hd" else Keep(bytes=count)


@dataclass(frozen=True)
class Output:
    """One end that a live stream is sent to.

    Attributes:
        address: of it.
        segment_seconds: of a file: begin another one after so long.
        keep: of such files.
        transport: of RTSP: "tcp" or "udp".
        trusted: certificates of its server, see `tls_options`.

    Raises:
        OutputError: the name's ending names no format, or the folder is not there, or not to be
            written to.
        UsageError: segments of something else than a file.
    """

    address: Address
    segment_seconds: float | None = None
    keep: Keep = Keep()
    transport: str = "tcp"
    trusted: str | None = None

    def __post_init__(self) -> None:
        address = self.address
        if address.scheme not in ("file", "hls"):
            if self.segment_seconds is not None:
                raise UsageError("--segment is for files: name the output camera.mkv or so")
            return
        path = Path(address.path)
        if address.scheme == "file" and path.suffix.lower() not in FILES:
            raise OutputError(
                f"{path}: the ending {path.suffix or '(none)'} names no format that is written "
                f"live: use {', '.join(FILES)}, or .m3u8"
            )
        if not path.parent.is_dir():
            raise OutputError(f"{path.parent} is not a folder: create it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} is a folder that you may not write to")

    def check_protocol(self) -> None:
        """Without this, a mistake would show when other outputs have begun.

        Raises:
            OutputError: this PyAV was built without its protocol.
        """
        if self.address.scheme == "srt":
            try:
                # An address without a host is refused before anything is sent.
                av.open("srt://", format="mpegts").close()
            except av.error.ProtocolNotFoundError as error:
                raise OutputError(f"{self.address.shown}: {Fault.PROTOCOL}") from error
            except av.error.FFmpegError:
                return

    @property
    def is_file(self) -> bool:
        """It waits for nobody, and each connection to it is a file of its own."""
        return self.address.scheme == "file"

    @property
    def format(self) -> str:
        """FFmpeg's name of the format."""
        if self.is_file:
            return FILES[Path(self.address.path).suffix.lower()]
        return _FORMATS[self.address.scheme]

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's, of the format and the protocol."""
        address = self.address
        if self.format in ("mp4", "mov"):
            return _FRAGMENTS
        if self.format == "matroska":
            return _CLUSTERS
        tls = tls_options(address.scheme, self.trusted)
        if self.format == "rtsp":
            return {"rtsp_transport": self.transport, **tls}
        if self.format == "flv":
            return {"flvflags": "no_duration_filesize", **tls}
        if address.scheme == "hls":
            again = "+append_list" if Path(address.path).exists() else ""
            # Apart from those of live1.m3u8, and from other files of ours.
            pieces = f"{Path(address.url).with_suffix('')}_%d.ts"
            flags = _HLS["hls_flags"] + again
            return {**_HLS, "hls_flags": flags, "hls_segment_filename": pieces}
        if address.scheme == "srt" and address.password:
            return {"passphrase": address.password}
        return {}

    @property
    def url(self) -> str:
        """For FFmpeg alone: it holds the password."""
        address = self.address
        if address.scheme == "pipe":
            return "pipe:1"
        if address.scheme == "udp" and "?" not in address.path:
            # Seven packets of MPEG-TS fit into one of Ethernet.
            return f"{address.url}?pkt_size=1316"
        return address.url


def free_path(path: Path) -> Path:
    """`path`, or with a number before its ending, such that there is no file of that name."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def timed_path(path: Path, now: datetime) -> Path:
    """The name of a rolling file that begins now, by the clock of UTC."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return free_path(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))


def rolling_files(path: Path) -> dict[Path, os.stat_result]:
    """The rolling files of an output, oldest first; no others, whatever lies beside them."""
    name = re.compile(rf"{re.escape(path.stem)}-\d{{8}}T\d{{6}}Z(-\d+)?{re.escape(path.suffix)}")
    found = {}
    for each in path.parent.iterdir():
        if name.fullmatch(each.name):
            # Others may delete them too.
            with suppress(FileNotFoundError):
                found[each] = each.stat()
    return dict(sorted(found.items(), key=lambda item: (item[1].st_mtime, item[0].name)))


def prune(path: Path, keep: Keep, now_seconds: float) -> None:
    """Delete the oldest rolling files of an output beyond the limit; never the newest.

    An empty one, which a full disk or a power cut leaves, counts for nothing and goes. None of
    them may be open.
    """
    files = rolling_files(path)
    for each in [each for each, stat in files.items() if not stat.st_size]:
        each.unlink(missing_ok=True)
        del files[each]
    left, total = len(files), sum(stat.st_size for stat in files.values())
    for each, stat in list(files.items())[:-1]:
        aged = keep.seconds is not None and now_seconds - stat.st_mtime > keep.seconds
        many = keep.files is not None and left > keep.files
        large = keep.bytes is not None and total > keep.bytes
        if not (aged or many or large):
            return
        each.unlink(missing_ok=True)
        left, total = left - 1, total - stat.st_size
