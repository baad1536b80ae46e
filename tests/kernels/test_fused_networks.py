"""The networks assembled from the ops, against the networks as written."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from sapnet_kernels import launches, tuning
from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.networks import SAPNet, fused_video
from sapnet_stream.networks.executor import choose_executor
from sapnet_stream.networks.fused import FusedExecutor
from sapnet_stream.networks.fused_video import FusedVideo
from sapnet_stream.networks.graph import Graph
from sapnet_stream.networks.sapnet import SAPNetConfig
from sapnet_stream.networks.sapnet_video import SAPNetVideo, SAPNetVideoConfig, look, next_frame

# Of full scale; in 16 bits as the folded executor, whose activations are as wide.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
# Interpreted, every unit takes its time; the whole networks run once each.
NEAR_AND_FAR = SAPNetConfig(dilations=(1, 16))


@pytest.fixture(autouse=True)
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests run every tile of an op; to time them here, all would be compiled first."""
    monkeypatch.setattr(launches, "tune", lambda *_: None)


def seeded(config: SAPNetConfig | None = None) -> SAPNet:
    network = SAPNet(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        # Fresh weights barely change an image.
        parameter.mul_(1.5)
    return network


def fused(network: SAPNet, device: torch.device, **options: int) -> FusedExecutor:
    return FusedExecutor(network, device=device, dtype=torch.float32, **options)


def wide_dtype(device: torch.device) -> torch.dtype:
    """A GPU's compiler takes half a minute for a kernel of 64 channels in float32."""
    return torch.float16 if device.type == "cuda" else torch.float32


@pytest.mark.usefixtures("poisoned")
def test_all_stages(device: torch.device) -> None:
    network, rainy = seeded(), torch.rand(1, 3, 9, 14)
    derained = fused(network, device)(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 37), (19, 12)])
def test_any_size(size: tuple[int, int], device: torch.device) -> None:
    network, rainy = seeded(NEAR_AND_FAR), torch.rand(1, 3, *size)
    derained = fused(network, device, stages=2)(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit(dtype: torch.dtype, device: torch.device) -> None:
    network, rainy = seeded(NEAR_AND_FAR), torch.rand(1, 3, 8, 30)
    executor = FusedExecutor(network, device=device, dtype=dtype, stages=2)
    derained = executor(rainy.to(device)).cpu()
    assert derained.dtype == torch.float32
    torch.testing.assert_close(derained, network(rainy, 2), atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        SAPNetConfig(channels=64, dilations=(1, 4)),
        SAPNetConfig(convolution="separable", dilations=(2, 1)),
        SAPNetConfig(convolution="split", dilations=(1, 1)),
    ],
)
def test_variants(config: SAPNetConfig, device: torch.device) -> None:
    network, rainy = seeded(config), torch.rand(1, 3, 11, 18)
    dtype = torch.float32 if config.channels == 32 else wide_dtype(device)
    executor = FusedExecutor(network, device=device, dtype=dtype, stages=2)
    derained = executor(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy, 2), atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white(level: float, device: torch.device) -> None:
    network, rainy = seeded(NEAR_AND_FAR), torch.full((1, 3, 5, 9), level)
    executor = FusedExecutor(network, device=device, dtype=torch.float16, stages=2)
    derained = executor(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy, 2), atol=1e-2, rtol=0)


def test_each_image_of_a_batch_by_itself(device: torch.device) -> None:
    network, rainy = seeded(NEAR_AND_FAR), torch.rand(2, 3, 8, 10)
    derained = fused(network, device, stages=1)(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy, 1), atol=1e-5, rtol=0)
    derained.add_(1)


def test_the_weights_are_taken_when_it_is_made(device: torch.device) -> None:
    network, rainy = seeded(NEAR_AND_FAR).to(device), torch.rand(1, 3, 6, 9, device=device)
    executor = fused(network, device, stages=1)
    before = executor(rainy)
    for parameter in network.parameters():
        parameter.zero_()
    assert torch.equal(executor(rainy), before)


def test_what_does_not_fit_goes_in_strips(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What cuDNN takes for float32 unless it is told.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network, rainy = seeded(SAPNetConfig(dilations=(1, 2))), torch.rand(1, 3, 64, 48)
    executor = fused(network, device, stages=1, memory_bytes=2_600_000)
    executor.check_memory(64, 48)
    derained = executor(rainy.to(device)).cpu()
    torch.testing.assert_close(derained, network(rainy, 1), atol=1e-5, rtol=0)
    with pytest.raises(TooLargeError, match="1920x1080 frame needs"):
        executor.check_memory(1080, 1920)
    with pytest.raises(UsageError, match="1 to 6"):
        fused(network, device, stages=7)


def video(network: SAPNetVideo | FusedVideo, frames: Tensor) -> list[Tensor]:
    state = network.initial(frames.shape[3], frames.shape[4])
    outputs = []
    for frame in frames:
        output, state = next_frame(network.step, look(frame, state))
        outputs.append(output.cpu())
    return outputs


@pytest.mark.parametrize(
    ("size", "dtype", "dilations"),
    [
        ((1, 1), torch.float32, (4, 8)),
        ((17, 35), torch.float32, (1, 2, 4, 8, 16)),
        ((16, 20), torch.float16, (1, 16)),
    ],
)
def test_video(
    size: tuple[int, int], dtype: torch.dtype, dilations: tuple[int, ...], device: torch.device
) -> None:
    network = SAPNetVideo(SAPNetVideoConfig(dilations=dilations)).eval().requires_grad_(False)
    frames = torch.rand(1, 1, 3, *size) + torch.rand(2, 1, 3, *size) / 10
    frames = frames.clamp(0, 1)
    wanted = video(network, frames)
    derained = video(FusedVideo(network, device=device, dtype=dtype), frames.to(device))
    for output, want in zip(derained, wanted, strict=True):
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, want, atol=TOLERANCES[dtype], rtol=0)


def test_wide_video(device: torch.device) -> None:
    config = SAPNetVideoConfig(channels=64, dilations=(1, 2))
    network = SAPNetVideo(config).eval().requires_grad_(False)
    frames = torch.rand(1, 1, 3, 10, 12)
    dtype = wide_dtype(device)
    output = video(FusedVideo(network, device=device, dtype=dtype), frames.to(device))
    torch.testing.assert_close(output[0], video(network, frames)[0], atol=TOLERANCES[dtype], rtol=0)


class Replayed(Graph):
    """Stands in for a graph: copies what comes in, and writes to the same memory every time."""

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]
    ) -> None:
        self._function, self._inputs = function, tuple(tensor.clone() for tensor in inputs)
        self._outputs = function(*inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        for kept, made in zip(self._outputs, self._function(*self._inputs), strict=True):
            kept.copy_(made)
        return self._outputs

    @property
    def shapes(self) -> list[torch.Size]:
        return [tensor.shape for tensor in self._inputs]


def test_a_step_is_recorded_without_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SAPNetVideo(SAPNetVideoConfig(dilations=(2,))).eval().requires_grad_(False)
    plain, recorded = (
        FusedVideo(network, device=torch.device("cpu"), dtype=torch.float32) for _ in range(2)
    )
    monkeypatch.setattr(fused_video, "Graph", Replayed)
    given = [[torch.rand(1, planes, 2, 2) for planes in (3, 12, 1)] for _ in range(3)]
    state = plain.initial(2, 2)
    results: list[tuple[Tensor, ...]] = [(state.h, state.c)]
    wanted: list[tuple[Tensor, ...]] = [(state.h, state.c)]
    for frame, past, seen in given:
        wanted.append(plain.step(frame, past, seen, *wanted[-1][-2:]))
        results.append(recorded.step(frame, past, seen, *results[-1][-2:]))
        # A GPU would be asked for tiles before the first step.
        monkeypatch.setattr(recorded, "_device", SimpleNamespace(type="cuda"))
    # None is overwritten by a later step.
    for result, want in zip(results, wanted, strict=True):
        assert all(torch.equal(*pair) for pair in zip(result, want, strict=True))
    graph = recorded._graph
    assert isinstance(graph, Replayed) and graph.shapes == [(1, 1, 32), (1, 9, 32)]


def test_convolutions_that_run_are_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without data: the ops tell shapes, for which they look for a tile."""
    asked, key = set(), tuning.key

    def recorded(op: str, x: Tensor, channels: int, dilation: int) -> str:
        asked.add(key(op, x, channels, dilation))
        return key(op, x, channels, dilation)

    monkeypatch.setattr(tuning, "key", recorded)
    device, half = torch.device("meta"), torch.float16
    image = FusedExecutor(seeded(NEAR_AND_FAR), device=device, dtype=half, memory_bytes=2**30)
    image(torch.rand(1, 3, 8, 10, device=device))
    memory = SAPNetVideo(SAPNetVideoConfig(dilations=(2,)))
    stream = FusedVideo(memory, device=device, dtype=half)
    frame, past, seen = (torch.rand(1, n, 16, 20, device=device) for n in (3, 12, 1))
    state = stream.initial(16, 20)
    stream.step(frame, past, seen, state.h, state.c)
    where = 8, 10, 32
    tuned = {
        key(launch.op, launch.x, launch.channels, launch.dilation)
        for launch in (
            *launches.layer_launches(*where, [1, 2, 16], device, half),
            *launches.image_launches(*where, device, half),
            *launches.video_launches(*where, device, half),
        )
        if launch.op != "output_conv"
    }
    assert asked == tuned


@pytest.mark.usefixtures("needs_cuda")
def test_recorded_frames_are_the_same(device: torch.device) -> None:
    network, rainy = seeded().to(device), torch.rand(3, 1, 3, 70, 90, device=device)
    executor = choose_executor(
        network, device=device, dtype=torch.float16, stages=None, memory_bytes=None
    )
    assert executor.name == "fused"
    for frame in rainy:
        torch.testing.assert_close(executor(frame), network(frame), atol=1e-2, rtol=0)
