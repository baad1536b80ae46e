"""The fused convolution against float64: all dilations, borders, odd sizes, small frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from sapnet_kernels.fused_dilated_conv import (
    fused_dilated_conv,
    fused_dilated_conv_reference,
    launch,
    tiles,
)
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import runnable

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
SMALL = Tile(64, warps=4, stages=1)


@dataclass(frozen=True)
class Inputs:
    """What one convolution takes."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    residual: Tensor | None

    def double(self) -> "Inputs":
        return replace(
            self, **{name: t.double() for name, t in vars(self).items() if t is not None}
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        return self.x, self.weight, self.bias, self.scale, self.residual


def inputs(
    height: int,
    width: int,
    device: torch.device,
    channels: tuple[int, int] = (32, 32),
    dtype: torch.dtype = torch.float32,
) -> Inputs:
    # Not centred, as behind a ReLU: sums that cancel would say nothing.
    return Inputs(
        torch.rand(height, width, channels[0], device=device).to(dtype),
        (torch.randn(9, *channels, device=device) / 10).to(dtype),
        torch.randn(channels[1], device=device),
        torch.rand(channels[1], device=device),
        torch.randn(height, width, channels[1], device=device).to(dtype),
    )


def check(
    given: Inputs,
    dilation: int,
    next_dilation: int,
    assert_near: AssertNear,
    tile: Tile = SMALL,
    relu: bool = True,
) -> None:
    y, sums = launch(tile, *given.tensors(), dilation, next_dilation, relu)
    expected, expected_sums = fused_dilated_conv_reference(
        *given.double().tensors(), dilation, next_dilation, relu
    )
    assert_near(y, expected, given.x.dtype)
    assert sums.shape[1:] == expected_sums.shape[1:] and sums.dtype == torch.float32
    if next_dilation:
        # Of what is stored, rounded; only the additions may differ.
        own = tap_sums_reference(y.double(), next_dilation)
        assert_near(sums.double().sum(0, keepdim=True), own, torch.float32)


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("dilation", [1, 2, 4, 8, 16])
@pytest.mark.usefixtures("poisoned")
def test_every_dilation(
    dilation: int, descriptors: bool, device: torch.device, assert_near: AssertNear
) -> None:
    tile = replace(SMALL, descriptors=descriptors)
    check(inputs(37, 35, device), dilation, 2 * dilation, assert_near, tile)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (29, 3), (5, 17), (16, 32)])
@pytest.mark.usefixtures("poisoned")
def test_frames_smaller_than_the_dilation(
    size: tuple[int, int], device: torch.device, assert_near: AssertNear
) -> None:
    check(inputs(*size, device), 16, 8, assert_near)
    check(inputs(*size, device), 2, 16, assert_near)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [(32, 32), (64, 64), (64, 32), (32, 64), (16, 32), (32, 16)])
@pytest.mark.usefixtures("poisoned")
def test_16_bit(
    channels: tuple[int, int], dtype: torch.dtype, device: torch.device, assert_near: AssertNear
) -> None:
    check(inputs(19, 21, device, channels, dtype), 4, 8, assert_near)


@pytest.mark.parametrize("channels", [(32, 32), (64, 64), (64, 32), (32, 16)])
@pytest.mark.usefixtures("poisoned")
def test_every_tile(
    channels: tuple[int, int], device: torch.device, assert_near: AssertNear
) -> None:
    given = inputs(33, 47, device, channels, torch.float16)
    for tile in runnable(tiles(*channels), given.x):
        check(given, 2, 2, assert_near, tile)


@pytest.mark.usefixtures("poisoned")
def test_every_part_can_be_left_out(device: torch.device, assert_near: AssertNear) -> None:
    given = inputs(9, 18, device)
    check(replace(given, scale=None), 1, 1, assert_near)
    check(replace(given, residual=None), 1, 1, assert_near)
    check(replace(given, residual=None), 1, 0, assert_near, relu=False)
    check(given, 1, 1, assert_near, relu=False)


def test_other_strides(device: torch.device, assert_near: AssertNear) -> None:
    given = inputs(12, 20, device)
    planes = given.x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not planes.is_contiguous()
    given = replace(given, x=planes[1:, 2:], residual=planes[1:, 2:])
    every_second = torch.rand(64, device=device)[::2]
    check(replace(given, bias=every_second, scale=every_second), 2, 4, assert_near)


@pytest.mark.usefixtures("poisoned")
def test_equal_inputs_give_equal_bits(device: torch.device) -> None:
    given = inputs(40, 33, device, dtype=torch.float16)
    first, again = (fused_dilated_conv(*given.tensors(), 2, 4) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


def test_beyond_the_frame_nothing_counts(device: torch.device) -> None:
    """Not even the infinity that a pixel there would have, which sees no input at all."""
    given = inputs(3, 5, device, dtype=torch.float16)
    x, weight = torch.ones_like(given.x), torch.full_like(given.weight, -7500 / 32)
    given = Inputs(x, weight, torch.full_like(given.bias, 7e4), None, None)
    y, sums = launch(SMALL, *given.tensors(), 1, 1, True)
    assert y.isfinite().all() and sums.isfinite().all()


def test_custom_op(device: torch.device) -> None:
    given = inputs(9, 17, device, dtype=torch.float16)
    arguments = (*given.tensors(), 2, 4, True)
    torch.library.opcheck(fused_dilated_conv, arguments, test_utils=OPCHECKS)


OPCHECKS = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
