"""A clip from photographs: a camera that moves over them, written as a video file."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.errors import OutputError
from sapnet_training.levels import to_bytes

PHOTOGRAPHS = ("rocket", "coffee", "astronaut", "chelsea")
"""Those inside scikit-image's wheel; its other images would be downloaded."""


def photographs() -> list[Tensor]:
    """scikit-image's own photographs, [3, H, W] uint8 RGB each."""
    from skimage import data

    images = [np.ascontiguousarray(getattr(data, name)()) for name in PHOTOGRAPHS]
    return [torch.from_numpy(image).permute(2, 0, 1) for image in images]


def moving_camera(photograph: Tensor, frames: int, height: int, width: int) -> Tensor:
    """The camera glides over a photograph and comes closer, [T, 3, H, W] in [0, 1].

    Args:
        photograph: [3, H, W] uint8, any size.
        frames: T.
        height, width: of the frames, pixels.
    """
    image = photograph[None].float() / 255
    full = min(image.shape[2] / height, image.shape[3] / width)
    time = torch.linspace(0, 1, frames)
    eased = time * time * (3 - 2 * time)
    # Half sizes of the view, in grid_sample's units where the photograph spans -1 to 1.
    zoom = (0.85 - 0.1 * eased) * full
    half_x, half_y = zoom * width / image.shape[3], zoom * height / image.shape[2]
    centre_x, centre_y = (1 - half_x) * (2 * eased - 1), (1 - half_y) * (0.8 - 0.6 * eased)
    zero = torch.zeros(frames)
    theta = torch.stack((half_x, zero, centre_x, zero, half_y, centre_y), dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [frames, 3, height, width], align_corners=False)
    if full > 1:  # average what one pixel of the frame sees, or fine texture flickers
        size = (round(image.shape[2] / full), round(image.shape[3] / full))
        image = F.interpolate(image, size, mode="bilinear", antialias=True)
    return F.grid_sample(
        image.expand(frames, -1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )


def write_video(path: Path, frames: Tensor, fps: Fraction) -> None:
    """H.264, nearly lossless, 4:2:0, BT.709 limited range and tagged so.

    Args:
        path: its suffix chooses the container; an existing file is replaced.
        frames: [T, 3, H, W] float RGB in [0, 1], H and W even.
        fps: frames per second.

    Raises:
        OutputError: the file cannot be written.
    """
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    pixels = to_bytes(frames).permute(0, 2, 3, 1).numpy()
    try:
        with av.open(str(path), "w") as container:
            # A fixed quantiser: x264's rate control differs from one process to the next.
            options = {"qp": "14", "preset": "medium", "threads": "1"}
            stream = container.add_stream("libx264", rate=fps, options=options)
            stream.height, stream.width = pixels.shape[1:3]
            stream.pix_fmt = "yuv420p"
            codec = stream.codec_context
            codec.color_range, codec.colorspace = ColorRange.MPEG, Colorspace.ITU709
            codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            for number, image in enumerate(pixels):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame = frame.reformat(
                    format="yuv420p",
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=ColorRange.MPEG,
                    dst_colorspace=Colorspace.ITU709,
                )
                frame.pts, frame.time_base = number, 1 / fps
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error
