"""A fixed sequence of GPU work, recorded once and started as a whole."""

from collections.abc import Callable

import torch
from torch import Tensor


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
        with torch.cuda.device(inputs[0].device):
            # Kernels are compiled and loaded before, which cannot be recorded.
            function(*self._inputs)
            # Of this device: the default one is shared by all.
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            # Decoder and encoder may work on the same device meanwhile, on other threads.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's result, in memory that the next call overwrites."""
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._outputs
