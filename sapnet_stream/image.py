"""The image job: one still image from file to file."""

from fractions import Fraction
from pathlib import Path

import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.still.read import read_still
from sapnet_stream.still.still import Still
from sapnet_stream.still.write import check_ending, encode_still
from sapnet_stream.target import check_target, write_complete
from sapnet_stream.video.frame import Colour, Frame, pixel_layout

UNTAGGED_MATRIX = 2


def derain_image(
    source: Path, target: Path, engine: DerainEngine, *, overwrite: bool = False
) -> list[str]:
    """Derain an image file; the target appears when it is complete, or not at all.

    Only what the network changes is changed; alpha, bit depth and metadata are kept.

    Args:
        source: PNG, JPEG, WebP, TIFF, BMP, or GIF of one picture.
        target: its ending names the format.
        engine: what derains.
        overwrite: replace an existing target.

    Returns:
        Warnings: sentences on what the source lacked or the target cannot hold.

    Raises:
        SapnetError: one sentence; the target is untouched.
    """
    check_ending(target)
    check_target(target, source, overwrite=overwrite)
    still = read_still(source, engine.check_memory)
    derain_still(still, engine)
    data, left_out = encode_still(still, target)
    write_complete(target, data, overwrite=overwrite)
    warnings = list(still.warnings)
    if left_out:
        warnings.append(f"{target} cannot hold {', '.join(left_out)} of {source}")
    return warnings


def derain_still(still: Still, engine: DerainEngine) -> None:
    """Derain a still's samples in place; alpha stays as it is."""
    samples = still.samples
    # Planes are in the order G, B, R; gray has one.
    order = (1, 2, 0) if samples.shape[2] > 2 else (0,)
    depth = "16le" if still.bits == 16 else ""
    frame = Frame(
        planes=tuple(torch.from_numpy(samples[..., c].copy()) for c in order),
        layout=pixel_layout(("gbrp" if len(order) == 3 else "gray") + depth),
        colour=Colour.from_tags(UNTAGGED_MATRIX, True, samples.shape[0]),
        pts=0,
        time_base=Fraction(1),
        orientation=still.orientation,
    )
    for channel, plane in zip(order, engine.frame(frame).planes, strict=True):
        samples[..., channel] = plane.numpy()
