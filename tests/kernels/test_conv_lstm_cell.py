"""The ConvLSTM in one pass against float64, and against the networks' own update."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sapnet_kernels.conv_lstm_cell import (
    TILES,
    cell_weight,
    conv_lstm_cell,
    conv_lstm_cell_reference,
    launch,
)
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import runnable
from sapnet_stream.networks.blocks import conv_lstm_update

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
SMALL = Tile(64, warps=4, stages=1)


def arguments(
    height: int,
    width: int,
    device: torch.device,
    channels: int = 32,
    dtype: torch.dtype = torch.float32,
) -> Arguments:
    return (
        torch.rand(height, width, channels, device=device).to(dtype),
        torch.randn(height, width, channels, device=device).to(dtype),
        torch.randn(height, width, channels, device=device),
        (torch.randn(18, channels, 4 * channels, device=device) / 20).to(dtype),
        torch.randn(4 * channels, device=device),
    )


def check(given: Arguments, first: bool, assert_near: AssertNear, tile: Tile = SMALL) -> None:
    x, h, c, weight, bias = given
    old_h, old_c = (None, None) if first else (h, c)
    new_h, new_c, sums = launch(tile, x, old_h, old_c, weight, bias, 2)
    expected_h, expected_c, _ = conv_lstm_cell_reference(
        x.double(),
        None if first else h.double(),
        None if first else c.double(),
        weight.double(),
        bias.double(),
        2,
    )
    assert_near(new_h, expected_h, x.dtype)
    assert new_c.dtype == torch.float32
    # The cell state is never rounded to 16 bits.
    assert_near(new_c, expected_c, torch.float32)
    own = tap_sums_reference(new_h.double(), 2)
    assert_near(sums.double().sum(0, keepdim=True), own, torch.float32)


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 33), (19, 5)])
@pytest.mark.usefixtures("poisoned")
def test_any_size(
    size: tuple[int, int],
    first: bool,
    descriptors: bool,
    device: torch.device,
    assert_near: AssertNear,
) -> None:
    tile = replace(SMALL, descriptors=descriptors)
    check(arguments(*size, device), first, assert_near, tile)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.usefixtures("poisoned")
def test_16_bit(
    channels: int, dtype: torch.dtype, first: bool, device: torch.device, assert_near: AssertNear
) -> None:
    check(arguments(9, 18, device, channels, dtype), first, assert_near)


@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.usefixtures("poisoned")
def test_every_tile(channels: int, device: torch.device, assert_near: AssertNear) -> None:
    given = arguments(7, 150, device, channels, torch.float16)
    for tile in runnable(TILES[channels], given[0]):
        check(given, False, assert_near, tile)


def test_gates_are_those_of_the_networks(device: torch.device) -> None:
    gates = [torch.randn(3, 4, 32, dtype=torch.float64, device=device) for _ in range(4)]
    i, f, g, o = gates
    cell = torch.randn(3, 4, 32, dtype=torch.float64, device=device)
    expected = conv_lstm_update(i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), cell)
    bias = cell_weight(*(gate[0, 0] for gate in gates))
    x, weight = torch.zeros(1, 1, 32, device=device).double(), cell.new_zeros(18, 32, 128)
    h, c, _ = conv_lstm_cell_reference(x, x, cell[:1, :1], weight, bias, 1)
    torch.testing.assert_close((h[0, 0], c[0, 0]), (expected[0][0, 0], expected[1][0, 0]))


@pytest.mark.parametrize("channels", [32, 64])
def test_weights_are_those_of_the_layers(channels: int) -> None:
    layers = [nn.Conv2d(2 * channels, channels, 3, padding=1).double() for _ in range(4)]
    x, h, c = torch.rand(3, 4, 5, channels, dtype=torch.float64)
    with torch.no_grad():
        both = torch.cat((x, h), dim=2).permute(2, 0, 1)[None]
        i, f, g, o = (layer(both)[0].permute(1, 2, 0) for layer in layers)
        expected = conv_lstm_update(i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), c)
        weight = cell_weight(*(layer.weight for layer in layers))
        biases = [layer.bias for layer in layers if layer.bias is not None]
        new_h, new_c, _ = conv_lstm_cell_reference(x, h, c, weight, cell_weight(*biases), 1)
        torch.testing.assert_close((new_h, new_c), expected)


def test_extreme_gates_saturate(device: torch.device) -> None:
    x, h, c, weight, bias = arguments(2, 3, device)
    for size in (1e4, -1e4):
        new_h, new_c, _ = launch(SMALL, x, h, c, weight, torch.full_like(bias, size), 1)
        assert new_h.isfinite().all() and new_c.isfinite().all()


def test_other_strides_and_equal_bits(device: torch.device) -> None:
    x, h, c, weight, bias = arguments(20, 33, device)
    turned = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (x, h, c)]
    once = conv_lstm_cell(x, h, c, weight, bias, 1)
    again = conv_lstm_cell(turned[0], turned[1], turned[2], weight, bias, 1)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_custom_op(device: torch.device) -> None:
    given = arguments(5, 17, device, dtype=torch.float16)
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(conv_lstm_cell, (*given, 2), test_utils=checks)
    torch.library.opcheck(conv_lstm_cell, (given[0], None, None, *given[3:], 2), test_utils=checks)
