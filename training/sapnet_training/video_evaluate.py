"""`sapnet-eval video`: networks on the consecutive frames of a video, or a static camera's.

Scores frame by frame, see `video_scores`; networks that see each frame by itself beside those
with a memory, and medians over time.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.networks.executor import DTYPES
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import VIDEO_NAME, load_either
from sapnet_training.chart import Box, draw_chart
from sapnet_training.data import check_consecutive, image_files, read_frames
from sapnet_training.derainer import RAINY, told_apart
from sapnet_training.looks import look
from sapnet_training.pairs import match
from sapnet_training.picture_file import save_picture
from sapnet_training.sheet import write_sheet
from sapnet_training.static_camera import FRAMES, static_clips
from sapnet_training.table import made_folder, markdown, write_csv
from sapnet_training.video_derainer import VideoDerainer, derainer, median_of
from sapnet_training.video_scores import Record, means, static_scores, video_scores

Scored = dict[str, list[Record]]
"""Frame by frame, by what derained them."""
CHART_PX = (900, 420)


def chosen_derainers(options: argparse.Namespace) -> dict[str, VideoDerainer]:
    """By name: the input, medians, every checkpoint, and with --forget what has no memory.

    Raises:
        UsageError: two have one name, a median is of no frame, or a network has no such dtype.
        WeightsError: a checkpoint cannot be used.
    """
    if min(options.medians, default=1) < 1:
        raise UsageError(f"--medians must be of 1 frame or more, got {min(options.medians)}")
    chosen: dict[str, VideoDerainer] = {RAINY: iter}
    chosen |= {f"median of {count}": median_of(count) for count in options.medians}
    dtype = DTYPES.get(options.dtype)
    for name, source in zip(told_apart(options.weights), options.weights, strict=True):
        network = load_either(source)
        chosen[name] = derainer(network, dtype)
        if options.forget and isinstance(network, SAPNetVideo):
            chosen[f"{name}, no memory"] = derainer(network, dtype, forget=True)
    return chosen


def on_folders(options: argparse.Namespace, chosen: dict[str, VideoDerainer]) -> Scored:
    """Scores on `--data RAINY[:CLEAN]`; pictures of every frame into `--sheets`.

    Raises:
        InputError: a frame is missing, unreadable, or differs in size.
        UsageError: the table would begin after the last frame.
    """
    rainy, _, clean = options.data.partition(":")
    files = image_files(Path(rainy))
    targets = None
    if clean:
        pairs = match(files, image_files(Path(clean)))
        files, targets = [p.rainy for p in pairs], [p.clean for p in pairs]
    files = files[: options.last]
    if options.first > len(files):
        raise UsageError(
            f"the table begins at frame {options.first} and there are {len(files)}: "
            f"give --first 1 to {len(files)}"
        )
    check_consecutive(files)
    frames = read_frames(files)
    wanted = read_frames(targets[: options.last]) if targets else None
    if wanted and wanted[0].shape != frames[0].shape:
        raise InputError(f"the frames in {rainy} and {clean} differ in size")
    scored: Scored = {}
    pictures: dict[str, list[Tensor]] = {}
    for name, video in chosen.items():
        scored[name], outputs = video_scores(video(frames), frames, wanted)
        if options.sheets is not None:
            pictures[name] = outputs
    for record in scored[RAINY]:  # took no time
        del record["seconds"]
    if options.sheets is not None:
        pictures |= {"clean": wanted} if wanted else {}
        for number, file in enumerate(files):
            row = {name: images[number] for name, images in pictures.items()}
            write_sheet(options.sheets / f"{file.stem}.png", row)
    return scored


def on_static_camera(chosen: dict[str, VideoDerainer]) -> Scored:
    """Scores on the static-camera benchmark, means over its clips."""
    clips = static_clips()
    scored = {}
    for name, video in chosen.items():
        parts = [static_scores(clip, video(clip.rainy)) for clip in clips]
        scored[name] = [means(frames) for frames in zip(*parts, strict=True)]
    return scored


def write_chart(path: Path, scored: Scored) -> None:
    """PSNR over the frame's number, as a picture; see `save_picture`."""
    picture = Image.new("RGB", CHART_PX, "white")
    lines = {
        name: [(n, record["psnr"]) for n, record in enumerate(records, start=1)]
        for name, records in scored.items()
    }
    draw_chart(ImageDraw.Draw(picture), Box(0, 0, *CHART_PX), "PSNR in dB over frames", lines)
    save_picture(picture, path)


def run(options: argparse.Namespace) -> str:
    """What the command does; the text it prints.

    Raises:
        SapnetError: one sentence.
    """
    if options.static == (options.data is not None):
        raise UsageError("give either --data or --static")
    if options.data is not None and not all(options.data.split(":")):
        raise UsageError(f"--data is RAINY or RAINY:CLEAN, two folders, got {options.data!r}")
    if options.static and (options.sheets or options.last is not None):
        raise UsageError("--sheets and --last are for --data")
    if options.first < 1 or (options.static and options.first > FRAMES):
        raise UsageError(f"--first must be 1 to {FRAMES}, got {options.first}")
    if options.last is not None and options.last < 1:
        raise UsageError(f"--last must be 1 or more, got {options.last}")
    if options.chart and not (options.static or ":" in options.data):
        raise UsageError("--chart needs --static, or clean frames: --data RAINY:CLEAN")
    for path in filter(None, (options.csv, options.chart)):
        made_folder(path.parent)
    chosen = chosen_derainers(options)
    scored = on_static_camera(chosen) if options.static else on_folders(options, chosen)
    count = len(scored[RAINY])
    if options.csv is not None:
        write_csv(options.csv, *_lines(scored))
    if options.chart is not None:
        write_chart(options.chart, scored)
    table = {name: means(records[options.first - 1 :]) for name, records in scored.items()}
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    rows = [
        (name, *(f"{row[c]:.4g}" if c in row else "" for c in columns))
        for name, row in table.items()
    ]
    text = [f"frames {options.first} to {count}", markdown(("", *columns), rows)]
    if options.data:
        what = f"{Path(options.data.split(':')[0]).name}, frames {options.first} to {count}"
        result = "; ".join(" ".join(row) for row in rows)
        text.append(look(what, ", ".join(options.weights), result))
    return "\n\n".join(text)


def parser() -> argparse.ArgumentParser:
    """Of the command's options."""
    made = argparse.ArgumentParser(
        prog="sapnet-eval video", description="Evaluates checkpoints on the frames of a video."
    )
    add = made.add_argument
    add("--weights", nargs="+", default=[VIDEO_NAME], metavar="NAME_OR_PATH")
    add("--data", metavar="RAINY[:CLEAN]", help="folders of consecutive frames")
    add("--static", action="store_true", help="the static-camera benchmark")
    add("--first", type=int, default=9, metavar="N", help="first frame in the table (9)")
    add("--last", type=int, metavar="N", help="of --data; default: all")
    add("--dtype", choices=list(DTYPES), help="default: as the product runs")
    add("--forget", action="store_true", help="also without background memory")
    add("--medians", type=int, nargs="*", default=[], metavar="N", help="also of N frames")
    add("--csv", type=Path, metavar="FILE", help="a line per frame")
    add("--chart", type=Path, metavar="PNG", help="PSNR over frames")
    add("--sheets", type=Path, metavar="FOLDER", help="a picture of every frame")
    return made


def _lines(scored: Scored) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Header and lines of a CSV file: a column for each score of each derainer."""
    keys = [
        (name, column)
        for name, records in scored.items()
        for column in dict.fromkeys(column for record in records for column in record)
    ]
    frames = zip(*scored.values(), strict=True)
    places = {name: place for place, name in enumerate(scored)}
    lines = (
        (number, *(records[places[name]].get(column) for name, column in keys))
        for number, records in enumerate(frames, start=1)
    )
    return ["frame", *(f"{name} {column}" for name, column in keys)], lines
