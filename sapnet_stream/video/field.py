"""The two fields of an interlaced frame as pictures of their own.

Even and odd rows were taken half a frame apart: seen as one picture, everything that moves,
rain before all, is torn into a comb that no network was trained on.
"""

import torch

from sapnet_stream.video.frame import Frame


def split_fields(frame: Frame) -> tuple[Frame, ...]:
    """Even rows and odd rows of every plane as two frames over the same memory.

    A frame that is not interlaced comes back as it is, alone; so does one whose rows of chroma
    do not divide among the fields (4:2:0 with a height that is no multiple of four).
    """
    if not frame.interlaced or frame.height < 2:
        return (frame,)
    fields = []
    for first in (0, 1):
        planes = tuple(plane[first::2] for plane in frame.planes)
        shapes = frame.layout.plane_shapes(len(planes[0]), frame.width)
        if [tuple(plane.shape) for plane in planes] != shapes:
            return (frame,)
        fields.append(frame.with_planes(planes))
    return tuple(fields)


def weave_fields(fields: tuple[Frame, ...]) -> Frame:
    """The inverse of `split_fields`."""
    if len(fields) == 1:
        return fields[0]
    even, odd = fields
    planes = []
    for upper, lower in zip(even.planes, odd.planes, strict=True):
        woven = torch.empty((len(upper) + len(lower), upper.shape[1]), dtype=upper.dtype)
        woven[0::2], woven[1::2] = upper, lower
        planes.append(woven)
    return even.with_planes(tuple(planes))
