"""The network is the published one: same keys, same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sapnet_stream.errors import UsageError
from sapnet_stream.networks import SAPNet, SAPNetConfig, load_network
from sapnet_stream.networks.blocks import ChannelConv

GOLDEN = Path(__file__).parent / "sapnet_seeded_golden.npz"
ABLATIONS = [
    SAPNetConfig(dilations=(1, 1, 1, 1, 1)),
    SAPNetConfig(convolution="separable"),
    SAPNetConfig(convolution="split"),
]


def seeded_network() -> SAPNet:
    """Weights from a formula, so that no random generator's version matters.

    Small enough that six stages neither vanish nor saturate.
    """
    network = SAPNet().eval()
    with torch.no_grad():
        for number, value in enumerate(network.state_dict().values()):
            index = torch.arange(value.numel(), dtype=torch.float64)
            fan_in = max(1, value[0].numel())
            wave = torch.sin(12.9898 * (index + 1) + 78.233 * number) / fan_in**0.5
            value.copy_(wave.reshape(value.shape))
    return network


def as_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def test_seeded_golden_within_1e_5() -> None:
    golden = np.load(GOLDEN)
    stages = seeded_network().forward_all(as_image(golden["input_uint8"]))
    for stage, expected in zip(stages, golden["stages_float32"], strict=True):
        assert np.abs(stage[0].numpy() - expected).max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("crop", ["synthetic", "real"])
def test_published_golden_within_1e_5(data_dir: Path, crop: str) -> None:
    golden = np.load(data_dir / "golden" / "sapnet_2021_11_golden.npz")
    network = load_network(data_dir / "weights" / "sapnet" / "sapnet_2021_11.pth")
    stages = network.forward_all(as_image(golden[f"{crop}_input_uint8"]))
    for stage, expected in zip(stages, golden[f"{crop}_stages_float32"], strict=True):
        assert np.abs(stage[0].numpy() - expected).max() <= 1e-5


def test_parameter_count_is_the_published_one() -> None:
    assert sum(p.numel() for p in SAPNet().parameters()) == 180_483


@torch.no_grad()
def test_fewer_stages_are_the_first_of_all() -> None:
    network, image = seeded_network(), torch.rand(1, 3, 20, 33)
    every = network.forward_all(image)
    assert len(every) == 6
    for count in range(1, 7):
        assert torch.equal(network(image, stages=count), every[count - 1])


@pytest.mark.parametrize("stages", [0, 7, -1])
def test_stages_outside_the_network_are_refused(stages: int) -> None:
    with pytest.raises(UsageError, match="1 to 6"):
        SAPNet()(torch.rand(1, 3, 8, 8), stages=stages)


def test_another_channel_count_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(1, 4, 8, 8\)"):
        SAPNet()(torch.rand(1, 4, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (17, 19)])
def test_any_size(size: tuple[int, int]) -> None:
    out = seeded_network()(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert out.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("config", ABLATIONS)
def test_ablations_run_and_their_dense_form_is_equal(config: SAPNetConfig) -> None:
    network = SAPNet(config).double().eval()
    assert network(torch.rand(1, 3, 12, 9, dtype=torch.float64)).shape == (1, 3, 12, 9)
    for unit, dilation in zip(network.units, config.dilations, strict=True):
        x = torch.rand(1, 32, 9, 11, dtype=torch.float64)
        conv = unit[0]
        assert isinstance(conv, ChannelConv)
        weight, bias = conv.dense()
        dense = torch.nn.functional.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
        assert (dense - conv(x)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"channels": 8}, "channels"),
        ({"channels": 32.0}, "channels, reduction and dilations must be whole numbers"),
        ({"reduction": 0}, "reduction must be 1 or more"),
        ({"reduction": -1}, "reduction must be 1 or more"),
        ({"stages": 0}, "stages"),
        ({"stages": 1.5}, "stages"),
        ({"dilations": ()}, "dilations"),
        ({"dilations": (1.5,)}, "dilations must be whole numbers"),
        ({"dilations": (10**12,)}, "dilations must be 1 to 256"),
        ({"convolution": "winograd"}, "winograd"),
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, object], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        SAPNetConfig(**wrong)  # type: ignore[arg-type]
