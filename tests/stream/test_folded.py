"""The folded executor is the network: every variant, size, strip height and dtype."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.networks import SAPNet, SAPNetConfig, load_network
from sapnet_stream.networks.folded import FoldedExecutor

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def seeded_network(config: SAPNetConfig | None = None) -> SAPNet:
    """A network whose attention scales and gates are far from constant."""
    torch.manual_seed(3)
    network = SAPNet(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.mul_(2)
    return network


def folded(
    network: SAPNet,
    dtype: torch.dtype = torch.float32,
    *,
    stages: int | None = None,
    strip_rows: int | None = None,
    memory_bytes: int | None = None,
) -> FoldedExecutor:
    return FoldedExecutor(
        network,
        device=CPU,
        dtype=dtype,
        stages=stages,
        memory_bytes=memory_bytes,
        strip_rows=strip_rows,
    )


def image(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (40, 1), (3, 2), (17, 33), (37, 50)])
@pytest.mark.parametrize("strip_rows", [None, 1, 7])
def test_equals_the_network_at_any_size(size: tuple[int, int], strip_rows: int | None) -> None:
    network, rainy = seeded_network(), image(*size)
    derained = folded(network, strip_rows=strip_rows)(rainy)
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        SAPNetConfig(dilations=(1, 1, 1, 1, 1)),
        SAPNetConfig(convolution="separable"),
        SAPNetConfig(convolution="split"),
        SAPNetConfig(channels=16, stages=3, dilations=(3, 1), reduction=8),
    ],
    ids=["no dilation", "separable", "split", "other numbers"],
)
def test_equals_every_variant(config: SAPNetConfig) -> None:
    network, rainy = seeded_network(config), image(21, 26)
    derained = folded(network, strip_rows=8)(rainy)
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stages", range(1, 7))
def test_equals_every_stage(stages: int) -> None:
    network, rainy = seeded_network(), image(19, 23)
    derained = folded(network, stages=stages, strip_rows=6)(rainy)
    torch.testing.assert_close(derained, network(rainy, stages), atol=1e-5, rtol=0)


def test_refuses_stages_the_network_does_not_have() -> None:
    with pytest.raises(UsageError, match="1 to 6"):
        folded(seeded_network(), stages=7)


def test_images_and_frame_sizes_do_not_mix() -> None:
    network = seeded_network()
    executor = folded(network)
    for rainy in (image(20, 30, 3), image(30, 20), image(20, 30), image(20, 30).flip(3)):
        torch.testing.assert_close(executor(rainy), network(rainy), atol=1e-5, rtol=0)


def test_takes_any_memory_layout_and_returns_a_tensor_to_write_to() -> None:
    network, rainy = seeded_network(), image(12, 15)
    turned = rainy.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    derained = folded(network)(turned)
    assert derained.is_contiguous() and derained.dtype == torch.float32
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)
    derained.clamp_(0, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("crop", ["synthetic", "real"])
def test_reduced_precision_cannot_be_told_apart(
    data_dir: Path, dtype: torch.dtype, crop: str
) -> None:
    network = load_network(data_dir / "weights" / "sapnet" / "sapnet_2021_11.pth")
    golden = np.load(data_dir / "golden" / "sapnet_2021_11_golden.npz")
    rainy = torch.from_numpy(golden[f"{crop}_input_uint8"]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        difference = folded(network, dtype)(rainy) - network(rainy)
    assert difference.abs().mean() <= 2e-3
    assert -10 * difference.square().mean().log10() >= 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("content", ["black", "white", "noise"])
def test_no_frame_gives_nan(dtype: torch.dtype, content: str) -> None:
    rainy = image(40, 56)
    if content != "noise":
        rainy = torch.full_like(rainy, float(content == "white"))
    network = seeded_network()
    derained = folded(network, dtype)(rainy)
    assert derained.isfinite().all()
    assert (derained - network(rainy)).abs().mean() < 2e-2


def test_refuses_a_frame_that_does_not_fit_and_names_the_bytes() -> None:
    executor = folded(seeded_network(), memory_bytes=5_000_000_000)
    executor.check_memory(2160, 3840)
    with pytest.raises(TooLargeError, match=r"7680x4320 frame needs (\d{11}) bytes"):
        executor.check_memory(4320, 7680)


def test_little_memory_means_lower_strips_and_the_same_result() -> None:
    network, rainy = seeded_network(), image(120, 160)
    executor = folded(network, memory_bytes=14_000_000)
    torch.testing.assert_close(executor(rainy), network(rainy), atol=1e-5, rtol=0)
    with pytest.raises(TooLargeError):
        folded(network, memory_bytes=13_000_000)(rainy)


# Not ru_maxrss, which begins with the peak of the process that started this one.
PEAK = r"""
import re
from pathlib import Path
import torch
from sapnet_stream.networks import SAPNet
from sapnet_stream.networks.folded import FoldedExecutor

torch.set_num_threads(1)
executor = FoldedExecutor(
    SAPNet(), device=torch.device("cpu"), dtype=torch.float32, stages=2, memory_bytes={allowed}
)
executor(torch.rand(1, 3, 64, 64))
status = Path("/proc/self/status")
before = int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1])
executor(torch.rand(1, 3, 480, 1280))
print((int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) - before) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_stays_within_the_memory_it_was_allowed() -> None:
    allowed = 380_000_000
    script = PEAK.format(allowed=allowed)
    peak = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert 0.9 * allowed < int(peak.stdout) <= allowed
