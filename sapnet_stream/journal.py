"""What is done of a job, in a folder beside its output, so that no death loses it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from sapnet_stream.errors import OutputError, UsageError
from sapnet_stream.identity import Identity
from sapnet_stream.target import free_name, write_failure
from sapnet_stream.video.join import VideoPart

_RECORDS = "[0-9]*.json"
_LOCK = "lock"
_PLACING = "placing"
_PARTIAL = "partial"


@dataclass(frozen=True)
class PartRecord:
    """A finished part, and the parts behind it that hold no frame.

    Attributes:
        number: parts are numbered by their place in the video, from 0.
        behind: number of the next part that is not of this record.
        video: file and times; without a frame there is no file.
        damaged: packets and frames of the source that were broken there.
        retimed: frames whose time went back there.
        interlaced: frames written that are two fields.
    """

    number: int
    behind: int
    video: VideoPart
    damaged: int
    retimed: int
    interlaced: int


class Journal:
    """A folder of closed, playable parts, each with a record that is written after it.

    A part without a record counts as not begun, so a process may die at any moment; and
    several may write different parts at once.

    Args:
        folder: made if it is missing.
        identity: of the job; None takes whatever is there.

    Attributes:
        parts: the finished ones by their number.
        count: how many there are in all; None until the source's end was reached.

    Raises:
        UsageError: what is in the folder is of another job; the difference is named.
        OutputError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, identity: Identity | None = None) -> None:
        self.folder = folder
        try:
            folder.mkdir(exist_ok=True)
            if identity is not None:
                self._identify(identity)
            records = (self._record(path) for path in folder.glob(_RECORDS))
            self.parts = {record.number: record for record in records if record}
            end = _load(folder / "end.json")
            self.count = None if end is None else int(end["parts"])
            self._partial = _load(folder / _PARTIAL)
        except OSError as error:
            raise write_failure(folder, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder} is damaged: add --overwrite to begin anew") from error

    def path(self, number: int, suffix: str) -> Path:
        """Where a part's file belongs."""
        return self.folder / f"{number:06}{suffix}"

    def add(self, record: PartRecord) -> None:
        """Note a part whose file is on the disk."""
        path = record.video.path
        content = {
            "behind": record.behind,
            "file": path.name,
            "bytes": path.stat().st_size if len(record.video.pts) else 0,
            "pts": record.video.pts.tolist(),
            "duration": record.video.duration,
            "damaged": record.damaged,
            "retimed": record.retimed,
            "interlaced": record.interlaced,
        }
        self._save(f"{record.number:06}.json", content)
        self.parts[record.number] = record

    def end(self, count: int) -> None:
        """Note that the source's end was reached, and how many parts there are."""
        self._save("end.json", {"parts": count})
        self.count = count

    def missing(self) -> Iterator[tuple[int, int | None]]:
        """Stretches of parts that are not finished, as first and behind the last.

        None is the end of the source, wherever that is.
        """
        first = 0
        for number in sorted(self.parts):
            if number > first:
                yield first, number
            first = self.parts[number].behind
        if self.count is None:
            yield first, None
        elif self.count > first:
            yield first, self.count

    @property
    def complete(self) -> bool:
        """Whether no part is missing."""
        return next(self.missing(), None) is None

    def leading(self) -> list[PartRecord]:
        """The finished parts before the first missing one."""
        behind = next((first for first, _ in self.missing()), None)
        numbers = sorted(n for n in self.parts if behind is None or n < behind)
        return [self.parts[number] for number in numbers]

    def partial_target(self, target: Path) -> Path:
        """Where what is done goes for the time being; the same name each time."""
        if self._partial is None:
            self._partial = free_name(target).name
            self._save(_PARTIAL, self._partial)
        return target.with_name(self._partial)

    def placing(self, result: Path) -> None:
        """Note which file gets the target's name now."""
        self._save(_PLACING, _file_identity(result))

    def _identify(self, identity: Identity) -> None:
        begun = _load(self.folder / "job.json")
        if begun is None:
            _save(self.folder / "job.json", identity)
        elif begun != identity:
            raise UsageError(
                f"{self.folder} holds parts of another job ({_difference(begun, identity)}): "
                "run with the same settings, or add --overwrite to begin anew"
            )

    def _save(self, name: str, content: Any) -> None:
        try:
            _save(self.folder / name, content)
        except OSError as error:
            raise write_failure(self.folder, error) from error

    def _record(self, path: Path) -> PartRecord | None:
        """What `add` saved, if its file is still as it was."""
        content = _load(path)
        file = self.folder / str(content["file"])
        if content["pts"] and not (file.exists() and file.stat().st_size == content["bytes"]):
            return None
        pts = np.array(list(content["pts"]), np.int64)
        video = VideoPart(file, pts, int(content["duration"]))
        names = ("behind", "damaged", "retimed", "interlaced")
        behind, *counts = (int(content[name]) for name in names)
        return PartRecord(int(path.stem), behind, video, *counts)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs of a job out while this one is at work.

    A folder in which nothing is finished is gone afterwards.

    Raises:
        OutputError: another process is at it, or the folder cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{folder} is in use by another sapnet-stream: wait for it, or name another output"
        ) from error
    except OSError as error:
        raise write_failure(folder, error) from error
    try:
        yield
    finally:
        if folder.exists() and not any(folder.glob(_RECORDS)):
            remove(folder)
        lock.release()


def was_placed(folder: Path, target: Path) -> bool:
    """Whether a run died after the target got its name, and left no more than its parts."""
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not (os.path.isfile(target) and os.path.exists(folder / _PLACING)):
        return False
    # Not by name: another program may have written the target.
    return bool(_load(folder / _PLACING) == _file_identity(target))


def clear(folder: Path) -> None:
    """Remove all that is done of a claimed job."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()


def remove(folder: Path) -> None:
    """Remove a claimed job's folder and all that is in it."""
    clear(folder)
    (folder / _LOCK).unlink()
    folder.rmdir()


def _difference(begun: Identity, identity: Identity) -> str:
    names = [n for n in {**begun, **identity} if begun.get(n) != identity.get(n)]
    return "; ".join(f"{n} was {begun.get(n, 'none')}, is {identity.get(n, 'none')}" for n in names)


def _file_identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size]


def _load(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _save(path: Path, content: Any) -> None:
    """Write a file that is there whole or not at all, whatever happens."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with partial.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
