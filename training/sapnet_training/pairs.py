"""Pairs of rainy and clean image files, in the layouts the deraining sets are downloaded in.

A pair is found by its names, whatever the set is called:

| set | rainy | clean |
|---|---|---|
| Rain100H/L, RainTrainH/L, 2017 | rain-1.png, rainy/rain-001.png | norain-1.png |
| the same, later versions | rain/X2/norain-1x2.png, rain/norain-1x2.png | norain/norain-1.png |
| Rain12 | rainy/001_in.png | GT/001_GT.png |
| Rain1400, Rain12600 | rainy_image/1_1.jpg to 1_14.jpg | ground_truth/1.jpg |
| Rain13K and its tests | input/1.jpg | target/1.jpg |
| Rain800 | one half of 1.jpg | its other half (`halves:FOLDER`) |
| SPA-data | each line of a list, real_world.txt: rainy and clean | |
| its test | rain/000.png | gt/000gt.png |
| NTURain, a folder per video | a1_Rain/00001.jpg | a1_GT/00001.jpg |
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sapnet_stream.errors import InputError
from sapnet_training.data import image_files, read_image

RAINY_FOLDERS = ("rain/X2", "rain", "rainy", "rainy_image", "input", "data")
CLEAN_FOLDERS = ("norain", "ground_truth", "groundtruth", "target", "gt", "GT", "clean", "label")
SCENE_OF_RAINY = (r"(?:no)?rain-(.+?)(?:x2)?", r"(.+)_in", r"(.+)")
SCENE_OF_CLEAN = (r"norain-(.+)", r"(.+?)_?(?:gt|GT)", r"(.+)")
HALVES = "halves:"
SAMPLED = 16
"""Files that vote which half of Rain800's pictures is the rainy one."""


@dataclass(frozen=True)
class Pair:
    """A rainy and a clean file; or one file that is both, and which half is rainy."""

    rainy: Path
    clean: Path
    rainy_half: int | None = None


def find_pairs(source: str, root: Path) -> list[Pair]:
    """The pairs of a downloaded set.

    Args:
        source: a folder in one of the layouts above, "RAINY:CLEAN" for any two folders, or
            "halves:FOLDER" for pictures of both side by side; relative to `root`.
        root: folder of the data.

    Raises:
        InputError: no such folder, no known layout, or a file without its twin; it is named.
    """
    if not all(source.split(":")):
        raise InputError(f"{source!r} names no pairs: give a folder, or RAINY:CLEAN")
    if source.startswith(HALVES):
        return _halves(root / source.removeprefix(HALVES))
    rainy, colon, clean = source.partition(":")
    if colon:
        return match(image_files(root / rainy), image_files(root / clean))
    folder = root / source
    lists = sorted(folder.glob("*.txt"))
    for path in lists:
        if pairs := _listed(path):
            return pairs
    if videos := sorted(folder.glob("*_Rain")):
        named = [(v, v.with_name(v.name.removesuffix("_Rain") + "_GT")) for v in videos]
        return [p for v, truth in named for p in match(image_files(v), image_files(truth))]
    rainy_folder = next((folder / n for n in RAINY_FOLDERS if _has_images(folder / n)), None)
    clean_folder = next((folder / n for n in CLEAN_FOLDERS if _has_images(folder / n)), None)
    if rainy_folder and clean_folder:
        return match(image_files(rainy_folder), image_files(clean_folder))
    files = image_files(folder)
    clean_files = [p for p in files if re.fullmatch(r"norain-.+|.+_GT", p.stem)]
    if not clean_files:
        raise InputError(
            f"{folder} has no layout that is known; give RAINY:CLEAN for two folders, or "
            f"{HALVES}FOLDER for pictures side by side"
        )
    rainy_files = image_files(rainy_folder) if rainy_folder else sorted({*files} - {*clean_files})
    return match(rainy_files, clean_files)


def match(rainy: Iterable[Path], clean: Iterable[Path]) -> list[Pair]:
    """Rainy files with the clean file of their scene; a scene may have several rainy ones.

    Raises:
        InputError: a file has no twin; it is named.
    """
    clean = list(clean)
    scenes = {_scene(path, SCENE_OF_CLEAN): path for path in clean}
    pairs = []
    for path in rainy:
        scene = _scene(path, SCENE_OF_RAINY)
        if scene not in scenes:
            scene = re.sub(r"_\d+$", "", scene)
        if scene not in scenes:
            raise InputError(f"{path} has no clean twin: add it, or take {path.name} away")
        pairs.append(Pair(path, scenes[scene]))
    used = {pair.clean for pair in pairs}
    if unused := [path for path in clean if path not in used]:
        path = unused[0]
        raise InputError(f"{path} has no rainy twin: add it, or take {path.name} away")
    return pairs


def read_pair(pair: Pair) -> Tensor:
    """Rainy over clean, [6, H, W] uint8 RGB each.

    Raises:
        InputError: a file is unreadable, or they differ in size.
    """
    if pair.rainy_half is not None:
        halves = _split(pair.rainy)
        return torch.cat((halves[pair.rainy_half], halves[1 - pair.rainy_half]))
    rainy, clean = read_image(pair.rainy), read_image(pair.clean)
    if rainy.shape != clean.shape:
        raise InputError(f"{pair.rainy} and {pair.clean} differ in size")
    return torch.cat((rainy, clean))


def pair_names(pairs: Sequence[Pair]) -> list[str]:
    """Of the rainy files below the folder that all are in: "00001", or "a1_Rain/00001"."""
    paths = [Path(os.path.abspath(pair.rainy)) for pair in pairs]
    folder = os.path.commonpath([path.parent for path in paths])
    files = [path.relative_to(folder) for path in paths]
    names = [file.with_suffix("").as_posix() for file in files]
    return names if len(set(names)) == len(names) else [file.as_posix() for file in files]


def _scene(path: Path, patterns: tuple[str, ...]) -> str:
    found = next(m for p in patterns if (m := re.fullmatch(p, path.stem)))
    return found[1]


def _has_images(folder: Path) -> bool:
    return any(p.suffix.lower() in (".png", ".jpg", ".jpeg") for p in folder.glob("*"))


def _listed(path: Path) -> list[Pair]:
    """Pairs of a list, two names a line from the list's folder on; none if it is no list."""
    rows = [
        line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    rows = [row for row in rows if row]
    if not rows or any(len(row) != 2 or "." not in row[0] for row in rows):
        return []
    folder = path.parent
    pairs = [Pair(folder / wet.lstrip("/"), folder / dry.lstrip("/")) for wet, dry in rows]
    for pair in pairs:
        for file in (pair.rainy, pair.clean):
            if not file.exists():
                raise InputError(
                    f"{file} is in {path} and does not exist: add it, or its line away"
                )
    return pairs


def _halves(folder: Path) -> list[Pair]:
    """Rain makes a picture brighter, and the half that mostly is so is the rainy one."""
    files = image_files(folder)
    votes = [
        left.float().mean() > right.float().mean() for left, right in map(_split, files[:SAMPLED])
    ]
    rainy_half = 0 if sum(votes) * 2 > len(votes) else 1
    return [Pair(path, path, rainy_half) for path in files]


def _split(path: Path) -> tuple[Tensor, Tensor]:
    image = read_image(path)
    if image.shape[2] % 2:
        raise InputError(f"{path} is {image.shape[2]} pixels wide and has no equal halves")
    left, right = image.chunk(2, dim=2)
    return left, right
