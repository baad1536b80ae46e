"""Command lines whose mistakes are one sentence, like all others."""

import argparse
import math
from collections.abc import Iterable
from typing import NoReturn

from sapnet_stream.errors import UsageError
from sapnet_stream.models import BUNDLED_WEIGHTS
from sapnet_stream.networks.executor import DTYPES
from sapnet_stream.video.codec import EncoderSettings


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How to derain, of files and of live streams."""
    add = parser.add_argument
    add("--strength", type=number, default=1.0, metavar="0..1", help="how much rain goes (1)")
    add("--model", choices=list(BUNDLED_WEIGHTS), help="remember past frames, or see each alone")
    add("--stages", type=int, metavar="1..6", help="looks of --model sapnet; fewer is faster (6)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (a GPU if there is one)")
    add("--dtype", choices=list(DTYPES), help="arithmetic (what suits the device)")
    add("--memory", type=number, metavar="GIB", help="most a frame may use (what is free)")
    add("--weights", metavar="NAME|FILE", help="a network's weights (bundled ones)")


def add_encoder_options(
    parser: argparse.ArgumentParser, codecs: Iterable[str] | None, codec: str, crf: str, preset: str
) -> None:
    """What to write, of files and of live streams.

    Args:
        parser: to add them to.
        codecs: the names that are taken; None for those of hardware encoders too.
        codec, crf, preset: what the help says of the first three.
    """
    add = parser.add_argument
    choices = None if codecs is None else list(codecs)
    metavar = "NAME" if codecs is None else None
    add("--codec", choices=choices, metavar=metavar, help=codec)
    add("--crf", type=number, metavar="0..63", help=f"quality, lower is better ({crf})")
    add("--preset", metavar="NAME", help=f"encoder effort ({preset})")
    add("--pix-fmt", metavar="NAME", help="pixel format (nearest to the input's)")
    more = "another of its own"
    add("--encoder-option", type=pair, action="append", default=[], metavar="K=V", help=more)


def encoder_settings(options: argparse.Namespace) -> EncoderSettings:
    """What these options ask for.

    Raises:
        UsageError: there is no such codec or quality.
    """
    return EncoderSettings(
        options.codec, options.crf, options.preset, options.pix_fmt, dict(options.encoder_option)
    )


def number(text: str) -> float:
    """A finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def pair(text: str) -> tuple[str, str]:
    """An encoder's option and its value."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form option=value")
    return key, value
