"""A 3x3 convolution of bytes, as processors multiply them fastest.

The weights are rounded to whole numbers, output channel by output channel; so a factor per output
channel, as the channel attention's, touches no weight. oneDNN computes it, by the operators that
`torch.compile` calls for quantized networks.

Shapes: I and O channels, H height, W width; channels last.
"""

import torch
from torch import Tensor

ZERO = 128
"""The byte of 0 where values may be negative."""
LARGEST = 63
"""What the largest weight of a channel becomes.

Processors without instructions for four products at once add two of bytes and weights in 16 bits,
where 127 would be cut off.
"""


def has_bytes() -> bool:
    """Whether this CPU, and PyTorch as built for it, multiply bytes fast."""
    able = torch.cpu.get_capabilities().get("avx2", False)
    return bool(able) and hasattr(torch.ops.onednn, "qconv2d_pointwise")


class QuantizedConvolution:
    """Rectified or not, with bytes as input, on a CPU; the weights are taken when it is made.

    Args:
        weight, bias: [O, I, 3, 3] and [O], float.
        unit: [I], what one step of each channel's bytes is worth.
        zero: the byte of 0.
        dilation: zero-padded, so that the size stays.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, unit: Tensor, *, zero: int = 0, dilation: int = 1
    ) -> None:
        weight = weight.to("cpu", torch.float64) * unit[:, None, None]
        scale = weight.abs().amax((1, 2, 3)).clamp(min=1e-30) / LARGEST
        self._weight = _whole(weight / scale[:, None, None, None])
        self._scale, self._bias = scale.float(), bias.to("cpu", torch.float32, copy=True)
        self._zero, self._zeros = zero, torch.zeros(len(bias), dtype=torch.int32)
        # Stride, padding, dilation, groups.
        self._shape_of_it = [1, 1], [dilation] * 2, [dilation] * 2, 1
        self._packed: tuple[torch.Size, Tensor] | None = None

    def bytes(
        self, x: Tensor, unit: Tensor, *, zero: int = 0, factor: Tensor | None = None
    ) -> Tensor:
        """The rectified result, [1, O, H, W] uint8; what does not fit is cut off.

        Args:
            x: [1, I, H, W] uint8.
            unit: [O] or [], what one step of the result's bytes is worth.
            zero: the result's byte of 0.
            factor: [O], of the result before it is rectified.
        """
        per_step = 1 / unit if factor is None else factor / unit
        return self._run(x, per_step, zero, torch.uint8, "relu")

    def floats(self, x: Tensor) -> Tensor:
        """The result, [1, O, H, W] float32, of [1, I, H, W] uint8."""
        return self._run(x, torch.ones(()), 0, torch.float32, "none")

    def _run(
        self, x: Tensor, per_step: Tensor, zero: int, dtype: torch.dtype, after: str
    ) -> Tensor:
        scale, bias = self._scale * per_step, self._bias * per_step
        given = x, 1.0, self._zero, self._pack(x.shape), scale, self._zeros, bias
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *given, *self._shape_of_it, 1.0, zero, dtype, after, [], ""
        )
        return result

    def _pack(self, shape: torch.Size) -> Tensor:
        """The weights as the computation wants them for a size."""
        if self._packed is None or self._packed[0] != shape:
            given = self._weight, self._scale, 1.0, self._zero
            packed = torch.ops.onednn.qconv_prepack(*given, *self._shape_of_it, list(shape))
            self._packed = shape, packed
        return self._packed[1]


def _whole(weight: Tensor) -> Tensor:
    """Whole numbers [O, I, 3, 3] int8; those of a kernel have the sum of its weights, rounded.

    Where a picture is smooth, errors of the nine taps would add up. So the ones nearest to a half
    become the neighbour on the other side of them.
    """
    weight = weight.flatten(2)
    whole = weight.round()
    lacking = weight.sum(2, keepdim=True).round() - whole.sum(2, keepdim=True)
    # Place of each tap among those of its kernel, the one that would be changed first at 0.
    place = ((whole - weight) * lacking.sign()).argsort(2).argsort(2)
    whole += torch.where(place < lacking.abs(), lacking.sign(), 0.0)
    return whole.clamp(-LARGEST, LARGEST).view(*weight.shape[:2], 3, 3).to(torch.int8)
