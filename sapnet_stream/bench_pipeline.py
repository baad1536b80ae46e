"""What the corridor costs around the network, beside the `ffmpeg` program.

The network is replaced by one that returns its input; decoding, both colour conversions and
encoding are done as ever. Both sides use the same file, codec, preset, crf and pixel format,
in turn.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sapnet_stream.derain import derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.job import Job
from sapnet_stream.video.codec import ENCODERS, EncoderSettings
from sapnet_stream.video.decode import VideoDecoder


class ZeroResidual:
    """An executor that derains nothing; the engine still computes and adds the change."""

    name = "zero residual"

    def __call__(self, image: Tensor) -> Tensor:
        return image

    def check_memory(self, height: int, width: int) -> None:
        """Any frame fits."""


@dataclass(frozen=True)
class PipelineResult:
    """Frames per second of whole programs, paired run by run.

    Attributes:
        height, width: of the file's pictures.
        ours: one figure per run.
        ffmpeg: likewise, of the run just before.
    """

    height: int
    width: int
    ours: list[float]
    ffmpeg: list[float]

    @property
    def ratio(self) -> float:
        """Median over the pairs of ours / ffmpeg."""
        return statistics.median(a / b for a, b in zip(self.ours, self.ffmpeg, strict=True))


def measure_pipeline(source: Path, runs: int) -> PipelineResult:
    """Time H.264 to H.264 of `source` by both programs, after one warm-up each.

    Raises:
        UsageError: there is no `ffmpeg` program.
        InputError: the file cannot be read, or `ffmpeg` cannot write it so.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise UsageError("the pipeline benchmark compares with the ffmpeg program: install it")
    engine = DerainEngine(device="cpu", executor=ZeroResidual())
    with VideoDecoder(source) as decoder:
        height, width = decoder.info.height, decoder.info.width
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mp4"
        for run in range(runs + 1):
            seconds_ffmpeg = _run_ffmpeg(program, source, target)
            began = time.perf_counter()
            job = Job(source, target, encoder=EncoderSettings("h264"), overwrite=True)
            frames = derain_file(job, engine).frames
            seconds = time.perf_counter() - began
            if run:
                ours.append(frames / seconds)
                theirs.append(frames / seconds_ffmpeg)
    return PipelineResult(height, width, ours, theirs)


def _run_ffmpeg(program: str, source: Path, target: Path) -> float:
    encoder = ENCODERS["h264"]
    command = [program, "-nostdin", "-v", "error", "-y", "-i", str(source), "-c:a", "copy"]
    command += ["-c:v", encoder.name, "-preset", encoder.preset, "-crf", str(encoder.crf)]
    command += ["-pix_fmt", "yuv420p", str(target)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        raise InputError(
            f"ffmpeg cannot write {source} as yuv420p H.264 ({reason}): name another --video"
        )
    return seconds
