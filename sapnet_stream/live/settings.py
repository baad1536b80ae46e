"""What the options of a camera ask for."""

import argparse
import os
from collections.abc import Iterator
from functools import cache

from sapnet_stream.errors import UsageError
from sapnet_stream.live.address import Address, parse_address, read_password
from sapnet_stream.live.camera import CameraSettings
from sapnet_stream.live.output import Keep, Output, parse_keep
from sapnet_stream.live.source_settings import SourceSettings
from sapnet_stream.live.tls import ANYBODY
from sapnet_stream.parser import encoder_settings
from sapnet_stream.video.hardware import HardwareDecoder

# Decoding, encoding and the wait for the frame before, of a camera of 25 frames/s.
LEAST_LATENCY_SECONDS = 0.1


def camera_settings(options: argparse.Namespace, name: str = "") -> CameraSettings:
    """What the options ask for.

    Args:
        options: of `sapnet_stream.live.options`.
        name: of the camera among several.

    Raises:
        SapnetError: a mistake among them, in one sentence.
    """
    password = read_password(options.password_env, options.password_file)
    address = parse_address(options.input, "input").with_credentials(options.user, password)
    if address.scheme in ("http", "https") and not options.http:
        raise UsageError("an input by http opens what its playlist names: add --http to allow it")
    if address.scheme == "file" and not options.realtime:
        raise UsageError(f"{address.shown} is a file: add --realtime to treat it as a camera")
    _check_numbers(options)
    if options.tls_ca not in (None, ANYBODY) and not os.path.isfile(options.tls_ca):
        raise UsageError(f"--tls-ca {options.tls_ca} is not a file: name one of certificates")
    return CameraSettings(
        source=SourceSettings(
            address,
            transport=options.rtsp_transport,
            trusted=options.tls_ca,
            realtime=options.realtime,
            retries=options.retries,
            persist=options.persist,
            cap_seconds=options.retry_cap,
            hardware=options.hwaccel and _hardware(options.hwaccel),
        ),
        outputs=tuple(_outputs(options)),
        encoder=encoder_settings(options),
        max_latency_seconds=options.max_latency,
        rescale=options.when_changed == "rescale",
        name=name,
    )


@cache
def _hardware(name: str) -> HardwareDecoder:
    """Opened once: that takes time in which other cameras would wait."""
    return HardwareDecoder(name)


def _check_numbers(options: argparse.Namespace) -> None:
    if options.max_latency < LEAST_LATENCY_SECONDS:
        raise UsageError(
            f"--max-latency must be at least {LEAST_LATENCY_SECONDS:g}, got "
            f"{options.max_latency:g}: a frame that waits for the one before it is older"
        )
    if options.retries is not None and options.retries < 0:
        raise UsageError(f"--retries must not be negative, got {options.retries}")
    for name in ("retry_cap", "segment"):
        if (value := getattr(options, name)) is not None and value <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, got {value:g}")


def _outputs(options: argparse.Namespace) -> Iterator[Output]:
    keep = Keep() if options.keep is None else parse_keep(options.keep)
    if options.keep is not None and options.segment is None:
        raise UsageError("--keep is for --segment: say how long each file is")
    password = read_password(
        options.output_password_env, options.output_password_file, "--output-password"
    )
    first = parse_address(options.output, "output")
    others = [parse_address(text, "output") for text in options.also]
    pipes = [each for each in (first, *others) if each.scheme == "pipe"]
    if len(pipes) > 1:
        raise UsageError("- is standard output, and can be given once")
    for address in (first.with_credentials(options.output_user, password), *others):
        if address.scheme != "none":
            yield _output(address, options, keep)


def _output(address: Address, options: argparse.Namespace, keep: Keep) -> Output:
    # --segment rolls the files among several outputs.
    segment = options.segment if address.scheme == "file" else None
    output = Output(address, segment, keep, options.rtsp_transport, options.tls_ca)
    output.check_protocol()
    return output
