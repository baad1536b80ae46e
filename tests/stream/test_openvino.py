"""The graph inside OpenVINO is the network, where that package is installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.networks import SAPNetConfig, load_network

pytest.importorskip("openvino", reason="needs pip install sapnet-stream[openvino]")

from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.openvino import OpenVINOExecutor
from tests.stream.test_folded import seeded_network

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 33), (37, 50)])
def test_equals_the_network_at_any_size(size: tuple[int, int]) -> None:
    network, rainy = seeded_network(), torch.rand(1, 3, *size)
    derained = OpenVINOExecutor(network, dtype=torch.float32)(rainy)
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        SAPNetConfig(convolution="separable"),
        SAPNetConfig(convolution="split"),
        SAPNetConfig(channels=16, stages=3, dilations=(3, 1), reduction=8),
    ],
    ids=["separable", "split", "other numbers"],
)
def test_equals_every_variant(config: SAPNetConfig) -> None:
    network, rainy = seeded_network(config), torch.rand(1, 3, 21, 26)
    derained = OpenVINOExecutor(network, dtype=torch.float32)(rainy)
    torch.testing.assert_close(derained, network(rainy), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stages", [1, 4])
def test_equals_every_stage(stages: int) -> None:
    network, rainy = seeded_network(), torch.rand(1, 3, 19, 23)
    derained = OpenVINOExecutor(network, dtype=torch.float32, stages=stages)(rainy)
    torch.testing.assert_close(derained, network(rainy, stages), atol=1e-5, rtol=0)


def test_refuses_stages_the_network_does_not_have() -> None:
    with pytest.raises(UsageError, match="1 to 6"):
        OpenVINOExecutor(seeded_network(), dtype=torch.float32, stages=0)


def test_results_are_kept_apart_over_frames_sizes_and_layouts() -> None:
    network = seeded_network()
    executor = OpenVINOExecutor(network, dtype=torch.float32)
    rainy = [torch.rand(3, 3, 20, 30), torch.rand(1, 3, 20, 30), torch.rand(1, 3, 30, 20)]
    rainy.append(rainy[0].transpose(2, 3))
    derained = [executor(each) for each in rainy]
    for dry, each in zip(derained, rainy, strict=True):
        torch.testing.assert_close(dry, network(each), atol=1e-5, rtol=0)
        dry.clamp_(0, 1)


def test_bfloat16_cannot_be_told_apart(data_dir: Path) -> None:
    network = load_network(data_dir / "weights" / "sapnet" / "sapnet_2021_11.pth")
    golden = np.load(data_dir / "golden" / "sapnet_2021_11_golden.npz")
    rainy = torch.from_numpy(golden["real_input_uint8"]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        difference = OpenVINOExecutor(network, dtype=torch.bfloat16)(rainy) - network(rainy)
    assert difference.abs().mean() <= 2e-3
    assert -10 * difference.square().mean().log10() >= 50


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_frames_give_no_nan(level: float) -> None:
    rainy = torch.full((1, 3, 24, 24), level)
    assert OpenVINOExecutor(seeded_network(), dtype=torch.bfloat16)(rainy).isfinite().all()


def test_a_frame_too_large_for_the_runtime_goes_in_strips() -> None:
    network, rainy = seeded_network(), torch.rand(1, 3, 120, 160)
    cpu, allowed = torch.device("cpu"), 14_000_000
    executor = OpenVINOExecutor(network, dtype=torch.float32, memory_bytes=allowed)
    strips = FoldedExecutor(network, device=cpu, dtype=torch.float32, memory_bytes=allowed)
    runtime = OpenVINOExecutor(network, dtype=torch.float32)
    executor.check_memory(120, 160)
    # Each rounds its own way.
    assert not strips(rainy).equal(runtime(rainy))
    assert executor(rainy).equal(strips(rainy))
    torch.testing.assert_close(executor(rainy), network(rainy), atol=1e-5, rtol=0)
    small = rainy[:, :, :20, :20]
    assert executor(small).equal(runtime(small))
    assert executor(rainy).equal(strips(rainy))


@pytest.mark.parametrize(("dtype", "codes"), [(torch.float32, 1), (torch.bfloat16, 2)])
def test_strips_differ_by_rounding_alone(data_dir: Path, dtype: torch.dtype, codes: int) -> None:
    golden = np.load(data_dir / "golden" / "sapnet_2021_11_golden.npz")
    rainy = golden["real_input_uint8"]
    allowed = rainy.shape[0] * rainy.shape[1] * 32 * 10 * dtype.itemsize - 1
    engines = [DerainEngine(dtype=dtype, device="cpu", memory_bytes=m) for m in (None, allowed)]
    whole, strips = (engine.image(rainy).astype(int) for engine in engines)
    assert abs(whole - strips).max() <= codes
    assert ((whole - strips) ** 2).mean() <= 255**2 * 10**-5
    assert dtype == torch.float32 or (whole != strips).any()


def test_refuses_a_frame_that_does_not_fit_and_names_the_bytes() -> None:
    executor = OpenVINOExecutor(seeded_network(), dtype=torch.float32, memory_bytes=13_000_000)
    with pytest.raises(TooLargeError, match=r"160x120 frame needs \d+ bytes"):
        executor.check_memory(120, 160)
    with pytest.raises(TooLargeError, match=r"160x120 frame needs \d+ bytes"):
        executor(torch.rand(1, 3, 120, 160))


def test_openvino_calls_nobody() -> None:
    code = (
        "import sys, sapnet_stream.networks.openvino\n"
        "assert 'openvino' in sys.modules and not sys.modules['openvino_telemetry']\n"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
