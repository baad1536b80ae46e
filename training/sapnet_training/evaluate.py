"""Evaluates checkpoints on pairs of images: `sapnet-eval --weights W … --data RAINY:CLEAN`.

Three tasks: `pixels` scores them against the clean images, see `scores`; `detection` and
`segmentation` ask what a vision network makes of them, see `agreement`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import track
from torch import Tensor

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.executor import DTYPES
from sapnet_training import video_evaluate
from sapnet_training.agreement import Agreement
from sapnet_training.command import command
from sapnet_training.data import image_size
from sapnet_training.derainer import Derained, Derainer, derain_pairs, told_apart
from sapnet_training.detection import Detection, Detector, FastestDet, TorchvisionDetector
from sapnet_training.looks import look
from sapnet_training.pairs import Pair, find_pairs
from sapnet_training.perceptual_similarity import TRUNKS, PerceptualSimilarityLoss
from sapnet_training.scores import Scores
from sapnet_training.segmentation import (
    Segmentation,
    Segmenter,
    StreetSegmenter,
    TorchvisionSegmenter,
)
from sapnet_training.sheet import write_sheet
from sapnet_training.table import Row, made_folder, write_csv

TASKS = ("pixels", "detection", "segmentation")


class Measure(Protocol):
    """What is found out about the images, one pair after the other."""

    name: str

    @property
    def header(self) -> tuple[str, ...]: ...

    def add(self, pair: Derained) -> dict[str, Tensor]:
        """Takes a pair in; what to show of it, by caption."""
        ...

    def rows(self) -> list[Row]:
        """The columns of `header`, image by image."""
        ...

    def table(self) -> str:
        """What it comes to."""
        ...

    def summary(self) -> str:
        """The same in a few words."""
        ...


def chosen_pairs(source: str, every: int) -> list[Pair]:
    """Every Nth pair; those of one size together, as some runtimes prepare for each size anew.

    Raises:
        InputError: see `find_pairs`, or a rainy file is no image.
        UsageError: every is below 1.
    """
    if every < 1:
        raise UsageError(f"--every must be at least 1, got {every}")
    pairs = find_pairs(source, Path())[::every]
    return sorted(pairs, key=lambda pair: image_size(pair.rainy))


def chosen_derainers(options: argparse.Namespace) -> list[Derainer]:
    """One for each of `--weights`.

    Raises:
        UsageError: two have one name, or see `Derainer`.
        WeightsError: a checkpoint cannot be used.
    """
    sources, dtype = options.weights or [None], DTYPES.get(options.dtype)
    told_apart(sources)
    return [
        Derainer(source, device=options.device, dtype=dtype, stages=options.stages)
        for source in sources
    ]


def chosen_measure(task: str, options: argparse.Namespace) -> Measure:
    """What `--task` asks for, "pixels" or a vision task as "KIND" or "KIND=MODEL".

    Raises:
        UsageError: there is no such task or model, or a package is missing.
        WeightsError: a model's file or its download cannot be used.
    """
    kind, _, model = task.partition("=")
    if kind not in TASKS or (model and kind == "pixels"):
        raise UsageError(f"--task {task} is none of {', '.join(TASKS)}; a model comes after =")
    if kind == "pixels":
        lpips = options.lpips
        return Scores(PerceptualSimilarityLoss(lpips, options.backbone_weights) if lpips else None)
    if options.block < 1:
        raise UsageError(f"--block must be at least 1, got {options.block}")
    if kind == "detection":
        return Agreement(Detection(chosen_detector(model)), options.block)
    return Agreement(Segmentation(chosen_segmenter(model)), options.block)


def chosen_detector(model: str) -> Detector:
    if model.endswith(".onnx"):
        return FastestDet(Path(model))
    return TorchvisionDetector(model or "ssdlite320_mobilenet_v3_large")


def chosen_segmenter(model: str) -> Segmenter:
    if model.endswith(".pth"):
        return StreetSegmenter(Path(model))
    return TorchvisionSegmenter(model or "lraspp_mobilenet_v3_large")


def evaluate(
    measures: Sequence[Measure],
    derainers: Sequence[Derainer],
    pairs: Sequence[Pair],
    sheets: Path | None = None,
) -> None:
    """Shows every pair to every measure.

    Args:
        sheets: folder for a picture per pair and measure.

    Raises:
        InputError: an image is unreadable, or a pair differs in size.
        OutputError: a sheet cannot be written.
    """
    derained, console = derain_pairs(derainers, pairs), Console(stderr=True)
    for pair in track(derained, "evaluating", len(pairs), console=console, transient=True):
        for measure in measures:
            pictures = measure.add(pair)
            if sheets is not None:
                write_sheet(sheets / measure.name / f"{pair.name}.png", pictures)


def run(options: argparse.Namespace) -> str:
    """What the command does; the text it prints."""
    pairs = chosen_pairs(options.data, options.every)
    measures = [chosen_measure(task, options) for task in options.task]
    derainers = chosen_derainers(options)
    for folder in filter(None, (options.csv, options.sheets)):
        made_folder(folder)
    evaluate(measures, derainers, pairs, options.sheets)
    text = [f"{len(pairs)} pairs, {derainers[0].how}"]
    for measure in measures:
        if options.csv is not None:
            write_csv(options.csv / f"{measure.name}.csv", measure.header, measure.rows())
        text.append(measure.table())
    if options.lpips is not None and options.backbone_weights is not None:
        text.append("LPIPS stands on local weights: compare it within this table only")
    data = f"{Path(options.data.split(':')[0]).name}, every {options.every}, {len(pairs)} pairs"
    networks = ", ".join(derainer.name for derainer in derainers)
    text.append(look(data, networks, "; ".join(measure.summary() for measure in measures)))
    return "\n\n".join(text)


@command
def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["video"]:
        print(video_evaluate.run(video_evaluate.parser().parse_args(arguments[1:])))
    else:
        print(run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sapnet-eval",
        description="Evaluates checkpoints on pairs of images, each by itself; `sapnet-eval video` "
        "on the frames of a video, of which the network for videos remembers those before.",
    )
    parser.add_argument(
        "--weights", nargs="+", metavar="NAME_OR_PATH", help="default: the bundled ones"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="SET",
        help="RAINY:CLEAN, two folders, or a benchmark's folder as it is downloaded",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth pair")
    parser.add_argument(
        "--task",
        nargs="+",
        default=["pixels"],
        metavar="TASK[=MODEL]",
        help="pixels (default), detection, segmentation; MODEL is FastestDet as .onnx, ESPNet "
        "as .pth, or a model of torchvision by name",
    )
    parser.add_argument(
        "--block",
        type=int,
        default=1,
        metavar="N",
        help="neighbouring frames that the bootstrap of a vision task draws together",
    )
    parser.add_argument("--stages", type=int, metavar="1-6", help="default: all")
    parser.add_argument("--device", metavar="cpu|cuda", help="default: a GPU if there is one")
    parser.add_argument("--dtype", choices=list(DTYPES), help="default: as the product runs there")
    parser.add_argument("--lpips", choices=TRUNKS, help="score LPIPS too, with this network")
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FOLDER",
        help="ImageNet weights for LPIPS, NAME.safetensors; default: torchvision downloads",
    )
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="a file per task, by image")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="pictures of every image")
    return parser


if __name__ == "__main__":
    sys.exit(main())
