"""Command lines whose mistakes are one sentence, like all others."""

import argparse
import math
from typing import NoReturn

import torch

from sapnet_stream.errors import UsageError
from sapnet_stream.models import BUNDLED_WEIGHTS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    add("--dtype", choices=list(DTYPES), help="arithmetic (the device's fastest)")
    add("--memory", type=number, metavar="GIB", help="most a frame may use (what is free)")
    add("--weights", metavar="NAME|FILE", help="a network's weights (bundled ones)")


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
