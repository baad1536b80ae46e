"""The folder of a run: whether this process may write into it, and go on with what is there."""

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.target import write_failure
from sapnet_training.config import TrainConfig

KEPT = ("last.pt", "best.pt")


def check_new(out: Path) -> None:
    """Raises UsageError where a run has left checkpoints."""
    for path in (out / name for name in KEPT):
        if path.exists():
            raise UsageError(f"{path} exists; give --resume to go on, or another --out")


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Makes the folder, and keeps other runs out of it meanwhile.

    Raises:
        OutputError: it cannot be made, is a file, or another run writes into it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except FileExistsError:
        raise OutputError(f"{out} is a file: --out names a folder") from None
    except OSError as error:
        raise write_failure(out, error) from error
    try:
        _lock(folder, out)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, out: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"another run writes into {out}: wait for its end, or give another --out"
        ) from None
    except OSError as error:  # as network file systems without locks say
        print(f"{out} cannot be locked ({error}): start no other run into it", file=sys.stderr)


def check_resumable(parts: Mapping[str, Any], config: TrainConfig, path: Path) -> str | None:
    """Of the parts of a checkpoint at `path`, whether a run by this recipe can go on from them.

    Returns:
        What the recipe changes, for a person; None where it is the same.

    Raises:
        UsageError: it trains another network, or has fewer steps than are done.
    """
    now = config.to_dict()
    before = {"task": "image", **parts["config"]}
    changed = [key for key, value in now.items() if before.get(key, value) != value]
    for key in ("task", "dilations"):
        if key in changed:
            raise UsageError(
                f"{path} is of a run with {key} {before[key]}, the recipe has {now[key]}: "
                "give the run's own recipe, or another --out"
            )
    if parts["step"] > config.steps:
        raise UsageError(
            f"{path} has done {parts['step']} steps, the recipe ends at {config.steps}: "
            "raise steps, or give the --budget-minutes that the run began with"
        )
    return ", ".join(f"{key} {now[key]}, was {before[key]}" for key in changed) or None
