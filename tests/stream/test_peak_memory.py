"""A long clip takes no more memory than a short one."""

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Path]

SCRIPT = r"""
import re, sys
from fractions import Fraction
from pathlib import Path
from sapnet_stream.derain import derain_file
from sapnet_stream.job import Job
from sapnet_stream.engine import DerainEngine
from sapnet_stream.video.codec import EncoderSettings
class Zero:
    name = "zero"
    def __call__(self, image): return image
    def check_memory(self, height, width): pass
job = Job(Path(sys.argv[1]), Path(sys.argv[2]), encoder=EncoderSettings(preset="ultrafast"))
report = derain_file(job, DerainEngine(executor=Zero()))
# Not ru_maxrss, which begins with the peak of the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(report.frames, peak[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's peak memory")
def test_ten_times_the_length_takes_the_same_memory(
    make_clip: Make, sound: Callable[..., Any], tmp_path: Path
) -> None:
    peaks = []
    for seconds in (60, 600):
        clip = make_clip(
            f"{seconds}.mp4",
            "libx264",
            "yuv420p",
            (64, 48),
            range(seconds * 10),
            noise=False,
            time_base=Fraction(1, 10),
            sounds=[sound("libopus")],
            options={"preset": "ultrafast"},
        )
        command: list[Any] = [sys.executable, "-c", SCRIPT, clip, tmp_path / f"{seconds}-out.mp4"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        frames, kibibytes = map(int, done.stdout.split())
        assert frames == seconds * 10
        peaks.append(kibibytes)
    assert peaks[1] <= 1.05 * peaks[0], peaks
