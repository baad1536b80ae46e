"""A fixed sequence of GPU work, recorded once and started as a whole."""

import threading
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

_RECORDING = threading.Lock()


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """To record on. PyTorch has 32 and hands them out in turn: a new one each time would, after
    enough sizes of frames, be one that somebody works on."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Graph:
    """A function of tensors whose shapes, devices and host-side decisions never change.

    Args:
        function: works on one CUDA device and does not wait for it. Its caller keeps what it works
            with beside its inputs, such as weights, for as long as the graph.
        inputs: what it is called with; only shapes, strides and dtypes matter later.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]
    ) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._graph = torch.cuda.CUDAGraph()
        # Set back even where a recording fails: PyTorch's own context then leaves its stream set.
        with torch.cuda.stream(torch.cuda.current_stream(inputs[0].device)):
            # Kernels are compiled and loaded before, which cannot be recorded.
            function(*self._inputs)
            stream = _stream(inputs[0].device)
            # Decoder and encoder may work on the same device meanwhile, on other threads.
            mode = "thread_local"
            with _RECORDING, torch.cuda.graph(self._graph, stream=stream, capture_error_mode=mode):
                self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's result, in memory that the next call overwrites."""
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._outputs
