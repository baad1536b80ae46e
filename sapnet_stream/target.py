"""The name of the result: never over something that must not be lost."""

import errno
import os
from pathlib import Path

from sapnet_stream.errors import OutputError


def check_target(path: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse to write over what must not be lost.

    Raises:
        OutputError: the target is the source, exists, or its folder does not.
    """
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path.parent} is not a folder: create it first")
    if not os.path.lexists(path):
        return
    if not os.path.exists(path):
        raise OutputError(f"{path} is a link to nothing: name a file")
    if os.path.exists(source) and path.samefile(source):
        raise OutputError(f"{path} is the input: name another output")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file in it")
    if not path.is_file():
        raise OutputError(f"{path} is a device or a pipe: name a file")
    if not overwrite:
        raise OutputError(f"{path} exists: name another output, or add --overwrite")


def behind_link(path: Path) -> Path:
    """The file that a link names, as other programs write to it; any other path as it is."""
    return Path(os.path.realpath(path)) if os.path.islink(path) and os.path.exists(path) else path


def place(result: Path, target: Path, *, overwrite: bool) -> None:
    """Give a finished file its name.

    Raises:
        OutputError: another program wrote a file of that name meanwhile; both are kept.
    """
    if target.exists() and not overwrite:
        spare = free_name(target)
        result.replace(spare)
        raise OutputError(f"{target} was written by someone else meanwhile: the result is {spare}")
    result.replace(target)


def free_name(target: Path) -> Path:
    """A name like the target's, with `.partial` before its ending, that no file has."""
    number = ""
    while True:
        name = target.with_name(f"{target.stem}.partial{number}{target.suffix}")
        if not name.exists():
            return name
        number = str(int(number or 1) + 1)


def write_failure(path: Path, error: OSError, again: str = "with --resume") -> OutputError:
    """What to say of an error of the file system, and how to go on."""
    if error.errno == errno.ENOSPC:
        return OutputError(f"the disk of {path} is full: free space and run again {again}".rstrip())
    return OutputError(f"{path} cannot be written: {error.strerror or error}")


def write_complete(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a small file under a partial name, then give it its own; of a link, what it names.

    Raises:
        OutputError: it cannot be written, or another program wrote one meanwhile.
    """
    target = behind_link(target)
    try:
        partial = free_name(target)
        with partial.open("xb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                place(partial, target, overwrite=overwrite)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise write_failure(target, error, again="") from error
