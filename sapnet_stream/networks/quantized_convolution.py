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


def largest_weight() -> int:
    """Whole number that the largest weight of a channel becomes.

    Without instructions for four products at once, two of them are added in 16 bits, and would be
    cut off there if they were larger.
    """
    able = torch.cpu.get_capabilities()
    return 127 if able.get("avx512_vnni") or able.get("avx_vnni") else 63


class QuantizedConvolution:
    """Rectified or not, with bytes as input; the weights are taken when it is made.

    Args:
        weight, bias: [O, I, 3, 3] and [O], float.
        unit: [I], what one step of each channel's bytes is worth.
        zero: the byte of 0.
        dilation: zero-padded, so that the size stays.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, unit: Tensor, *, zero: int = 0, dilation: int = 1
    ) -> None:
        weight = weight.double() * unit.double()[:, None, None]
        scale = weight.abs().amax((1, 2, 3)).clamp(min=1e-30) / largest_weight()
        self._weight = (weight / scale[:, None, None, None]).round().to(torch.int8)
        self._scale, self._bias = scale.float(), bias.to(torch.float32, copy=True)
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
