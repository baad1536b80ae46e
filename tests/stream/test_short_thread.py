"""Only the thread that derains has a team of OpenMP's threads."""

import os
import subprocess
import sys

import pytest

from sapnet_stream.short_thread import in_short_thread


def test_results_and_errors_come_back() -> None:
    assert in_short_thread(lambda: 3) == 3
    with pytest.raises(ValueError, match="no such thing"):
        in_short_thread(lambda: int("no such thing"))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
@pytest.mark.parametrize("model", ["video", "sapnet"])
def test_no_team_is_left_of_making_an_engine(model: str) -> None:
    """OpenMP's threads stay as long as the thread that computed with them."""
    code = f"""
import os, time, torch
torch.set_num_threads(2)
from sapnet_stream.engine import DerainEngine
from sapnet_stream.models import Models
before = len(os.listdir("/proc/self/task"))
for dtype in (torch.float32, torch.bfloat16, None):
    engine = DerainEngine(Models("{model}").network("video"), device="cpu", dtype=dtype)
    time.sleep(0.5)  # They end a little later.
    print(len(os.listdir("/proc/self/task")) - before)
torch.ones(2**20).mul(2)
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The last, with all cores from this very thread, is what would be left.
    assert done.stdout.split() == ["0", "0", "0", "1"]
