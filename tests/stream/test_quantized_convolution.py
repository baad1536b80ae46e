"""A convolution of bytes is the one of floats, where bytes can hold it."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sapnet_stream.networks import quantized_convolution
from sapnet_stream.networks.quantized_convolution import LARGEST, ZERO, QuantizedConvolution

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS = 32


def whole_weight(largest: int, seed: int = 0) -> Tensor:
    """Whole numbers, the largest of each output channel `largest`: rounding changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-3, 4, (CHANNELS, CHANNELS, 3, 3), generator=generator).float()
    weight[:, 0, 1, 1] = largest
    return weight


def some_bytes(height: int, width: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (1, CHANNELS, height, width), generator=generator)
    return x.to(torch.uint8).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (19, 33)])
@pytest.mark.parametrize("dilation", [1, 16])
@pytest.mark.parametrize("zero", [0, ZERO])
def test_it_is_exact_where_nothing_is_rounded(
    size: tuple[int, int], dilation: int, zero: int
) -> None:
    weight, bias = whole_weight(LARGEST), torch.arange(CHANNELS).float()
    unit = torch.full((CHANNELS,), 0.5)
    conv = QuantizedConvolution(weight, bias, unit, zero=zero, dilation=dilation)
    for seed in (1, 2):
        x = some_bytes(*size, seed)
        # Beyond the border there is 0, whatever its byte.
        given = (x.float() - zero) * 0.5
        want = functional.conv2d(given, weight, bias, padding=dilation, dilation=dilation)
        torch.testing.assert_close(conv.floats(x), want, rtol=1e-6, atol=1e-3)
        assert conv.floats(x).is_contiguous(memory_format=torch.channels_last)


def test_bytes_are_rectified_scaled_rounded_and_cut_off() -> None:
    weight, bias = whole_weight(LARGEST), torch.zeros(CHANNELS)
    conv = QuantizedConvolution(weight, bias + 7, torch.ones(CHANNELS), zero=ZERO)
    x = some_bytes(12, 20)
    factor = torch.linspace(0.1, 0.9, CHANNELS)
    unit = torch.linspace(8, 30, CHANNELS)
    values = functional.conv2d(x.float() - ZERO, weight, bias + 7, padding=1).relu()
    steps = values * (factor / unit)[:, None, None]
    for zero, top in ((0, 255), (ZERO, 127)):
        result = conv.bytes(x, unit, zero=zero, factor=factor)
        assert result.dtype == torch.uint8
        assert (steps > top + 1).any() and (steps == 0).any()
        # A half may become either neighbour.
        assert ((result.float() - zero) - steps.clamp(max=top)).abs().max() <= 0.501


def test_other_sizes_follow_each_other() -> None:
    weight, bias = whole_weight(LARGEST), torch.zeros(CHANNELS)
    conv = QuantizedConvolution(weight, bias, torch.ones(CHANNELS))
    for size in ((8, 16), (30, 7), (8, 16)):
        x = some_bytes(*size)
        want = functional.conv2d(x.float(), weight, bias, padding=1)
        torch.testing.assert_close(conv.floats(x), want, rtol=1e-6, atol=1e-3)


def test_a_smooth_picture_stays_as_it_is() -> None:
    """The sum of a kernel's nine rounded weights is off by half a step, not by half of each."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator)
    conv = QuantizedConvolution(weight, torch.zeros(CHANNELS), torch.ones(CHANNELS))
    step = weight.abs().amax((1, 2, 3)) / LARGEST
    for channel in range(CHANNELS):
        x = torch.zeros(1, CHANNELS, 3, 3, dtype=torch.uint8)
        x[:, channel] = 1
        result = conv.floats(x.contiguous(memory_format=torch.channels_last))[0, :, 1, 1]
        error = (result - weight[:, channel].sum((1, 2))).abs()
        assert (error <= 0.501 * step).all()


def test_nothing_is_cut_off_between_on_older_processors() -> None:
    """Theirs add two products in 16 bits: the largest of all must fit."""
    code = f"""
import torch
from {quantized_convolution.__name__} import QuantizedConvolution
for sign in (1, -1):
    weight = torch.full((32, 32, 3, 3), float(sign))
    conv = QuantizedConvolution(weight, torch.zeros(32), torch.ones(32))
    x = torch.full((1, 32, 9, 40), 255, dtype=torch.uint8)
    middle = conv.floats(x.contiguous(memory_format=torch.channels_last))[:, :, 1:-1, 1:-1]
    print((middle - sign * 9 * 32 * 255).abs().max().item() < 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]
