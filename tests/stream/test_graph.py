"""A recording that fails leaves nothing behind; what one gives, only a GPU can show."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from sapnet_stream.networks import graph


class Streams:
    """PyTorch's, without a GPU: which one the thread works on."""

    def __init__(self) -> None:
        self.current = "its own"

    @contextmanager
    def on(self, stream: str) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def recorded(self, _: object, *, stream: str, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.current = stream
        yield
        # As in PyTorch 2.11: the error of a recording comes before the stream is set back.
        raise RuntimeError("operation failed due to a previous error during capture")


def test_a_recording_that_fails_leaves_the_thread_on_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams, ran = Streams(), []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: streams.current)
    monkeypatch.setattr(torch.cuda, "stream", streams.on)
    monkeypatch.setattr(torch.cuda, "graph", streams.recorded)
    monkeypatch.setattr(graph, "_stream", lambda _: "to record on")

    def work(x: torch.Tensor) -> tuple[torch.Tensor]:
        ran.append(streams.current)
        return (x,)

    with pytest.raises(RuntimeError, match="during capture"):
        graph.Graph(work, (torch.zeros(1),))
    assert ran == ["its own", "to record on"]
    assert streams.current == "its own"
