"""Draws the next step's batches while the network is busy with this one's."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from sapnet_training.task import Batch


class Prefetch:
    """One step ahead on one thread.

    Args:
        draw: from a step to its batches; the same for the same step.
        threads: of the CPU that drawing may use.

    Attributes:
        waited_seconds: how long `get` has waited in all.
    """

    def __init__(self, draw: Callable[[int], list[Batch]], threads: int) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(
            1, "batches", initializer=torch.set_num_threads, initargs=(threads,)
        )
        self._ahead: tuple[int, Future[list[Batch]]] | None = None
        self.waited_seconds = 0.0

    def get(self, step: int) -> list[Batch]:
        """The batches of `step`; those of the step after it are drawn from now on."""
        if self._ahead is None or self._ahead[0] != step:
            self._ahead = step, self._pool.submit(self._draw, step)
        began = time.monotonic()
        batches = self._ahead[1].result()
        self.waited_seconds += time.monotonic() - began
        self._ahead = step + 1, self._pool.submit(self._draw, step + 1)
        return batches

    def close(self) -> None:
        """Waits for the thread to end."""
        self._pool.shutdown(cancel_futures=True)
