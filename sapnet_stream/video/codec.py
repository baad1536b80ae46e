"""Which encoder, at which quality, in which pixel format."""

import os
from dataclasses import dataclass

import av
import av.container
import torch

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.video.frame import PixelLayout, is_planar, pixel_layout
from sapnet_stream.video.info import VideoInfo


@dataclass(frozen=True)
class Encoder:
    """An encoder and what its quality and effort are called.

    Attributes:
        name: FFmpeg's encoder.
        crf: default constant rate factor (lower is better), None for a lossless codec.
        preset_option: name of the option that trades speed for size, None without one.
        preset: its default.
        options: what else the encoder needs.
    """

    name: str
    crf: float | None
    preset_option: str | None
    preset: str
    options: tuple[tuple[str, str], ...] = ()


# Visually lossless for photographs; a file derained once should not look encoded twice.
ENCODERS = {
    "h264": Encoder("libx264", 18, "preset", "medium"),
    "hevc": Encoder("libx265", 20, "preset", "medium", (("x265-params", "log-level=error"),)),
    "av1": Encoder("libsvtav1", 24, "preset", "8"),
    "vp9": Encoder("libvpx-vp9", 24, "cpu-used", "4", (("row-mt", "1"), ("b", "0"))),
    "ffv1": Encoder("ffv1", None, None, "", (("level", "3"), ("slicecrc", "1"))),
}

# Their pictures are cropped in units of chroma samples, so 4:2:0 cannot have an odd size.
WHOLE_CHROMA_ONLY = ("h264", "hevc")


@dataclass(frozen=True)
class EncoderSettings:
    """What the user asked for; None leaves the choice to the source and the codec."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in ENCODERS:
            raise UsageError(f"--codec must be one of {', '.join(ENCODERS)}, got {self.codec!r}")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"--crf must be 0 (best) to 63, got {self.crf:g}")


@dataclass(frozen=True)
class EncoderPlan:
    """The encoder, options and pixel format that a file will be written with."""

    codec: str
    encoder: str
    options: dict[str, str]
    pixel_format: str

    def __str__(self) -> str:
        options = " ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.encoder} {self.pixel_format} {options}".rstrip()


def plan_encoder(
    settings: EncoderSettings,
    info: VideoInfo,
    container: av.container.OutputContainer,
) -> EncoderPlan:
    """Fill what `settings` leaves open: the source's codec if the container takes it.

    Raises:
        OutputError: the container cannot hold the codec, or no encoder is built in.
        UsageError: an option the codec does not have.
    """
    codec = settings.codec or _codec_for(info.codec, container)
    if codec not in container.supported_codecs:
        raise OutputError(
            f"{container.format.name} files cannot hold {codec}: name the output .mkv, "
            "or choose another --codec"
        )
    encoder = ENCODERS[codec]
    if settings.crf is not None and encoder.crf is None:
        raise UsageError(f"{codec} is lossless and has no --crf")
    if settings.preset is not None and encoder.preset_option is None:
        raise UsageError(f"{codec} has no --preset")
    # SVT-AV1 writes to the terminal whatever FFmpeg is told; 1 leaves errors.
    os.environ.setdefault("SVT_LOG", "1")
    options = dict(encoder.options)
    if encoder.name == "libx264" and torch.backends.cpu.get_cpu_capability() == "AVX512":
        # x264's AVX-512 code gives other pictures each time (mbtree with B-frames, core 165).
        options["x264-params"] = "asm=AVX2,FMA3,BMI2,LZCNT"
    if encoder.crf is not None:
        options["crf"] = f"{encoder.crf if settings.crf is None else settings.crf:g}"
    if encoder.preset_option is not None:
        options[encoder.preset_option] = settings.preset or encoder.preset
    try:
        formats = av.codec.Codec(encoder.name, "w").video_formats or []
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"this PyAV was built without {encoder.name}: choose another --codec"
        ) from error
    return EncoderPlan(codec, encoder.name, options, _pixel_format(codec, info, formats))


def _codec_for(source_codec: str, container: av.container.OutputContainer) -> str:
    supported = container.supported_codecs
    for codec in (source_codec, "h264", "vp9", "av1", "ffv1"):
        if codec in ENCODERS and codec in supported:
            return codec
    raise OutputError(
        f"{container.format.name} files cannot hold video this program can write: "
        "name the output .mp4 or .mkv"
    )


def _pixel_format(codec: str, info: VideoInfo, formats: list[av.VideoFormat]) -> str:
    """The encoder's format nearest to the source's: itself, else the one that loses least."""
    layouts = [pixel_layout(f.name) for f in formats if is_planar(f.name)]
    if codec in WHOLE_CHROMA_ONLY:
        layouts = [
            layout
            for layout in layouts
            if info.width % layout.chroma_columns == info.height % layout.chroma_rows == 0
        ]
    return min(layouts, key=lambda layout: _loss(info.layout, layout)).name


def _loss(source: PixelLayout, target: PixelLayout) -> tuple[int, ...]:
    """What `target` takes away, worst first; at last what it stores in vain."""
    gray = source.model == "gray"
    rows, columns = (4, 4) if gray else (source.chroma_rows, source.chroma_columns)
    return (
        target.model == "gray" and not gray,
        max(0, source.bits - target.bits),
        source.model != target.model and "rgb" in (source.model, target.model),
        max(0, target.chroma_rows - rows),
        max(0, target.chroma_columns - columns),
        source.model != target.model,
        target.bits - source.bits,
        -target.chroma_rows * target.chroma_columns,
    )
