"""The container formats that are read and written."""

import os
from pathlib import Path
from typing import Any

import av
import av.container
from av.stream import Disposition, Stream

from sapnet_stream.errors import InputError, OutputError
from sapnet_stream.video.hardware import HardwareDecoder

# A list of other files or addresses named .mp4 must not be followed, so only formats that
# carry their own data may open, and only from the file itself. Not image2: it takes a name like
# "rain%d.png" for a pattern and reads rain0.png, rain1.png, ...
READABLE = (
    "3g2,3gp,asf,av1,avi,dv,flv,gif,h264,hevc,ivf,m4a,m4v,matroska,mj2,mov,mp4,mpeg,"
    "mpegts,mpegtsraw,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,webm,wtv,yuv4mpegpipe"
)

# FFmpeg's names of the formats, each in one file, that keep the time of every frame (AVI does
# not) and tell which codecs they hold (MPEG-TS does not).
WRITABLE = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".nut": "nut",
}

# PyAV 18 stops at a title that is not UTF-8 unless told otherwise; 19 has no such argument.
_OPEN_ARGUMENTS: dict[str, Any] = (
    {"metadata_errors": "replace"} if av.__version__.startswith("18.") else {}
)


def open_input(path: Path, hardware: HardwareDecoder | None = None) -> av.container.InputContainer:
    """Open a local media file without following lists or addresses.

    Args:
        path: the file.
        hardware: decodes what it can; None leaves everything to the CPU.

    Raises:
        InputError: in one sentence, why not.
    """
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a video file")
    if not path.is_file():
        # Opening a pipe would wait for its writer, reading a terminal for a person.
        raise InputError(f"{path} is a device or a pipe: give a video file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: give a video file")
    try:
        container: av.container.InputContainer = av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file", "format_whitelist": READABLE},
            hwaccel=None if hardware is None else hardware.settings(),
            **_OPEN_ARGUMENTS,
        )
        return container
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path} is not a video file this program can read, or it is damaged: "
            "try playing it, or convert it to .mp4 or .mkv"
        ) from error


def abandon(container: av.container.OutputContainer) -> None:
    """Close an unfinished file, which nobody needs; one that is closed stays as it is."""
    try:
        container.close()
    except (av.error.FFmpegError, OSError, ValueError):
        # Whatever is wrong was told before: the header was never written, or the disk is full.
        return


def find_video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first real video stream of `container`, which was opened from `path`.

    Raises:
        InputError: there is none, or none that can be decoded.
    """
    for stream in container.streams.video:
        if not is_cover(stream):
            if stream.codec_context is None:
                raise InputError(f"{path}: no decoder for its video; convert it first")
            return stream
    raise InputError(f"{path} has no video stream: give a video file")


def is_cover(stream: Stream) -> bool:
    """Whether a stream is cover art: video of one picture, which belongs to no time."""
    return bool(stream.disposition & Disposition.attached_pic)


def container_format(path: Path) -> str:
    """FFmpeg's name of the format that a target's ending means.

    Raises:
        OutputError: it means none that keeps every frame's time.
    """
    if path.suffix.lower() not in WRITABLE:
        raise OutputError(
            f"{path}: the ending {path.suffix or '(none)'} names no container that is written: "
            "use .mp4, .mkv, .mov or .webm"
        )
    return WRITABLE[path.suffix.lower()]
