"""Draws the next steps' batches while the network is busy with this one's."""

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Thread

import torch
import torch.multiprocessing

from sapnet_stream.errors import InputError
from sapnet_training.task import Batch

Draw = Callable[[int], list[Batch]]


class Prefetch:
    """One step ahead on one thread, or two on each of several processes.

    Args:
        draw: from a step to its batches; the same for the same step. A process cannot draw on
            a GPU.
        threads: of the CPU that drawing on a thread may use.
        workers: processes; 0 is a thread.
        pin: what processes draw, for a GPU to fetch while the network runs on.

    Attributes:
        waited_seconds: how long `get` has waited in all.
    """

    def __init__(self, draw: Draw, threads: int, workers: int = 0, pin: bool = False) -> None:
        self._pool: Executor
        self._pinning = ThreadPoolExecutor(1, "pinning") if pin and workers else None
        if workers:
            # Forked, they have the images; started anew, each would read them again.
            context = torch.multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(workers, context, _begin, (draw,))
            self._draw: Draw = _drawn
        else:
            self._pool = ThreadPoolExecutor(1, "batches", torch.set_num_threads, (threads,))
            self._draw = draw
        self._most_ahead = max(1, 2 * workers)
        self._first = 0
        self._ahead: deque[Future[list[Batch]]] = deque()
        self.waited_seconds = 0.0

    def get(self, step: int) -> list[Batch]:
        """The batches of `step`; those of the steps after it are drawn from now on.

        Raises:
            InputError: a process was killed from outside; and what drawing raises.
        """
        try:
            return self._next(step)
        except BrokenProcessPool as error:
            raise InputError(
                "a process that draws batches was killed, mostly for want of memory: set fewer "
                "workers and go on with --resume"
            ) from error

    def _next(self, step: int) -> list[Batch]:
        if self._first != step:
            self._first = step
            for future in self._ahead:
                future.cancel()
            self._ahead.clear()
        if not self._ahead:
            self._submit()
            self._pin_next()
        began = time.monotonic()
        batches = self._ahead.popleft().result()
        self.waited_seconds += time.monotonic() - began
        self._first += 1
        while len(self._ahead) < self._most_ahead:
            self._submit()
        self._pin_next()
        return batches

    def _submit(self) -> None:
        self._ahead.append(self._pool.submit(self._draw, self._first + len(self._ahead)))

    def _pin_next(self) -> None:
        # One step's batches only: what is drawn ahead are gigabytes.
        if self._pinning is not None:
            self._ahead[0] = self._pinning.submit(_pinned, self._ahead[0])

    def close(self) -> None:
        """Waits for the threads and the processes to end."""
        self._pool.shutdown(cancel_futures=True)
        if self._pinning is not None:
            self._pinning.shutdown()


def _pinned(drawn: Future[list[Batch]]) -> list[Batch]:
    return [tuple(tensor.pin_memory() for tensor in batch) for batch in drawn.result()]


_of_this_process: list[Draw] = []


def _begin(draw: Draw) -> None:
    torch.set_num_threads(1)
    _of_this_process[:] = [draw]
    Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    # The pool says nothing to its processes when the run is killed: they would wait for ever.
    run = torch.multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)


def _drawn(step: int) -> list[Batch]:
    return _of_this_process[0](step)
