"""The convolutions between images and features against float64 and the network's own layers."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sapnet_kernels import entry_conv as entry
from sapnet_kernels import output_conv as output
from sapnet_kernels.tile import Tile

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
CHECKS = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
SMALL = Tile(4, 16, warps=4)
SIZES = [(1, 1), (2, 35), (23, 5), (16, 32)]


def entry_arguments(
    size: tuple[int, int], device: torch.device, channels: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layer = nn.Conv2d(6, channels, 3)
    weight = entry.entry_weight(layer.weight.detach()).to(device, dtype)
    # What is rounded first is rounded in the reference too.
    image, estimate = torch.rand(2, 3, *size, device=device).to(dtype).float()
    return image, estimate, weight, torch.randn(channels, device=device)


def output_arguments(
    size: tuple[int, int], device: torch.device, channels: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layer = nn.Conv2d(channels, 3, 3)
    weight = output.output_weight(layer.weight.detach()).to(device, dtype)
    bias = output.output_weight(torch.randn(3, device=device))
    x = torch.rand(*size, channels, device=device).to(dtype)
    return x, weight, bias, torch.rand(3, *size, device=device)


def check_entry(given: tuple[Tensor, ...], tile: Tile, assert_near: AssertNear) -> None:
    image, estimate, weight, bias = given
    y = entry.launch(tile, image, estimate, weight, bias)
    wide = entry.entry_conv_reference(*(t.double() for t in (image, estimate, weight, bias)))
    assert_near(y, wide, weight.dtype)


def check_output(given: tuple[Tensor, ...], tile: Tile, assert_near: AssertNear) -> None:
    x, weight, bias, image = given
    y = output.launch(tile, x, weight, bias, image)
    wide = output.output_conv_reference(*(t.double() for t in (x, weight, bias, image)))
    assert_near(y, wide, torch.float32)


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("poisoned")
def test_any_size(
    size: tuple[int, int], descriptors: bool, device: torch.device, assert_near: AssertNear
) -> None:
    tile = replace(SMALL, descriptors=descriptors)
    check_entry(entry_arguments(size, device, 32, torch.float32), tile, assert_near)
    check_output(output_arguments(size, device, 32, torch.float32), tile, assert_near)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.usefixtures("poisoned")
def test_16_bit(
    channels: int, dtype: torch.dtype, device: torch.device, assert_near: AssertNear
) -> None:
    check_entry(entry_arguments((9, 18), device, channels, dtype), SMALL, assert_near)
    check_output(output_arguments((9, 18), device, channels, dtype), SMALL, assert_near)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.usefixtures("poisoned")
def test_every_tile(number: int, device: torch.device, assert_near: AssertNear) -> None:
    given = entry_arguments((17, 35), device, 32, torch.float32)
    check_entry(given, entry.TILES[number], assert_near)
    given = output_arguments((17, 35), device, 32, torch.float32)
    check_output(given, output.TILES[number], assert_near)


def test_weights_are_those_of_the_layers() -> None:
    first, last = nn.Conv2d(6, 32, 3, padding=1).double(), nn.Conv2d(32, 3, 3, padding=1).double()
    image, estimate = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    assert first.bias is not None and last.bias is not None
    with torch.no_grad():
        x = first(torch.cat((image, estimate))[None]).relu()
        expected = last(x)[0] + image
        weights = entry.entry_weight(first.weight), first.bias
        y = entry.entry_conv_reference(image, estimate, *weights)
        torch.testing.assert_close(y, x[0].permute(1, 2, 0))
        weights = output.output_weight(last.weight), output.output_weight(last.bias)
        torch.testing.assert_close(output.output_conv_reference(y, *weights, image), expected)


def test_custom_ops(device: torch.device) -> None:
    given = entry_arguments((5, 17), device, 32, torch.float16)
    torch.library.opcheck(entry.entry_conv, given, test_utils=CHECKS)
    given = output_arguments((5, 17), device, 32, torch.float16)
    torch.library.opcheck(output.output_conv, given, test_utils=CHECKS)


def test_other_strides_and_equal_bits(device: torch.device) -> None:
    image, estimate, weight, bias = entry_arguments((20, 33), device, 32, torch.float16)
    turned = image.transpose(1, 2).contiguous().transpose(1, 2)
    once = entry.entry_conv(image, estimate, weight, bias)
    assert torch.equal(once, entry.entry_conv(turned, estimate, weight, bias))
    x, weight, bias, image = output_arguments((20, 33), device, 32, torch.float16)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    once = output.output_conv(x, weight, bias, image)
    assert torch.equal(once, output.output_conv(turned, weight, bias, image))
