"""What a job is, so that parts of two jobs never meet in one file."""

import hashlib
from pathlib import Path

import av
import torch

import sapnet_stream
from sapnet_stream.errors import InputError

# All that an output depends on, by names for people.
Identity = dict[str, str]

# A few megabytes at most, wherever the file lies; a video of another content differs there.
_SAMPLES = 64
_SAMPLE_BYTES = 65536


def input_identity(path: Path) -> Identity:
    """Size, time of change, and a hash of samples spread over the whole file.

    Raises:
        InputError: the file cannot be read again, as from a pipe.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file that can be read twice: save it to a file first")
    status = path.stat()
    digest = hashlib.sha256()
    last = max(0, status.st_size - _SAMPLE_BYTES)
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(last * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return {
        "the input's size": f"{status.st_size} bytes",
        "the input's time of change": f"{status.st_mtime_ns} ns",
        "the input's content": digest.hexdigest()[:16],
    }


def versions() -> Identity:
    """Of all that a sample's value depends on."""
    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    return {
        "sapnet-stream": sapnet_stream.__version__,
        "torch": torch.__version__,
        "PyAV": av.__version__,
        "libavcodec": ffmpeg,
    }
