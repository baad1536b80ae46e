"""What streams are, as a few bytes: PyAV copies a stream's description only from a stream.

A NUT file in memory with one empty packet for each stream describes them. It outlives the
connection or encoder it was made from, and two of the same streams are equal.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import av
import av.container
from av.stream import Stream

FLUSH_PACKETS = 0x0200  # AVFMT_FLAG_FLUSH_PACKETS
# A muxer waits so long for a stream that is silent; FFmpeg's own 10 s would hold the other back.
INTERLEAVE = {"max_interleave_delta": "500000"}
# Of NUT through a pipe. Without this, both ends remember every place that could be sought to,
# for as long as the connection lasts.
ONWARD = {"syncpoints": "none", "strict": "experimental"}
NO_PROBE = {"probesize": "32", "fpsprobesize": "0", "analyzeduration": "0"}


def describe(add: Callable[[av.container.OutputContainer], list[Stream]]) -> bytes:
    """The description of streams.

    Args:
        add: adds them to the container it is given, and returns them.
    """
    buffer = io.BytesIO()
    # One that is left open and its streams keep each other, until Python's collector comes by.
    with av.open(buffer, "w", format="nut") as container:
        container.flags |= FLUSH_PACKETS
        for stream in add(container):
            packet = av.Packet(b"\0")
            packet.pts = packet.dts = 0
            packet.is_keyframe = True
            packet.stream = stream
            container.mux_one(packet)
        # What closing adds is no part of it.
        return buffer.getvalue()


def describe_stream(stream: Stream) -> bytes:
    """The description of one stream that is being read."""
    return describe(lambda target: [target.add_stream_from_template(stream, opaque=True)])


@contextmanager
def described(description: bytes) -> Iterator[list[Stream]]:
    """The streams described, as templates for others."""
    with av.open(io.BytesIO(description), format="nut", options=NO_PROBE) as container:
        yield list(container.streams)
