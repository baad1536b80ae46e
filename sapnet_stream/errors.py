"""Errors a user can cause, each one clear sentence: what, where, what to do.

Their exit codes are 1 to 6; the command also ends with 0 (done) and 130 (stopped by a signal).
"""

import unicodedata


def one_line(text: str) -> str:
    r"""`text` with what could end its line or drive a terminal written out, as in "\x1b[31m".

    Names of files may hold any byte but "/" and zero: line ends, escape sequences, bytes that
    are not UTF-8, and characters that turn the direction of writing.
    """
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


class SapnetError(Exception):
    """A mistake in what was asked for; the command prints it without a traceback.

    Attributes:
        exit_code: the status `sapnet-stream` exits with.
    """

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class UsageError(SapnetError):
    """The options contradict each other or name something that does not exist."""

    exit_code = 2


class InputError(SapnetError):
    """The source is missing, unreadable or damaged."""

    exit_code = 3


class OutputError(SapnetError):
    """The target exists, cannot be written, or cannot hold the streams."""

    exit_code = 4


class WeightsError(SapnetError):
    """A checkpoint is missing, damaged or of another architecture."""

    exit_code = 5


class TooLargeError(SapnetError):
    """A frame does not fit into the memory allowed for it."""

    exit_code = 6


def sentence(error: SapnetError) -> str:
    """An error with where it happened."""
    where = ", ".join(getattr(error, "__notes__", []))
    return one_line(f"{error}{where and f' ({where})'}")
