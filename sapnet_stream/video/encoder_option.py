"""An encoder's own options: known, sensible, or refused before the first frame."""

import difflib

from av.video.codeccontext import VideoCodecContext

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.video.complaints import attempt
from sapnet_stream.video.info import VideoInfo

# Lists of the wrapped encoder's own options, which add to a default instead of replacing it.
NESTED = ("x264-params", "x265-params", "svtav1-params")

# What `add_video` says of the stream: another value here would be lost, or untrue.
FROM_SOURCE = (
    *("time_base", "pixel_format", "video_size", "aspect", "sar", "field_order"),
    *("colorspace", "color_range", "color_primaries", "color_trc"),
)


def merged(defaults: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """`defaults` with the user's options, which win."""
    options = {**defaults, **wanted}
    for name in NESTED:
        if name in defaults and name in wanted:
            options[name] = f"{defaults[name]}:{wanted[name]}"
    return options


def check_names(context: VideoCodecContext, options: dict[str, str]) -> None:
    """Compare with the encoder's table; FFmpeg itself passes over what it does not know.

    Raises:
        UsageError: naming the first unknown option and what it may have meant, or the first that
            is not the user's to choose.
    """
    table = context.supported_options
    known = [option.name for option in (*table.private, *table.generic)]
    for name in options:
        if name in FROM_SOURCE:
            raise UsageError(
                f"{name} follows from the source and --pix-fmt (--encoder-option): leave it out"
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or [o.name for o in table.private]
            raise UsageError(
                f"{context.codec.name} has no option {name!r} (--encoder-option): "
                f"it has {', '.join(dict.fromkeys(near))}"
            )


def check_start(
    context: VideoCodecContext, options: dict[str, str], pixel_format: str, info: VideoInfo
) -> None:
    """Start the encoder once as it will be used; `context` is spent by that.

    Raises:
        OutputError: it does not start, or takes exception to an option; with its own words.
    """
    # PyAV 19 forgets it when the encoder does not start.
    name = context.codec.name
    context.width, context.height = info.width, info.height
    context.pix_fmt = pixel_format
    context.time_base, context.framerate = 1 / info.rate, info.rate
    context.options = dict(options)
    failure, said = attempt(context.open)
    reasons = [line for line in said if failure or "option" in line.lower()]
    if reasons:
        given = " ".join(f"{key}={value}" for key, value in options.items())
        raise OutputError(
            f"{name} cannot encode {info.width}x{info.height} {pixel_format} with "
            f"{given} ({reasons[0].rstrip('.')}): change --preset or --encoder-option, or choose "
            "another --codec"
        ) from failure
