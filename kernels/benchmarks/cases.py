"""The ops on random data: how each is run, checked, and done without it.

Shapes: H height, W width, C channels, R of the attention's bottleneck; weights as the ops take
them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_kernels import conv_lstm_cell, fused_dilated_conv, output_conv
from sapnet_kernels.attention_scale import attention_scale
from sapnet_kernels.launches import Launch, image_launches, layer_launches
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_kernels.tile import Tile
from sapnet_kernels.tuning import chosen, runnable

DTYPE = torch.float16
DILATIONS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Case:
    """One op on one frame.

    Attributes:
        what: it does.
        channels: C.
        launch: the op on random data, by any of its tiles.
        reference: its results in float32 from the same 16-bit arguments, less the sums.
        baseline: the same by PyTorch's operators.
        sums: the dilation that the last result holds the sums for; 0 where there are none.
        whole: all that ours needs in the baseline's place, by a tile.
    """

    what: str
    channels: int
    launch: Launch
    reference: Callable[[], Sequence[Tensor]]
    baseline: Callable[[], object]
    sums: int
    whole: Callable[[Tile], object]


def cases(height: int, width: int, device: torch.device) -> Iterator[Callable[[], Case]]:
    """Every op that has tiles; made when it is called, as all together would not fit.

    Of 64 channels, which no network here has, a convolution alone.
    """
    size = (height, width, device)
    for dilation in DILATIONS:
        yield partial(convolution, *size, 32, dilation, with_residual=True)
        yield partial(convolution, *size, 32, dilation, with_residual=False)
    for make in (cell, entry, output):
        yield partial(make, *size, 32)
    for dilation in DILATIONS:
        yield partial(convolution, *size, 64, dilation, with_residual=True)


def convolution(
    height: int,
    width: int,
    device: torch.device,
    channels: int,
    dilation: int,
    *,
    with_residual: bool,
) -> Case:
    """A PDU's second convolution, or its first, by the tile chosen for the second."""
    x = torch.rand(height, width, channels, device=device).to(DTYPE)
    weight = _random(9, channels, channels, device=device) / 10
    bias = _random(channels, device=device).float()
    residual = torch.rand_like(x) if with_residual else None
    skip, squeeze, expand = _attention(channels, device)
    scale = torch.rand(channels, device=device)

    def run(tile: Tile) -> Sequence[Tensor]:
        given = x, weight, bias, scale, residual
        return fused_dilated_conv.launch(tile, *given, dilation, dilation, True)

    launch = _launch("fused_dilated_conv", x, channels, dilation, run)
    if residual is None:
        tile = chosen(launch.op, launch.tiles, x, channels, dilation)
        launch = replace(launch, tiles=[tile], bytes=launch.bytes - channels * DTYPE.itemsize)

    heads = torch.cat((skip, squeeze)).float()
    from_taps = heads @ weight.float().permute(2, 0, 1).flatten(1)
    scales = from_taps, heads @ bias, expand.float(), height * width
    # As many partials as the convolution before would leave.
    count = launch.tiles[0].programs(x)
    sums = (tap_sums_reference(x.float(), dilation) / count).repeat(count, 1, 1)

    def whole(tile: Tile) -> object:
        given = x, weight, bias, attention_scale(sums, *scales), residual
        return fused_dilated_conv.launch(tile, *given, dilation, dilation, True)

    def reference() -> Sequence[Tensor]:
        floats = x.float(), weight.float(), bias, scale
        plus = None if residual is None else residual.float()
        return fused_dilated_conv.fused_dilated_conv_reference(*floats, plus, dilation, 0)[:1]

    frame, kernel, narrow_bias = _frame(x), _kernel(weight), bias.to(DTYPE)
    plus = None if residual is None else _frame(residual)

    def baseline() -> object:
        y = F.conv2d(frame, kernel, narrow_bias, padding=dilation, dilation=dilation)
        pool = y.mean((2, 3))[0]
        s = torch.sigmoid(skip @ pool + expand @ (squeeze @ pool).relu())
        y = y.mul_(s[:, None, None]).relu_()
        return y if plus is None else y.add_(plus).relu_()

    what = "PDU convolution" + (" + residual" if with_residual else "")
    return Case(what, channels, launch, reference, baseline, dilation, whole)


def cell(height: int, width: int, device: torch.device, channels: int) -> Case:
    """The four gate convolutions and the update behind them."""
    x, h = (_random(height, width, channels, device=device) for _ in range(2))
    c = torch.randn(height, width, channels, device=device)
    weight = _random(18, channels, 4 * channels, device=device) / 20
    bias = _random(4 * channels, device=device).float()

    def run(tile: Tile) -> Sequence[Tensor]:
        return conv_lstm_cell.launch(tile, x, h, c, weight, bias, 1)

    def reference() -> Sequence[Tensor]:
        floats = x.float(), h.float(), c, weight.float(), bias
        return conv_lstm_cell.conv_lstm_cell_reference(*floats, 1)[:2]

    kernel, narrow_bias = _kernel(torch.cat(weight.chunk(2), dim=1)), bias.to(DTYPE)
    frame, hidden, old = _frame(x), _frame(h), _frame(c)

    def baseline() -> object:
        gates = F.conv2d(torch.cat((frame, hidden), dim=1), kernel, narrow_bias, padding=1)
        i, g, o, f = gates.chunk(4, dim=1)
        new = f.sigmoid() * old + i.sigmoid() * g.tanh()
        return (o.sigmoid() * new.tanh()).to(DTYPE), new

    launch = _launch("conv_lstm_cell", x, channels, 1, run)
    return Case("ConvLSTM cell", channels, launch, reference, baseline, 1, run)


def entry(height: int, width: int, device: torch.device, channels: int) -> Case:
    """Two images to C channels."""
    images = torch.rand(height, width, 6, device=device).to(DTYPE)
    pair = F.pad(images, (0, 10))
    weight, bias = _random(9, 6, channels, device=device) / 10, _random(channels, device=device)
    wide = F.pad(weight, (0, 0, 0, 10))

    def run(tile: Tile) -> Sequence[Tensor]:
        given = pair, wide, bias.float(), None, None
        return fused_dilated_conv.launch(tile, *given, 1, 0, True)[:1]

    def reference() -> Sequence[Tensor]:
        given = pair.float(), wide.float(), bias.float(), None, None
        return fused_dilated_conv.fused_dilated_conv_reference(*given, 1, 0)[:1]

    frame, kernel = _frame(images), _kernel(weight)

    def baseline() -> object:
        return F.conv2d(frame, kernel, bias, padding=1).relu_()

    launch = _launch("fused_dilated_conv", pair, channels, 1, run)
    return Case("first convolution", channels, launch, reference, baseline, 0, run)


def output(height: int, width: int, device: torch.device, channels: int) -> Case:
    """C channels to an image, plus the image."""
    x = torch.rand(height, width, channels, device=device).to(DTYPE)
    image = torch.rand(3, height, width, device=device)
    weight, bias = _random(9, channels, 3, device=device) / 10, _random(3, device=device)
    wide, wide_bias = F.pad(weight, (0, 13)), F.pad(bias.float(), (0, 13))

    def run(tile: Tile) -> Sequence[Tensor]:
        return (output_conv.launch(tile, x, wide, wide_bias, image),)

    def reference() -> Sequence[Tensor]:
        floats = x.float(), wide.float(), wide_bias
        return (output_conv.output_conv_reference(*floats, image),)

    frame, kernel = _frame(x), _kernel(weight)

    def baseline() -> object:
        return image + F.conv2d(frame, kernel, bias, padding=1)

    launch = _launch("output_conv", x, channels, 1, run)
    return Case("last convolution", channels, launch, reference, baseline, 0, run)


def _launch(
    op: str, x: Tensor, channels: int, dilation: int, run: Callable[[Tile], object]
) -> Launch:
    """The op's tiles that this device can run, its operations and bytes, with these data."""
    size, where = (x.shape[0], x.shape[1], channels), (torch.device("meta"), DTYPE)
    launches = [*layer_launches(*size, [dilation], *where), *image_launches(*size, *where)]
    same = (launch for launch in launches if launch.x.shape[2] == x.shape[2])
    launch = next(launch for launch in same if launch.op == op)
    return replace(launch, tiles=runnable(launch.tiles, x), x=x, run=run)


def _random(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, device=device).to(DTYPE)


def _attention(channels: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """K, A and B of a channel attention: [C, C], [R, C], [C, R]."""
    narrow = channels // 16
    shapes = (channels, channels), (narrow, channels), (channels, narrow)
    skip, squeeze, expand = (_random(*shape, device=device) / 10 for shape in shapes)
    return skip, squeeze, expand


def _kernel(weight: Tensor) -> Tensor:
    """[O, I, 3, 3], channels last, of [9, I, O]."""
    kernel = weight.view(3, 3, *weight.shape[1:]).permute(3, 2, 0, 1)
    return kernel.contiguous(memory_format=torch.channels_last)


def _frame(x: Tensor) -> Tensor:
    """[1, C, H, W], channels last, of [H, W, C]; the same memory."""
    return x.permute(2, 0, 1)[None]
