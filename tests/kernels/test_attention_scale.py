"""The scale that is known before its convolution, against the attention that follows one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sapnet_kernels.attention_scale import attention_scale, attention_scale_reference
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_stream.networks.blocks import ChannelResidualAttention, ProgressiveDilatedUnit
from sapnet_stream.networks.scaled_convolution import ScaledConvolution

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]


def arguments(
    partials: int, channels: int, squeezed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.rand(partials, 9, channels, device=device),
        torch.randn(channels + squeezed, 9 * channels, device=device) / 100,
        torch.randn(channels + squeezed, device=device),
        torch.randn(channels, squeezed, device=device),
    )


@pytest.mark.parametrize("partials", [1, 3, 64, 201])
@pytest.mark.parametrize(("channels", "squeezed"), [(32, 2), (64, 4), (32, 3), (32, 1)])
@pytest.mark.usefixtures("poisoned")
def test_reference(
    partials: int, channels: int, squeezed: int, device: torch.device, assert_near: AssertNear
) -> None:
    given = arguments(partials, channels, squeezed, device)
    sums, heads, heads_bias, expand = (tensor.double() for tensor in given)
    expected = attention_scale_reference(sums, heads, heads_bias, expand, partials)
    scale = attention_scale(*given, partials)
    assert_near(scale, expected, torch.float32)
    assert torch.equal(scale, attention_scale(*given, partials))


@pytest.mark.parametrize("dilation", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [(1, 1), (7, 40), (33, 34)])
def test_equals_the_attention_after_the_convolution(
    dilation: int, size: tuple[int, int], device: torch.device
) -> None:
    unit = ProgressiveDilatedUnit(32, dilation, 16, "full").double().to(device)
    attention = unit[1]
    assert isinstance(attention, ChannelResidualAttention)
    x = torch.randn(1, 32, *size, dtype=torch.float64, device=device)
    expected = attention.scale(unit[0](x).mean((2, 3), keepdim=True)).flatten()

    known = ScaledConvolution(unit, 0, device, torch.float32)
    sums = tap_sums_reference(x[0].permute(1, 2, 0), dilation).float()
    scale = attention_scale(sums, known.heads, known.heads_bias, known.expand, x[0, 0].numel())
    torch.testing.assert_close(scale.double(), expected, atol=1e-6, rtol=0)


def test_strides_and_custom_op(device: torch.device) -> None:
    given = arguments(5, 32, 2, device)
    turned = [
        t.transpose(-1, -2).contiguous().transpose(-1, -2) if t.dim() > 1 else t for t in given
    ]
    assert torch.equal(attention_scale(*given, 5), attention_scale(*turned, 5))
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(attention_scale, (*given, 5), test_utils=checks)
