"""What is sent: derained video, encoded once for all outputs, and sound as it came."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

from sapnet_stream.flow import Channel
from sapnet_stream.live.canvas import Canvas, fits
from sapnet_stream.live.decode import LiveFrame
from sapnet_stream.live.template import describe, described
from sapnet_stream.video.codec import EncoderSettings, plan_encoder
from sapnet_stream.video.encode import add_video, encodable, refusal
from sapnet_stream.video.encoder_option import merged
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo

# An output that begins, or lost something, waits so long for a picture to begin with.
KEYFRAME_SECONDS = 2
# Headers again with each of them, for readers that come later; no picture out of order, which
# would wait for another.
_LIVE = {
    "h264": ("x264-params", "repeat-headers=1:bframes=0"),
    "hevc": ("x265-params", "repeat-headers=1:bframes=0"),
}
CODECS = tuple(_LIVE)
VIDEO, SOUND = 0, 1


@dataclass(frozen=True)
class Unit:
    """A packet on its way to the outputs.

    Attributes:
        number: counts the units of all programs, so that a reader sees what was dropped.
        description: of the streams of its program, see `template`.
        stream: `VIDEO` or `SOUND`.
        data, pts, dts, duration, time_base, keyframe: of the packet.
    """

    number: int
    description: bytes
    stream: int
    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    keyframe: bool


class Encoder:
    """Encodes the frames of one size and format.

    Args:
        info: of the frames.
        settings: codec, quality and effort.
        sound: description of the stream of sound beside it, or None.

    Attributes:
        info, sound: as they were given.
        description: of both streams.
        name: the encoder with its options.

    Raises:
        OutputError: the encoder does not take these frames.
    """

    def __init__(self, info: VideoInfo, settings: EncoderSettings, sound: bytes | None) -> None:
        self.info = info
        self.sound = sound
        codec = settings.codec or CODECS[0]
        name, needed = _LIVE[codec]
        options = {"tune": "zerolatency", "forced-idr": "1", **settings.options}
        live = replace(
            settings,
            codec=codec,
            crf=23 if settings.crf is None else settings.crf,
            preset=settings.preset or "veryfast",
            options=merged(options, {name: needed}),
        )
        with av.open(io.BytesIO(), "w", format="nut") as trial:
            self._plan = plan_encoder(live, info, trial)
        self.name = str(self._plan)
        self._key_pts: int | None = None
        self._canvas = Canvas(info, self._plan)
        self.description = describe(self._add)

    def encode(self, frame: Frame, info: VideoInfo) -> list[Any]:
        """The packets that are ready when a frame of `info` is given.

        Raises:
            OutputError: the encoder refuses.
        """
        picture = encodable(frame, info, self._plan)
        if not same_picture(info, self.info):
            picture = self._canvas.place(picture, info)
        due = KEYFRAME_SECONDS / frame.time_base
        if self._key_pts is None or frame.pts - self._key_pts >= due:
            picture.pict_type = PictureType.I
            self._key_pts = frame.pts
        return self._encode(picture)

    def finish(self) -> list[Any]:
        """The packets that it still holds."""
        return self._encode(None)

    def _encode(self, picture: av.VideoFrame | None) -> list[Any]:
        try:
            return self._stream.encode(picture)
        except (av.error.FFmpegError, ValueError) as error:
            raise refusal(self.info, self._plan) from error

    def _add(self, container: Any) -> list[Any]:
        self._stream = add_video(container, self.info, self._plan)
        streams = [self._stream]
        if self.sound is not None:
            with described(self.sound) as templates:
                streams += [container.add_stream_from_template(templates[0], opaque=True)]
                container.start_encoding()
        else:
            container.start_encoding()
        return streams


def same_picture(info: VideoInfo, other: VideoInfo) -> bool:
    """Whether pictures of both can follow each other in one stream."""
    # Cameras guess at their rates, and what their pictures were coded with is over.
    return replace(info, rate=other.rate, codec=other.codec) == other


class Program:
    """Encodes frames, and hands packets of picture and sound to every output.

    A change of the picture's size or format, or of the sound, begins another description,
    and each output begins another file or connection with it.

    Args:
        settings: of the encoder.
        outputs: where units go; they never wait.
        rescale: show pictures of another size or format in the size and format of the first,
            where scaling is all that takes.
    """

    def __init__(
        self, settings: EncoderSettings, outputs: Sequence[Channel[Unit]], *, rescale: bool = False
    ) -> None:
        self._settings = settings
        self._rescale = rescale
        self._outputs = outputs
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._sound: bytes | None = None
        self._number = 0

    @property
    def encoder(self) -> str:
        """Its name and options, "" before the first frame."""
        # The thread that shows may end it between two looks.
        encoder = self._encoder
        return encoder.name if encoder else ""

    def hear(self, sound: bytes | None) -> None:
        """From now on this is the sound, or there is none; from the reading thread."""
        self._sound = sound

    def sound(self, packet: Any) -> None:
        """Pass on a packet of the sound last heard of; from the reading thread."""
        # Within, for none may follow the pictures of the next encoder.
        with self._lock:
            encoder = self._encoder
            # Before the first picture there is nothing it could go with.
            if encoder is not None and encoder.sound is not None and encoder.sound == self._sound:
                self._send(encoder, SOUND, [packet])

    def show(self, live: LiveFrame) -> None:
        """Encode a frame and pass it on.

        Raises:
            OutputError: the encoder refuses.
        """
        encoder = self._encoder
        if encoder is None or not self._takes(encoder, live.info):
            self.finish()
            encoder = Encoder(live.info, self._settings, self._sound)
        packets = encoder.encode(live.frame, live.info)
        with self._lock:
            self._send(encoder, VIDEO, packets)
            # Only now, for sound follows the first picture.
            self._encoder = encoder

    def finish(self) -> None:
        """Pass on what the encoder still holds."""
        if self._encoder is not None:
            packets = self._encoder.finish()
            with self._lock:
                self._send(self._encoder, VIDEO, packets)
                self._encoder = None

    def _takes(self, encoder: Encoder, info: VideoInfo) -> bool:
        scaled = self._rescale and fits(info, encoder.info)
        return encoder.sound == self._sound and (scaled or same_picture(info, encoder.info))

    def _send(self, encoder: Encoder, stream: int, packets: list[Any]) -> None:
        """Hand on packets; the lock is held."""
        for packet in packets:
            self._number += 1
            unit = Unit(
                number=self._number,
                description=encoder.description,
                stream=stream,
                data=bytes(packet),
                pts=packet.pts,
                dts=packet.pts if packet.dts is None else packet.dts,
                duration=packet.duration or 0,
                time_base=Fraction(packet.time_base),
                keyframe=packet.is_keyframe,
            )
            for output in self._outputs:
                output.put(unit)
