"""A picture as a file."""

from pathlib import Path

from PIL import Image
from torch import Tensor

from sapnet_stream.errors import OutputError


def as_picture(image: Tensor) -> Image.Image:
    """Of [3, H, W] uint8 RGB."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write it as the name's ending says; the folder is made, an existing file replaced.

    Raises:
        OutputError: it cannot be written, or the ending is none of a picture's.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error
