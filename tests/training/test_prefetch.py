"""Batches arrive in order, whoever draws them."""

import os
import signal
import subprocess
import sys
from collections import deque
from itertools import count

import pytest
import torch

from sapnet_stream.errors import InputError
from sapnet_training.prefetch import Prefetch
from sapnet_training.task import Batch


def draw(step: int) -> list[Batch]:
    if step >= 6:
        return []
    return [(torch.full((2, 3), float(step)), torch.tensor(os.getpid()))]


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_and_from_anywhere(workers: int) -> None:
    prefetch = Prefetch(draw, 1, workers)
    pids = set()
    for step in (2, 3, 4, 5, 0, 1):
        ((values, pid),) = prefetch.get(step)
        assert torch.equal(values, torch.full((2, 3), float(step)))
        pids.add(int(pid))
    prefetch.close()
    assert (os.getpid() in pids) == (workers == 0)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA has pinned memory")
def test_a_gpu_fetches_what_processes_draw() -> None:
    prefetch = Prefetch(draw, 1, 2, pin=True)
    for step in (2, 3, 0, 1):
        ((values, _),) = prefetch.get(step)
        assert values.is_pinned()
        assert torch.equal(values, torch.full((2, 3), float(step)))
    prefetch.close()


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_that_of_its_step(workers: int) -> None:
    def fails(step: int) -> list[Batch]:
        if step == 1:
            raise ValueError("no such photograph")
        return draw(step)

    prefetch = Prefetch(fails, 1, workers)
    prefetch.get(0)
    with pytest.raises(ValueError, match="no such photograph"):
        prefetch.get(1)
    prefetch.close()


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_process_that_is_killed_is_one_sentence() -> None:
    prefetch = Prefetch(draw, 1, 2)
    ((_, pid),) = prefetch.get(0)
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(InputError, match="set fewer workers"):
        # The other process draws on until the pool has noticed.
        deque(map(prefetch.get, count(1)), maxlen=0)
    prefetch.close()


KILLED = """
import os, signal
from sapnet_training.prefetch import Prefetch

prefetch = Prefetch(lambda step: [], 1, workers=2)
prefetch.get(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_run_that_is_killed() -> None:
    # They hold the other end of its output, which is read to the end.
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
