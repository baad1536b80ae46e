"""The video network in bytes shows what the network as written shows."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sapnet_stream import cli
from sapnet_stream.errors import UsageError, WeightsError
from sapnet_stream.networks import executor
from sapnet_stream.networks.activation_ranges import HEADROOM, activation_ranges
from sapnet_stream.networks.quantized_video import QuantizedVideo
from sapnet_stream.networks.sapnet_video import SAPNetVideo, SAPNetVideoConfig, look, next_frame
from sapnet_stream.networks.weights import load_video_network

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture
def network() -> SAPNetVideo:
    return load_video_network().requires_grad_(False)


def clip(frames: int, height: int, width: int) -> Tensor:
    """[T, 1, 3, H, W]: a scene with edges that glides under bright drops."""
    generator = torch.Generator().manual_seed(0)
    wide = width + 2 * frames
    coarse = torch.rand(1, 3, 10, 16, generator=generator)
    scene = torch.nn.functional.interpolate(coarse, (height, wide), mode="nearest")
    drops = 0.4 * (torch.rand(frames, 1, 1, height, width, generator=generator) > 0.98)
    views = torch.stack([scene[:, :, :, 2 * t : 2 * t + width] for t in range(frames)])
    return (0.8 * views + drops).clamp(0, 1)


def decibels(network: SAPNetVideo, quantized: QuantizedVideo, frames: Tensor) -> list[float]:
    """Of each frame by the one to that by the other, both having seen those before."""
    states = [one.initial(*frames.shape[3:]) for one in (network, quantized)]
    found = []
    for frame in frames:
        want, states[0] = network(frame, states[0])
        got, states[1] = next_frame(quantized.step, look(frame, states[1]))
        assert got.shape == want.shape and got.dtype == torch.float32
        error = (got.clamp(0, 1) - want.clamp(0, 1)).square().mean().clamp(min=1e-12)
        found.append(float(-10 * torch.log10(error)))
    return found


# A single pixel may change by more than what differences to the past are cut off at.
@pytest.mark.parametrize(
    ("size", "least"), [((1, 1), 25), ((2, 3), 40), ((33, 50), 48), ((96, 131), 48)]
)
def test_pictures_stay_the_same(network: SAPNetVideo, size: tuple[int, int], least: float) -> None:
    found = decibels(network, QuantizedVideo(network, dtype=torch.float32), clip(8, *size))
    assert min(found) > least and sum(found) / len(found) > 50, found


def test_a_size_follows_another(network: SAPNetVideo) -> None:
    quantized = QuantizedVideo(network, dtype=torch.float32)
    for size in ((40, 64), (64, 40)):
        assert min(decibels(network, quantized, clip(2, *size))) > 40


def test_the_weights_are_taken_when_it_is_made(network: SAPNetVideo) -> None:
    (frame,) = clip(1, 20, 30)
    quantized = QuantizedVideo(network, dtype=torch.float32)
    before, _ = next_frame(quantized.step, look(frame, quantized.initial(20, 30)))
    for parameter in network.parameters():
        parameter.zero_()
    after, _ = next_frame(quantized.step, look(frame, quantized.initial(20, 30)))
    assert torch.equal(before, after)


def test_weights_of_more_precision_are_taken_too(network: SAPNetVideo) -> None:
    frames = clip(2, 20, 30)
    quantized = QuantizedVideo(copy.deepcopy(network).double(), dtype=torch.float32)
    assert min(decibels(network, quantized, frames)) > 45


def test_units_that_add_much_are_counted_in_larger_steps() -> None:
    torch.manual_seed(3)
    network = SAPNetVideo(SAPNetVideoConfig(dilations=(1, 2))).eval().requires_grad_(False)
    for pdu in network.pdus:
        for position in (0, 3):
            pdu[position].get_parameter("bias").fill_(3)
    ranges = activation_ranges(network)
    assert ranges.refined > 4
    assert (
        min(decibels(network, QuantizedVideo(network, dtype=torch.float32), clip(3, 32, 48))) > 35
    )


def test_what_is_always_zero_needs_no_range() -> None:
    network = SAPNetVideo(SAPNetVideoConfig(dilations=(1,))).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    assert (
        min(decibels(network, QuantizedVideo(network, dtype=torch.float32), clip(2, 16, 24))) > 100
    )


def test_weights_that_are_no_numbers_are_refused(network: SAPNetVideo) -> None:
    network.gates.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(WeightsError, match="its weights are damaged"):
        QuantizedVideo(network, dtype=torch.float32)


def test_ranges_hold_what_another_clip_brings_about(network: SAPNetVideo) -> None:
    ranges = activation_ranges(network)
    largest: list[float] = []
    for pdu in network.pdus:
        pdu.register_forward_hook(lambda _, __, result: largest.append(float(result.max())))
    state = network.initial(64, 80)
    for frame in clip(5, 64, 80):
        _, state = network(frame, state)
    assert ranges.refined / HEADROOM / 3 < max(largest) < ranges.refined
    assert all((inner > 0).any() and inner.isfinite().all() for inner in ranges.inner)
    assert not any(pdu[2]._forward_hooks for pdu in network.pdus)


@pytest.mark.parametrize(
    ("capabilities", "of_videos", "of_images"),
    [
        ({"avx2": True}, torch.int8, torch.float32),
        ({"avx2": True, "avx512_bf16": True}, torch.bfloat16, torch.bfloat16),
        ({"avx": True}, torch.float32, torch.float32),
    ],
)
def test_bytes_where_the_cpu_has_nothing_better(
    capabilities: dict[str, bool],
    of_videos: torch.dtype,
    of_images: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert executor.default_dtype(CPU, video=True) == of_videos
    assert executor.default_dtype(CPU) == of_images


def test_the_program_derains_by_it(
    make_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip("in.mp4", "libx264", "yuv420p", (48, 32), range(4))
    assert cli.main([str(source), str(tmp_path / "out.mp4"), "--dtype", "int8"]) == 0
    assert "SAPNetVideo, int8 on cpu (quantized)" in capsys.readouterr().err


def test_it_is_for_videos(
    make_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip("in.mp4", "libx264", "yuv420p", (48, 32), range(4))
    wanted = ["--dtype", "int8", "--model", "sapnet"]
    assert cli.main([str(source), str(tmp_path / "out.mp4"), *wanted]) == 2
    said = capsys.readouterr().err
    assert "--dtype int8 is for --model video: leave it out, or ask" in said
    assert said.count("\n") == 1


def test_it_is_for_cpus_that_can(network: SAPNetVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(device: str) -> None:
        where = torch.device(device)
        given = {"stages": None, "memory_bytes": None}
        executor.choose_executor(network, device=where, dtype=torch.int8, **given)

    with pytest.raises(UsageError, match="--dtype int8 is for CPUs"):
        choose("cuda")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": False})
    with pytest.raises(UsageError, match="needs a CPU of the kind x86 with AVX2"):
        choose("cpu")
