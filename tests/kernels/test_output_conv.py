"""The last convolution against float64 and the network's own layer."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sapnet_kernels.output_conv import (
    TILES,
    launch,
    output_conv,
    output_conv_reference,
    output_weight,
)
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import runnable

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
Arguments = tuple[Tensor, Tensor, Tensor, Tensor]
SMALL = Tile(64, warps=4, stages=1)


def arguments(
    size: tuple[int, int],
    device: torch.device,
    channels: int = 32,
    dtype: torch.dtype = torch.float32,
) -> Arguments:
    layer = nn.Conv2d(channels, 3, 3)
    weight = output_weight(layer.weight.detach()).to(device, dtype)
    bias = output_weight(torch.randn(3, device=device))
    x = torch.rand(*size, channels, device=device).to(dtype)
    return x, weight, bias, torch.rand(3, *size, device=device)


def check(given: Arguments, assert_near: AssertNear, tile: Tile = SMALL) -> None:
    y = launch(tile, *given)
    x, weight, bias, image = (tensor.double() for tensor in given)
    assert_near(y, output_conv_reference(x, weight, bias, image), torch.float32)


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 35), (23, 5), (16, 32)])
@pytest.mark.usefixtures("poisoned")
def test_any_size(
    size: tuple[int, int], descriptors: bool, device: torch.device, assert_near: AssertNear
) -> None:
    check(arguments(size, device), assert_near, replace(SMALL, descriptors=descriptors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.usefixtures("poisoned")
def test_16_bit(
    channels: int, dtype: torch.dtype, device: torch.device, assert_near: AssertNear
) -> None:
    check(arguments((9, 18), device, channels, dtype), assert_near)


@pytest.mark.usefixtures("poisoned")
def test_every_tile(device: torch.device, assert_near: AssertNear) -> None:
    given = arguments((17, 35), device, dtype=torch.float16)
    for tile in runnable(TILES, given[0]):
        check(given, assert_near, tile)


def test_weights_are_those_of_the_layer() -> None:
    layer = nn.Conv2d(32, 3, 3, padding=1).double()
    x, image = torch.rand(32, 7, 9).double(), torch.rand(3, 7, 9).double()
    assert layer.bias is not None
    with torch.no_grad():
        expected = layer(x[None])[0] + image
        weights = output_weight(layer.weight), output_weight(layer.bias)
        y = output_conv_reference(x.permute(1, 2, 0), *weights, image)
    torch.testing.assert_close(y, expected)


def test_custom_op(device: torch.device) -> None:
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    given = arguments((5, 17), device, dtype=torch.float16)
    torch.library.opcheck(output_conv, given, test_utils=checks)


def test_other_strides_and_equal_bits(device: torch.device) -> None:
    x, weight, bias, image = arguments((20, 33), device, dtype=torch.float16)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    once = output_conv(x, weight, bias, image)
    assert torch.equal(once, output_conv(turned, weight, bias, image))
