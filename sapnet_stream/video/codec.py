"""Which encoder, at which quality, in which pixel format."""

import os
from dataclasses import dataclass, field, replace

import av
import av.container
import torch
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.video.encoder_option import check_names, check_start, merged
from sapnet_stream.video.frame import assumed_matrix, pixel_layout, planar_name
from sapnet_stream.video.hdr import StaticHdr
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.pixel_format import choose_pixel_format, most_bits

# Codecs that code two fields as such when told; FFV1 needs no telling, the others cannot.
INTERLACED = ("h264", "prores")
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
# FFmpeg lists them for .mov files too, and its muxer writes them into .mp4 alone.
MP4_ALONE = ("av1", "vp9")
# As many as any screen shows; a codec that holds fewer is chosen for no source that has them.
DEEP_BITS = 10


@dataclass(frozen=True)
class Encoder:
    """An encoder and what its quality and effort are called.

    Attributes:
        name: FFmpeg's encoder.
        crf: default quality (lower is better), None where another option or nothing sets it.
        preset_option: name of the option that trades speed for size, None without one.
        preset: its default.
        options: what else the encoder needs.
        crf_option: name of the quality's option.
        alpha: transparency survives in every reader; VP9's and HEVC's does not.
        worst_crf: the highest that it takes.
    """

    name: str
    crf: float | None
    preset_option: str | None
    preset: str
    options: tuple[tuple[str, str], ...] = ()
    crf_option: str = "crf"
    alpha: bool = False
    worst_crf: float = 63


# Visually lossless for photographs; a file derained once should not look encoded twice.
# ProRes takes its profile from the pixel format, HQ or 4444.
ENCODERS = {
    "h264": Encoder("libx264", 18, "preset", "medium"),
    "hevc": Encoder(
        "libx265",
        20,
        "preset",
        "medium",
        (("x265-params", "log-level=error"), ("a53cc", "1")),
        # x265 would say so itself, on the terminal; x264 takes more for 51.
        worst_crf=51,
    ),
    "av1": Encoder("libsvtav1", 24, "preset", "8"),
    "vp9": Encoder("libvpx-vp9", 24, "cpu-used", "4", (("row-mt", "1"), ("b", "0"))),
    "prores": Encoder("prores_ks", None, None, "", (("vendor", "apl0"),), alpha=True),
    "ffv1": Encoder("ffv1", None, None, "", (("level", "3"), ("slicecrc", "1")), alpha=True),
}

# Encoders on a graphics processor, by the end of their names, with the quality that is nearest
# to the above. Others (amf, videotoolbox, v4l2m2m) keep their own defaults.
HARDWARE = {
    "nvenc": Encoder("", 19, "preset", "p5", (("rc", "vbr"), ("b", "0")), "cq"),
    "qsv": Encoder("", 19, "preset", "medium", (), "global_quality"),
    "amf": Encoder("", None, None, ""),
    "videotoolbox": Encoder("", None, None, ""),
    "v4l2m2m": Encoder("", None, None, ""),
    "vaapi": Encoder("", None, None, ""),
}

# FFV1 finds no way to cut a picture as narrow as its slices.
LEAST_SLICED = 16


@dataclass(frozen=True)
class EncoderSettings:
    """What the user asked for; None leaves the choice to the source and the codec.

    Attributes:
        codec: one of `ENCODERS`, or a hardware encoder by FFmpeg's name ("h264_nvenc").
        crf: 0 (best) to 63.
        preset: the encoder's own name of an effort.
        pixel_format: FFmpeg's name, one that the encoder takes.
        options: more of the encoder's own options, which win over the defaults.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in ENCODERS and not _hardware(self.codec):
            raise UsageError(
                f"--codec must be one of {', '.join(ENCODERS)}, or a hardware encoder such as "
                f"h264_nvenc or hevc_qsv, got {self.codec!r}"
            )
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"--crf must be 0 (best) to 63, got {self.crf:g}")


@dataclass(frozen=True)
class EncoderPlan:
    """The encoder, options and pixel format that a file will be written with.

    Attributes:
        codec: FFmpeg's name of the codec.
        encoder: and of the encoder.
        options: by the encoder's own names.
        pixel_format: of the pictures it gets.
        matrix: colour matrix of these, FFmpeg's AVColorSpace.
        color_range: likewise, AVColorRange.
    """

    codec: str
    encoder: str
    options: dict[str, str]
    pixel_format: str
    matrix: int
    color_range: int

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
        OutputError: the container cannot hold the codec, no encoder is built in, or it does
            not start here; the encoder cannot hold the picture's size or transparency.
        UsageError: an option or pixel format that the encoder does not have.
    """
    codec = settings.codec or _codec_for(info, container)
    encoder = ENCODERS.get(codec) or _hardware(codec)
    assert encoder is not None
    context = _context(encoder)
    family = context.codec.canonical_name
    if not _can_hold(container, family):
        raise OutputError(
            f"{container.format.name} files cannot hold {family}: name the output .mkv, "
            "or choose another --codec"
        )
    # SVT-AV1 writes to the terminal whatever FFmpeg is told; 1 leaves errors.
    os.environ.setdefault("SVT_LOG", "1")
    pixel_format = choose_pixel_format(
        settings.pixel_format, _formats(context), info, family, alpha=encoder.alpha
    )
    options = _options(codec, family, encoder, settings, pixel_format, interlaced=info.interlaced)
    options = merged(merged(options, _hdr_options(codec, info.hdr)), settings.options)
    if codec == "ffv1" and min(info.width, info.height) < LEAST_SLICED:
        options = {"slices": "1", **options}
    tags = _matrix_and_range(info, pixel_format)
    plan = EncoderPlan(family, encoder.name, options, pixel_format, *tags)
    # Opening costs an encoder's start, and what is ours by default is known to open.
    if settings.options or settings.preset or codec not in ENCODERS:
        check_names(context, settings.options)
        check_start(context, options, pixel_format, info)
    return plan


def _matrix_and_range(info: VideoInfo, pixel_format: str) -> tuple[int, int]:
    """The source's, unless RGB has to become Y'CbCr."""
    target = pixel_layout(planar_name(pixel_format))
    if info.layout.model != "rgb" or target.model == "rgb":
        return info.matrix, info.color_range
    return assumed_matrix(info.height), LIMITED_RANGE


def _hdr_options(codec: str, hdr: StaticHdr) -> dict[str, str]:
    """Televisions read it in the bitstream; other encoders leave it to the container."""
    if hdr and codec == "hevc":
        return {"x265-params": hdr.x265_params()}
    if hdr and codec == "av1":
        return {"svtav1-params": hdr.svtav1_params()}
    return {}


def _codec_for(info: VideoInfo, container: av.container.OutputContainer) -> str:
    """The source's codec if the container and the encoder hold what it holds, or the next best."""
    wanted = (info.codec, "h264", "vp9", "av1", "ffv1")
    able = [name for name in wanted if name in ENCODERS and _can_hold(container, name)]
    if not able:
        raise OutputError(
            f"{container.format.name} files cannot hold video this program can write: "
            "name the output .mp4 or .mkv"
        )
    bits = min(info.layout.bits, DEEP_BITS)
    deep = (name for name in able if most_bits(_formats(_context(ENCODERS[name]))) >= bits)
    return next(deep, able[0])


def _can_hold(container: av.container.OutputContainer, codec: str) -> bool:
    alone = container.format.name == "mov" and codec in MP4_ALONE
    return codec in container.supported_codecs and not alone


def _context(encoder: Encoder) -> VideoCodecContext:
    try:
        context = CodecContext.create(encoder.name, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"this PyAV was built without {encoder.name}: choose another --codec"
        ) from error
    assert isinstance(context, VideoCodecContext)
    return context


def _formats(context: VideoCodecContext) -> list[str]:
    return [layout.name for layout in context.codec.video_formats or []]


def _hardware(name: str) -> Encoder | None:
    """The hardware encoder of that name, or None where the name is none's."""
    kind = HARDWARE.get(name.rpartition("_")[2])
    if kind is None or "_" not in name:
        return None
    return replace(kind, name=name)


def _options(
    codec: str,
    family: str,
    encoder: Encoder,
    settings: EncoderSettings,
    pixel_format: str,
    *,
    interlaced: bool,
) -> dict[str, str]:
    """The encoder's options, before the user's own."""
    for option, value, known in (
        ("--crf", settings.crf, encoder.crf is not None),
        ("--preset", settings.preset, encoder.preset_option is not None),
    ):
        if value is not None and not known:
            lossless = "is lossless and " if (codec, option) == ("ffv1", "--crf") else ""
            raise UsageError(f"{codec} {lossless}has no {option}: leave it out")
    if settings.crf is not None and settings.crf > encoder.worst_crf:
        raise UsageError(
            f"--crf must be 0 (best) to {encoder.worst_crf:g} for {codec}, got {settings.crf:g}"
        )
    options = dict(encoder.options)
    if encoder.crf is not None:
        crf = encoder.crf if settings.crf is None else settings.crf
        options[encoder.crf_option] = f"{crf:g}"
    if encoder.preset_option is not None:
        options[encoder.preset_option] = settings.preset or encoder.preset
    if encoder.name == "libx264" and torch.backends.cpu.get_cpu_capability() == "AVX512":
        # x264's AVX-512 code gives other pictures each time (mbtree with B-frames, core 165).
        options["x264-params"] = "asm=AVX2,FMA3,BMI2,LZCNT"
    if interlaced and family in INTERLACED:
        options["flags"] = "+ildct+ilme"
    if codec == "prores":
        options["profile"] = "4444" if "444" in pixel_format else "hq"
    return options
