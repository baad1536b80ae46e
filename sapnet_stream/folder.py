"""The folder job: every image and video of a folder, each a job of its own."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapnet_stream.errors import InputError, OutputError, SapnetError, UsageError, sentence
from sapnet_stream.job import Job
from sapnet_stream.journal import was_placed
from sapnet_stream.still.write import IMAGE_ENDINGS
from sapnet_stream.target import behind_link, write_failure
from sapnet_stream.video.container import WRITABLE

# Endings of files that are read but not written, and what they become.
READ_ONLY_IMAGES = (".gif",)
READ_ONLY_VIDEOS = (
    *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".ivf", ".m2ts", ".m2v"),
    *(".mj2", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".rm", ".ts", ".vob", ".wmv", ".wtv"),
    ".y4m",
)
IMAGE_STAND_IN, VIDEO_STAND_IN = ".png", ".mkv"
NAMED = 5
# Its time says since when existing outputs are replaced: newer ones are already.
_BEGUN = ".overwriting"


@dataclass(frozen=True)
class Item:
    """One file to derain, and what into."""

    source: Path
    target: Path
    kind: Literal["image", "video"]

    @property
    def parts(self) -> Path:
        """Where those of a video are until its target is complete."""
        return Job(self.source, self.target).folder


@dataclass(frozen=True)
class FolderPlan:
    """What a folder job will do.

    Attributes:
        items: in natural order of their names: 2.png before 10.png.
        notes: sentences on what is passed over, and on what gets another ending.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...]


@dataclass
class FolderReport:
    """What a folder job did: counts of files, and the exit status of the worst failure."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    exit_code: int = 0

    def __str__(self) -> str:
        skipped = f"{self.skipped} were done before, " if self.skipped else ""
        return f"{skipped}{self.done} done, {self.failed} failed"


def plan_folder(source: Path, target: Path) -> FolderPlan:
    """Pair the images and videos of `source` with their outputs of the same name in `target`.

    Folders inside, hidden files, and files whose ending is neither an image's nor a video's
    are passed over.

    Raises:
        InputError: there is nothing to derain, the folder cannot be read, or `target` is named
            like a file.
        OutputError: `target` is the folder itself.
        UsageError: two files would have the same output.
    """
    if target.suffix.lower() in (*IMAGE_ENDINGS, *WRITABLE) and not os.path.isdir(target):
        raise InputError(
            f"{source} is a folder and {target} names a file: give a file, or a folder to write to"
        )
    if os.path.exists(target) and target.samefile(source):
        raise OutputError(f"{target} is the input: name another folder")
    try:
        names = sorted((path for path in source.iterdir() if path.name[0] != "."), key=_natural)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error
    items = [item for path in names if (item := _item(path, target))]
    if not items:
        raise InputError(f"{source} has no image or video: give a folder of such files")
    _refuse_shared_targets(items)
    return FolderPlan(tuple(items), (*_passed_over(names, items), *_renamed(items)))


def derain_folder(
    plan: FolderPlan,
    derain_image: Callable[[Path, Path], None],
    derain_video: Callable[[Path, Path], None],
    begin: Callable[[int, int, Path], None],
    fail: Callable[[str, int], None],
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> FolderReport:
    """Derain file after file; one that cannot be is reported, and the others go on.

    Args:
        plan: what to derain.
        derain_image, derain_video: derain one file, from source to target; raise a
            `SapnetError` if they cannot.
        begin: told the number of a file, how many there are, and its path, as it begins.
        fail: told a sentence and an exit status for each file that cannot be derained.
        overwrite: replace existing outputs.
        resume: leave finished outputs as they are and do the others; with `overwrite`, those
            that an earlier run, which was stopped, has replaced.

    Raises:
        OutputError: outputs exist and neither `overwrite` nor `resume` is given, or the folder
            cannot be created.
    """
    finished = [item for item in plan.items if os.path.lexists(item.target)]
    if not (overwrite or resume):
        _refuse_existing(plan.items)
    folder = plan.items[0].target.parent
    _create(folder)
    if overwrite:
        since = _begun_ns(folder, resume=resume)
        finished = [i for i in finished if behind_link(i.target).lstat().st_mtime_ns > since]
    derain = {"image": derain_image, "video": derain_video}
    report = FolderReport()
    for number, item in enumerate(plan.items, 1):
        # A run that died right behind its last step left parts to remove.
        if item in finished and not was_placed(item.parts, item.target):
            report.skipped += 1
            continue
        begin(number, len(plan.items), item.source)
        try:
            derain[item.kind](item.source, item.target)
            report.done += 1
        except SapnetError as error:
            fail(sentence(error), error.exit_code)
            report.failed += 1
            report.exit_code = max(report.exit_code, error.exit_code)
    if overwrite and not report.failed:
        (folder / _BEGUN).unlink(missing_ok=True)
    return report


def _item(path: Path, folder: Path) -> Item | None:
    """What to do with one name of the folder; None passes it over."""
    ending = path.suffix.lower()
    if not path.is_file():
        return None
    if ending in IMAGE_ENDINGS:
        return Item(path, folder / path.name, "image")
    if ending in READ_ONLY_IMAGES:
        return Item(path, folder / f"{path.stem}{IMAGE_STAND_IN}", "image")
    if is_video_name(path):
        name = path.name if ending in WRITABLE else f"{path.stem}{VIDEO_STAND_IN}"
        return Item(path, folder / name, "video")
    return None


def is_video_name(path: Path) -> bool:
    """Whether a file's ending is a video's."""
    return path.suffix.lower() in (*WRITABLE, *READ_ONLY_VIDEOS)


def _passed_over(names: list[Path], items: list[Item]) -> Iterator[str]:
    taken = {item.source for item in items}
    folders = [path for path in names if path.is_dir()]
    others = [path for path in names if path not in taken and path not in folders]
    if folders:
        yield f"passed over {_listed(folders)}: folders inside a folder are jobs of their own"
    if others:
        yield f"passed over {_listed(others)}: by their endings neither images nor videos"


def _renamed(items: list[Item]) -> Iterator[str]:
    for ending in (IMAGE_STAND_IN, VIDEO_STAND_IN):
        paths = [
            item.source
            for item in items
            if item.target.suffix == ending and item.source.name != item.target.name
        ]
        if paths:
            yield f"written as {ending}, for such files are read only: {_listed(paths)}"


def _refuse_shared_targets(items: Iterable[Item]) -> None:
    seen: dict[Path, Path] = {}
    for item in items:
        other = seen.setdefault(item.target, item.source)
        if other != item.source:
            raise UsageError(
                f"{other.name} and {item.source.name} would both be written as "
                f"{item.target.name}: rename one, or derain it by itself"
            )


def _refuse_existing(items: tuple[Item, ...]) -> None:
    begun = [i for i in items if os.path.lexists(i.target) or os.path.exists(i.parts)]
    if begun:
        raise OutputError(
            f"{len(begun)} of {len(items)} outputs exist or are begun, {begun[0].target} first: "
            "add --resume to do the rest, or --overwrite"
        )


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Numbers inside a name count as numbers."""
    pieces = re.split(r"([0-9]+)", path.name)
    key = [
        (0, int(piece), piece) if place % 2 else (1, 0, piece.casefold())
        for place, piece in enumerate(pieces)
    ]
    # A name that begins with a number comes before one that does not.
    return [part for part in key if part[2]]


def _listed(paths: list[Path]) -> str:
    names = [path.name for path in paths[:NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _create(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is a file: name a folder for the outputs") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror}") from error


def _begun_ns(folder: Path, *, resume: bool) -> int:
    """When the job that replaces the outputs in a folder began: now, or an earlier run of it."""
    note = folder / _BEGUN
    try:
        if not (resume and note.exists()):
            note.touch()
        return note.stat().st_mtime_ns
    except OSError as error:
        raise write_failure(folder, error) from error
