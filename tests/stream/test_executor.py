"""The choice of an executor, and what every one of them must do."""

import importlib.util

import pytest
import torch

from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.networks import SAPNet
from sapnet_stream.networks.executor import Executor, choose_executor, default_dtype

CPU = torch.device("cpu")


def chosen(
    network: SAPNet,
    dtype: torch.dtype | None = torch.float32,
    stages: int | None = None,
    memory_bytes: int | None = None,
) -> Executor:
    return choose_executor(
        network, device=CPU, dtype=dtype, stages=stages, memory_bytes=memory_bytes
    )


@pytest.fixture
def network() -> SAPNet:
    torch.manual_seed(1)
    return SAPNet().eval().requires_grad_(False)


@pytest.fixture(params=["openvino", "folded"])
def executor_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each executor in turn, the other made impossible."""
    name: str = request.param
    if name == "openvino":
        pytest.importorskip("openvino", reason="needs pip install sapnet-stream[openvino]")
    else:
        hide_openvino(monkeypatch)
    return name


def hide_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )


def test_the_fastest_that_is_installed_runs(network: SAPNet, executor_name: str) -> None:
    executor, rainy = chosen(network), torch.rand(2, 3, 9, 14)
    assert executor.name == executor_name
    torch.testing.assert_close(executor(rainy), network(rainy), atol=1e-5, rtol=0)


def test_stages_reach_the_executor(network: SAPNet, executor_name: str) -> None:
    rainy = torch.rand(1, 3, 9, 14)
    executor = chosen(network, stages=2)
    assert executor.name == executor_name
    torch.testing.assert_close(executor(rainy), network(rainy, 2), atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match="1 to 6"):
        chosen(network, stages=7)


def test_memory_reaches_the_executor(network: SAPNet, executor_name: str) -> None:
    executor = chosen(network, memory_bytes=100_000_000)
    assert executor.name == executor_name
    executor.check_memory(100, 100)
    with pytest.raises(TooLargeError, match="1920x1080 frame needs"):
        executor.check_memory(1080, 1920)


def test_a_dtype_the_runtime_lacks_is_folded(network: SAPNet) -> None:
    assert chosen(network, torch.float16).name == "folded"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert default_dtype(CPU) == expected


def test_float16_on_cuda_and_float32_on_what_is_unknown() -> None:
    assert default_dtype(torch.device("cuda")) == torch.float16
    assert default_dtype(torch.device("mps")) == torch.float32
