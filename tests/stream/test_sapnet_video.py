"""The video network: shapes, state, cuts, and that its folded form is the same function."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_stream.networks import SAPNet, save_network
from sapnet_stream.networks.folded_video import FoldedVideo
from sapnet_stream.networks.sapnet_video import (
    SAPNetVideo,
    SAPNetVideoConfig,
    VideoState,
    half_shift,
    look,
    next_frame,
    shifted,
)
from sapnet_stream.networks.weights import load_network, load_video_network, tensors_sha256

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture
def network() -> SAPNetVideo:
    torch.manual_seed(3)
    network = SAPNetVideo().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.mul_(1.5)
    return network


def clip(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """[T, 1, 3, H, W]: a smooth scene that glides under noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    scene = torch.nn.functional.interpolate(coarse, (height, width + 3 * frames), mode="bicubic")
    noise = 0.2 * (torch.rand(frames, 1, 3, height, width, generator=generator) > 0.97)
    views = torch.stack([scene[:, :, :, 3 * t : 3 * t + width] for t in range(frames)])
    return (views + noise).clamp(0, 1)


def run(network: SAPNetVideo | FoldedVideo, frames: Tensor) -> list[Tensor]:
    state: VideoState | None = None
    outputs = []
    for frame in frames:
        state = state or network.initial(frame.shape[2], frame.shape[3])
        output, state = next_frame(network.step, look(frame, state))
        outputs.append(output)
    return outputs


def test_the_loop_of_its_docstring_runs() -> None:
    network = SAPNetVideo()
    state = network.initial(20, 24)
    for frame in clip(3, 20, 24):
        derained, state = network(frame, state)
        assert not derained.requires_grad


def test_it_costs_a_twenty_first_of_the_paper_s_network(network: SAPNetVideo) -> None:
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    per_pixel = sum(m.weight.numel() for m in convolutions if m.kernel_size == (3, 3)) / 4
    assert per_pixel == pytest.approx(47_880, abs=10)
    assert sum(p.numel() for p in network.parameters()) == 203_548


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 50), (70, 131)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folded_is_the_same_function(
    network: SAPNetVideo, size: tuple[int, int], dtype: torch.dtype
) -> None:
    frames = clip(5, *size)
    folded = run(FoldedVideo(network, device=CPU, dtype=dtype), frames)
    for output, want in zip(folded, run(network, frames), strict=True):
        assert output.shape == want.shape == (1, 3, *size)
        assert output.dtype == torch.float32
        tolerance = 1e-5 if dtype == torch.float32 else 5e-2
        assert (output - want).abs().max() < tolerance


def test_the_weights_are_taken_when_it_is_made(network: SAPNetVideo) -> None:
    frames = clip(2, 20, 30)
    folded = FoldedVideo(network, device=CPU, dtype=torch.float32)
    before = run(folded, frames)
    for parameter in network.parameters():
        parameter.zero_()
    assert all(torch.equal(a, b) for a, b in zip(run(folded, frames), before, strict=True))


def test_the_past_changes_the_output_and_a_cut_forgets_it(network: SAPNetVideo) -> None:
    first, second = clip(4, 64, 96), clip(1, 64, 96, seed=9)
    alone = run(network, second)[0]
    after_a_cut = run(network, torch.cat((first, second)))[-1]
    assert torch.equal(after_a_cut, alone)
    assert not torch.equal(run(network, first)[-1], run(network, first[-1:])[0])


def test_videos_do_not_see_each_other(network: SAPNetVideo) -> None:
    one, other = clip(3, 32, 48), clip(3, 32, 48, seed=4)
    states = [network.initial(32, 48) for _ in range(2)]
    outputs: list[list[Tensor]] = [[], []]
    for pair in zip(one, other, strict=True):
        for number, frame in enumerate(pair):
            output, states[number] = network(frame, states[number])
            outputs[number].append(output)
    for got, frames in zip(outputs, (one, other), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, run(network, frames), strict=True))


def test_states_move_with_the_camera() -> None:
    assert half_shift((0.0, 0.0), (3.1, -4.0)) == (2, -2)
    assert sum(half_shift((0.9 * t, 0.0), (0.9 * t + 0.9, 0.0))[0] for t in range(20)) == 9
    state = torch.arange(12.0).view(1, 1, 3, 4)
    moved = shifted(state, (1, -1))
    assert torch.equal(moved[0, 0, :2, 1:], state[0, 0, 1:, :3])
    assert not moved[0, 0, 2].any()
    assert not moved[0, 0, :, 0].any()
    assert not shifted(state, (0, 9)).any()


def test_weights_come_back_and_are_not_taken_for_the_paper_s(
    network: SAPNetVideo, tmp_path: Path
) -> None:
    path = tmp_path / "video.safetensors"
    digest = save_network(path, network, {"data": "noise"})
    loaded = load_video_network(path)
    assert loaded.config == network.config
    assert digest == tensors_sha256(loaded.state_dict())
    with pytest.raises(WeightsError, match="holds SAPNetVideo, not SAPNet"):
        load_network(path)
    save_network(path, SAPNet(), {})
    with pytest.raises(WeightsError, match="holds SAPNet, not SAPNetVideo"):
        load_video_network(path)


@pytest.mark.parametrize("wrong", [{"channels": 8}, {"channels": 33}, {"dilations": (1, 0)}])
def test_a_wrong_configuration_is_a_mistake(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SAPNetVideoConfig(**wrong)  # type: ignore[arg-type]
