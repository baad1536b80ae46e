"""What is planned for an encoder: by default, as asked for, or refused in one sentence."""

import io
from fractions import Fraction
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError, SapnetError, UsageError
from sapnet_stream.video.codec import ENCODERS, EncoderPlan, EncoderSettings, plan_encoder
from sapnet_stream.video.frame import Colour, pixel_layout, planar_name
from sapnet_stream.video.hdr import MasteringDisplay, StaticHdr
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.pixel_format import losses

BT2020 = ("0.708", "0.292", "0.170", "0.797", "0.131", "0.046", "0.3127", "0.3290")
HDR = StaticHdr(
    MasteringDisplay(tuple(map(Fraction, BT2020)), (Fraction("0.005"), Fraction(1000))), (900, 300)
)


def plan(
    settings: EncoderSettings | None = None,
    container: str = "matroska",
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    codec: str = "h264",
    hdr: StaticHdr | None = None,
) -> EncoderPlan:
    info = VideoInfo(
        *size,
        layout=pixel_layout(planar_name(pixel_format)),
        colour=Colour.from_tags(1, False, 1080),
        codec=codec,
        rate=Fraction(25),
        time_base=Fraction(1, 25),
        frame_count=1,
        matrix=9,
        color_range=1,
        primaries=9,
        transfer=16,
        sample_aspect_ratio=Fraction(0),
        display_matrix=None,
        interlaced=False,
        field_order=0,
        hdr=hdr or StaticHdr(),
        dynamic_hdr=(),
        captions=False,
    )
    target = av.open(io.BytesIO(), "w", format=container)
    return plan_encoder(settings or EncoderSettings(), info, target)


@pytest.mark.parametrize(
    ("source", "container", "codec"),
    [
        *[(codec, "matroska", codec) for codec in ENCODERS],
        ("prores", "mov", "prores"),
        ("prores", "mp4", "h264"),
        ("ffv1", "mov", "h264"),
        ("mpeg2video", "matroska", "h264"),
        ("mjpeg", "mp4", "h264"),
        ("h264", "webm", "vp9"),
        ("av1", "mov", "h264"),
        ("vp9", "mov", "h264"),
    ],
)
def test_the_source_names_the_codec_if_it_can(source: str, container: str, codec: str) -> None:
    assert plan(codec=source, container=container).codec == codec


@pytest.mark.parametrize(
    ("source", "container", "codec"),
    [("hevc", "webm", "av1"), ("vp9", "matroska", "h264"), ("hevc", "matroska", "hevc")],
)
def test_ten_bits_are_kept_by_a_codec_that_has_them(
    source: str, container: str, codec: str
) -> None:
    planned = plan(codec=source, container=container, pixel_format="yuv420p10le")
    assert (planned.codec, planned.pixel_format) == (codec, "yuv420p10le")


@pytest.mark.parametrize(
    ("source", "target", "lost"),
    [
        ("yuv420p", "yuv420p", []),
        ("gray", "yuv420p", []),
        ("yuv411p", "yuv422p", []),
        ("yuv420p10le", "yuv420p", ["10 bits become 8"]),
        ("gbrp16le", "yuv444p10le", ["16 bits become 10", "R'G'B' becomes Y'CbCr"]),
        ("gbrp", "bgr0", []),
        ("yuv444p", "yuv420p", ["colour is stored more coarsely"]),
    ],
)
def test_what_a_pixel_format_loses_is_named(source: str, target: str, lost: list[str]) -> None:
    assert losses(pixel_layout(source), target) == lost


@pytest.mark.parametrize(
    ("pixel_format", "expected"),
    [
        ("yuv420p", "h264 yuv420p, hevc yuv420p, av1 yuv420p, vp9 yuv420p, ffv1 yuv420p"),
        ("nv12", "h264 yuv420p, hevc yuv420p, av1 yuv420p, vp9 yuv420p, ffv1 yuv420p"),
        ("yuv422p10le", "h264 yuv422p10le, av1 yuv420p10le, prores yuv422p10le"),
        ("yuv444p12le", "h264 yuv444p10le, hevc yuv444p12le, prores yuv444p10le"),
        ("yuv411p", "h264 yuv422p, hevc yuv422p, prores yuv422p10le, ffv1 yuv411p"),
        ("gray", "h264 gray, hevc gray, av1 yuv420p, prores yuv422p10le, ffv1 gray"),
        ("gray12le", "h264 gray10le, hevc gray12le, ffv1 gray12le"),
        ("rgb24", "h264 yuv444p, hevc gbrp, vp9 gbrp, prores yuv444p10le, ffv1 bgr0"),
        ("gbrp16le", "h264 yuv444p10le, hevc gbrp12le, ffv1 gbrp16le"),
        ("yuva420p", "prores yuva444p10le, ffv1 yuva420p"),
        ("rgba64le", "prores yuva444p10le, ffv1 gbrap16le"),
    ],
)
def test_the_pixel_format_loses_least(pixel_format: str, expected: str) -> None:
    for pair in expected.split(", "):
        codec, name = pair.split()
        assert plan(EncoderSettings(codec), pixel_format=pixel_format).pixel_format == name


def test_an_odd_size_needs_full_chroma_in_h264() -> None:
    assert plan(size=(33, 17)).pixel_format == "yuv444p"
    assert plan(EncoderSettings("vp9"), size=(33, 17)).pixel_format == "yuv420p"


def test_what_was_asked_for_is_in_effect_and_said() -> None:
    settings = EncoderSettings(
        "h264", 20, "fast", "yuv422p10le", {"tune": "film", "g": "50", "x264-params": "aq-mode=1"}
    )
    said = str(plan(settings)).split()
    assert said[:2] == ["libx264", "yuv422p10le"]
    assert {"crf=20", "preset=fast", "tune=film", "g=50"} < set(said)
    (nested,) = (part for part in said if part.startswith("x264-params="))
    assert nested.endswith("aq-mode=1")


def test_an_option_of_the_user_wins_and_lists_are_joined() -> None:
    settings = EncoderSettings("hevc", options={"crf": "30", "x265-params": "aq-mode=1"})
    options = plan(settings).options
    assert options["crf"] == "30"
    assert options["x265-params"] == "log-level=error:aq-mode=1"


def test_prores_takes_its_profile_from_the_pixel_format() -> None:
    assert plan(EncoderSettings("prores")).options["profile"] == "hq"
    assert plan(EncoderSettings("prores"), pixel_format="rgba").options["profile"] == "4444"
    lt = plan(EncoderSettings("prores", options={"profile": "lt"}))
    assert lt.options["profile"] == "lt"


def test_the_tags_are_the_sources_unless_rgb_became_ycbcr() -> None:
    kept = plan(EncoderSettings("ffv1"), pixel_format="rgb24")
    assert (kept.matrix, kept.color_range) == (9, 1)
    turned = plan(EncoderSettings("h264"), pixel_format="rgb24")
    assert (turned.matrix, turned.color_range) == (6, 1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pixel_format": "rgb24"}, "h264 cannot hold --pix-fmt rgb24 .* choose from yuv420p, "),
        ({"pixel_format": "nonsense"}, "cannot hold --pix-fmt nonsense"),
        ({"codec": "vp9", "pixel_format": "yuva420p"}, "vp9 cannot hold --pix-fmt yuva420p"),
        ({"options": {"tunne": "film"}}, "libx264 has no option 'tunne' .* it has tune$"),
        ({"options": {"zzz": "1"}}, "libx264 has no option 'zzz' .* it has preset, tune, "),
        *[
            ({"options": {name: "2"}}, f"{name} follows from the source .*: leave it out")
            for name in ("time_base", "pixel_format", "video_size", "sar", "color_range")
        ],
        ({"codec": "hevc", "crf": 51.5}, r"--crf must be 0 \(best\) to 51 for hevc, got 51.5"),
        ({"options": {"tune": "loud"}}, "libx264 cannot encode .* tune=loud .*medium/loud"),
        ({"options": {"crf": "abc"}}, "libx264 cannot encode .*'abc'"),
        ({"options": {"x264-params": "foo=1"}}, "Error parsing option 'foo = 1'"),
        ({"codec": "hevc", "options": {"x265-params": "foo=1"}}, "Unknown option: foo"),
        ({"codec": "av1", "options": {"svtav1-params": "foo=1"}}, "Error parsing option foo"),
        ({"codec": "vp9", "options": {"cpu-used": "99"}}, "out of range"),
        ({"codec": "ffv1", "options": {"slices": "5"}}, "number 5 of slices"),
        ({"codec": "prores", "options": {"profile": "9"}}, "out of range"),
        ({"codec": "prores", "crf": 3.0}, "prores has no --crf"),
        ({"codec": "ffv1", "crf": 3.0}, "ffv1 is lossless and has no --crf"),
        ({"codec": "ffv1", "preset": "slow"}, "ffv1 has no --preset"),
        ({"codec": "divx"}, "--codec must be one of h264, .* hardware encoder such as"),
        ({"codec": "nvenc"}, "--codec must be one of"),
        ({"codec": "h264_nonsense"}, "--codec must be one of"),
    ],
)
def test_what_an_encoder_does_not_have_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises((UsageError, OutputError), match=reason) as caught:
        plan(EncoderSettings(**{"codec": "h264", **settings}))
    assert "\n" not in str(caught.value)


def test_an_odd_size_is_named_when_a_format_cannot_have_it() -> None:
    with pytest.raises(UsageError, match="yuv420p at 33x48: choose from yuv444p, "):
        plan(EncoderSettings("h264", pixel_format="yuv420p"), size=(33, 48))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_transparency_is_refused_where_it_would_be_lost(codec: str) -> None:
    with pytest.raises(OutputError, match=f"{codec} cannot keep the transparency .* prores"):
        plan(EncoderSettings(codec), pixel_format="yuva420p")
    dropped = plan(EncoderSettings(codec, pixel_format="yuv420p"), pixel_format="yuva420p")
    assert dropped.pixel_format == "yuv420p"


@pytest.mark.parametrize(
    "name", ["h264_nvenc", "hevc_qsv", "av1_amf", "h264_videotoolbox", "hevc_v4l2m2m", "x_vaapi"]
)
def test_a_hardware_encoder_is_planned_where_it_starts_and_named_where_not(name: str) -> None:
    try:
        said = plan(EncoderSettings(name), size=(640, 480)).encoder
    except SapnetError as error:
        said = str(error)
    assert said == name or (name.split("_")[0] in said and "choose another" in said)
    assert "\n" not in said


def test_light_levels_are_given_to_encoders_that_write_them() -> None:
    assert plan(EncoderSettings("hevc"), hdr=HDR).options["x265-params"] == (
        "log-level=error:master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)"
        "L(10000000,50):max-cll=900,300"
    )
    assert plan(EncoderSettings("av1"), hdr=HDR).options["svtav1-params"] == (
        "mastering-display=G(0.17000,0.79700)B(0.13100,0.04600)R(0.70800,0.29200)"
        "WP(0.31270,0.32900)L(1000.0000,0.0050):content-light=900,300"
    )
    assert "x265-params" not in plan(EncoderSettings("h264"), hdr=HDR).options
