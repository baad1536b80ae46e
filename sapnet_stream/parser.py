"""Command lines whose mistakes are one sentence, like all others."""

import argparse
from typing import NoReturn

from sapnet_stream.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")
