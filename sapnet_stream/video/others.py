"""All that travels beside the video: sound, subtitles, data, attachments, chapters, tags."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
from av.stream import Stream

from sapnet_stream.video.container import WRITABLE
from sapnet_stream.video.cover import attach_cover, can_attach, is_track
from sapnet_stream.video.demux import Demuxer, Packet
from sapnet_stream.video.span import MICROSECOND, WHOLE, Span

# Formats that say what of a file is not to be shown or heard; FFmpeg 9 lets Matroska say it too.
_EDITED = {"mp4", "mov"}
if av.library_versions["libavformat"][0] >= 63:
    _EDITED |= {"matroska", "webm"}
# Sound before its first packet that a decoder needs, seconds: MP3 borrows from up to nine packets,
# Opus wants 80 ms (RFC 7845, 4.6). For the others the packet before does.
_LEAD_SECONDS = {"mp3": Fraction(1, 4), "mp2": Fraction(1, 4), "opus": Fraction(8, 100)}

# Sound and subtitles may lie this far from the pictures they belong to.
_SKEW_SECONDS = 10


class OtherStreams:
    """Copies a file's streams other than the video into another container, untouched.

    Args:
        path: the file.
        span: what is outside is left out.
        zero_seconds: of the file's own clock, from which the target's times are counted.

    Attributes:
        left_out: sentences on streams that the target's container cannot hold.
        retimed: packets whose time went back.
        missing: packets of video in the index of the file that it, read to its end, did not
            hold.
        stated_frames: of the video to be shown, by its packets or its header; at the end.
        stated_span: from when to when the video should last, see `Demuxer`; at the end.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, path: Path, span: Span, zero_seconds: Fraction) -> None:
        self._span, self._zero = span, zero_seconds
        self._demuxer = Demuxer(path)
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        # Sound not to be heard, by stream, the newest last; None where files can say so.
        self._hidden: dict[int, list[Packet]] | None = None
        self.left_out: list[str] = []
        self.retimed = self.missing = 0
        self.stated_frames = 0
        self.stated_span: Span | None = None

    def close(self) -> None:
        """Release the file."""
        self._demuxer.container.close()

    @property
    def listed(self) -> bool:
        """Whether the header counts the frames, whose times may leave gaps on purpose."""
        return self._demuxer.listed

    def options(self, container: str) -> dict[str, str]:
        """FFmpeg's, that a file of this format needs to hold the source's tags.

        A telephone's date, place and maker have names of Apple's, which are dropped without it;
        with it, common tags are written by names that fewer programs read.
        """
        tags = self._demuxer.container.metadata
        apple = any(name.startswith("com.apple.quicktime.") for name in tags)
        return {"movflags": "use_metadata_tags"} if apple and container in _EDITED else {}

    def add_to(self, target: av.container.OutputContainer) -> None:
        """Add the streams that `target` can hold, and the tags, before its header is written."""
        self._hidden = None if target.format.name in _EDITED else {}
        for stream in self._demuxer.others:
            if stream.type == "data" and "timecode" in stream.metadata:
                continue  # made again by the muxer from the video's tag
            if not _can_hold(target.format.name, stream):
                self.left_out.append(_loss(stream, target.format.name))
            elif is_track(target.format.name, stream):
                self._copies[stream.index] = _add(target, stream)
            else:
                attach_cover(target, self._demuxer.path, stream)
        target.metadata.update(self._demuxer.container.metadata)
        target.set_chapters(self._chapters())

    def packets(self) -> Iterator[Packet]:
        """What goes into the target's streams, in file order, at the target's times."""
        begin = self._span.begin
        if begin is not None:
            self._demuxer.seek(begin - _SKEW_SECONDS)
        # The video's are read to know how many there are, and where the end is.
        video = self._demuxer.video
        pictures = hidden = 0
        last = Fraction(0)
        for packet in self._demuxer.packets([video, *self._demuxer.others], self._span.end):
            last = max(last, _end_seconds(packet))
            if packet.stream.index == video.index:
                pictures += 1
                hidden += packet.is_discard
            elif packet.stream.index in self._copies:
                yield from (self._moved(heard) for heard in self._heard(packet) if self._cut(heard))
        if self._span == WHOLE:
            # Now, for PyAV 19 does not count in a closed file.
            self.missing = max(0, len(video.index_entries) - pictures)
            listed = video.frames if self._demuxer.listed else 0
            self.stated_frames = max(listed, pictures) - hidden
            self.stated_span = self._demuxer.stated_span(last)

    def _heard(self, packet: Packet) -> list[Packet]:
        """The packet, unless it was cut away and would be heard in the target.

        With the first sound that is heard comes what a decoder needs before it.
        """
        if self._hidden is None or packet.stream.type != "audio":
            return [packet]
        hidden = self._hidden.setdefault(packet.stream.index, [])
        name = packet.stream.codec_context.name if packet.stream.codec_context else ""
        lead = _LEAD_SECONDS.get(name.removesuffix("float").removeprefix("lib"), Fraction(0))
        begin = _begin_seconds(packet)
        while len(hidden) > 1 and _begin_seconds(hidden[1]) <= begin - lead:
            hidden.pop(0)
        hidden.append(packet)
        if packet.is_discard:
            return []
        del self._hidden[packet.stream.index]
        return hidden

    def _cut(self, packet: Packet) -> bool:
        """Whether a packet belongs to the span; a subtitle that is shown as it begins does."""
        if packet.pts is None or packet.pts * packet.time_base in self._span:
            return True
        begin = self._span.begin
        if packet.stream.type != "subtitle" or begin is None or not packet.duration:
            return False
        first = round(begin / packet.time_base)
        rest = packet.pts + packet.duration - first
        if packet.pts > first or rest <= 0:
            return False
        packet.pts = packet.dts = first
        packet.duration = rest
        return True

    def _moved(self, packet: Packet) -> Packet:
        """A packet at the target's time, moved on where muxers would refuse its own."""
        shift = round(self._zero / packet.time_base)
        last = self._last_dts.get(packet.stream.index)
        times = [time for time in (packet.dts, packet.pts) if time is not None]
        dts = times[0] - shift if times else None
        if last is not None:
            # Two subtitles may begin at once, two blocks of sound may not.
            least = last + (packet.stream.type in ("audio", "video"))
            if dts is None or dts < least:
                self.retimed += 1
                dts = least
        dts = dts or 0
        self._last_dts[packet.stream.index] = dts
        packet.pts = dts if packet.pts is None else max(packet.pts - shift, dts)
        packet.dts = dts
        packet.stream = self._copies[packet.stream.index]
        return packet

    def _chapters(self) -> list[Any]:
        """As PyAV gives them, cut and moved like the packets."""
        span, kept = self._span, []
        for chapter in self._demuxer.container.chapters():
            unit = Fraction(chapter["time_base"] or MICROSECOND)
            begin, end = chapter["start"] * unit, chapter["end"] * unit
            begin = begin if span.begin is None else max(begin, span.begin)
            end = end if span.end is None else min(end, span.end)
            if begin < end:
                moved = (round((time - self._zero) / unit) for time in (begin, end))
                kept.append({**chapter, **dict(zip(("start", "end"), moved, strict=True))})
        return kept


def _begin_seconds(packet: Packet) -> Fraction:
    return Fraction((packet.pts or 0) * packet.time_base)


def _end_seconds(packet: Packet) -> Fraction:
    if packet.pts is None or packet.time_base is None:
        return Fraction(0)
    return (packet.pts + (packet.duration or 0)) * packet.time_base


def _add(target: av.container.OutputContainer, stream: Stream) -> Stream:
    # Opaque: PyAV would open an encoder for a video stream, and let that write the header.
    copy = target.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _can_hold(container: str, stream: Stream) -> bool:
    """Whether a header with this stream alone can be written; muxers answer no other way."""
    if not is_track(container, stream):
        return can_attach(container, stream)
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            _add(trial, stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _loss(stream: Stream, container: str) -> str:
    codec = stream.codec_context.name if stream.codec_context else "no codec"
    able = [ending for ending, name in WRITABLE.items() if _can_hold(name, stream)]
    advice = f"{able[0]} can" if able else "and no container that is written can"
    return (
        f"stream {stream.index} ({stream.type}, {codec}) was left out: "
        f"{container} files cannot hold it, {advice}"
    )
