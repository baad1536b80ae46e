"""Cover art: in MP4 a video stream of one picture, in Matroska an attachment."""

from pathlib import Path

import av.container
from av.stream import Stream

from sapnet_stream.video.container import is_cover, open_input

# Matroska's own names of what players look for, and their types.
_ATTACHED = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


def is_track(container: str, stream: Stream) -> bool:
    """Whether files of this format hold a stream as a track that players take for what it is."""
    return container == "mp4" or not is_cover(stream)


def can_attach(container: str, stream: Stream) -> bool:
    """Whether files of this format hold a stream of cover art as an attachment."""
    return container == "matroska" and _codec(stream) in _ATTACHED


def attach_cover(target: av.container.OutputContainer, path: Path, stream: Stream) -> None:
    """Attach a file's cover art to a target whose header is not written yet.

    Args:
        target: of Matroska.
        path: of the file that has it.
        stream: of the file, cover art that the target `can_attach`.
    """
    with open_input(path) as source:
        picture = next(source.demux(source.streams[stream.index]))
        name, kind = _ATTACHED[_codec(stream)]
        target.add_attachment(stream.metadata.get("filename", name), kind, bytes(picture))


def _codec(stream: Stream) -> str:
    return stream.codec_context.name if stream.codec_context else ""
