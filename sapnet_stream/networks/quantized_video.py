"""SAPNet for video in bytes: as `folded_video`, what lies between two convolutions in 8 bits.

The first convolution, gates, cell state and output stay floats. For CPUs of the kind x86, whose
instructions multiply bytes faster than 16 or 32 bits.

Shapes: C channels, H height, W width; h and w are half of them; channels last.
"""

import math

import torch
from torch import Tensor

from sapnet_stream.networks.activation_ranges import activation_ranges
from sapnet_stream.networks.blocks import ProgressiveDilatedUnit
from sapnet_stream.networks.folded_video import (
    FoldedVideo,
    cell,
    cell_strips,
    depth_to_space,
    exit_parameters,
    gate_parameters,
)
from sapnet_stream.networks.quantized_convolution import ZERO, QuantizedConvolution
from sapnet_stream.networks.sapnet_video import SAPNetVideo, VideoState
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import Strips, TapMeans

CPU = torch.device("cpu")
MOST_CUT = 0.01
"""Share of the first convolution's results that may be too large for bytes, and are cut off; more
are where light is switched on or off, or much moves."""
_LEVELS = 255
# Above ZERO and below it.
_HALF = 127
# Of a channel's range, in that of its layer's largest one: what was never seen may yet come.
_LEAST_SHARE = 0.1


class QuantizedVideo:
    """Runs a SAPNetVideo on a CPU; its pictures are the network's by eye and by score.

    In figures: `training/results/video.md`. A frame that bytes cannot hold runs in `dtype`. The
    weights are taken when it is made. One serves one thread; videos each have a state, whose
    hidden state is int8.

    Args:
        network: whose function it is.
        dtype: of the first convolution.

    Raises:
        WeightsError: its results are no numbers.
    """

    name = "quantized"

    def __init__(self, network: SAPNetVideo, *, dtype: torch.dtype) -> None:
        self._channels, self._dtype = network.config.channels, dtype
        self._means: TapMeans | None = None
        self._size, self._strips = (0, 0), Strips(1, 1)
        self._folded = FoldedVideo(network, device=CPU, dtype=dtype)
        ranges = activation_ranges(network)
        # Hidden states are below 1. What the units add to them is counted in the same steps, or
        # in twice, four times, ... as large ones: a shift of bits brings both together.
        self._shift = max(0, math.ceil(math.log2(max(1, ranges.refined * _HALF / _LEVELS))))
        hidden = torch.full((self._channels,), 1 / _HALF)
        self._refined_unit = 2**self._shift * hidden
        entry_unit = _unit(ranges.entry, _HALF)
        self._entry_steps = 1 / entry_unit[:, None, None]
        inner_units = [_unit(inner, _LEVELS) for inner in ranges.inner]
        with torch.no_grad():
            unit = torch.cat((entry_unit, hidden))
            self._gates = [
                QuantizedConvolution(*gate, unit, zero=ZERO)
                for gate in gate_parameters(network.gates)
            ]
            units = [hidden, *[self._refined_unit] * (len(network.pdus) - 1)]
            zeros = [ZERO, *[0] * (len(network.pdus) - 1)]
            self._units = [
                _Unit(*given) for given in zip(network.pdus, units, zeros, inner_units, strict=True)
            ]
            self._exit = QuantizedConvolution(*exit_parameters(network.conv), self._refined_unit)

    def initial(self, height: int, width: int) -> VideoState:
        """See `SAPNetVideo.initial`."""
        return VideoState.empty(self._channels, height, width, CPU, torch.int8)

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNetVideo.step`; one frame, N = 1."""
        if self._size != h.shape[2:]:
            self._size = (h.shape[2], h.shape[3])
            self._strips = cell_strips(self._channels, *self._size)
            self._means = TapMeans(self._channels, *self._size, torch.float32, CPU)
        x = self._folded.entry(frame, past, seen)
        joined, cut = self._joined(x, h)
        if cut > MOST_CUT:
            output, h, c = self._folded.behind(x, frame, past, h.to(self._dtype).div_(_HALF), c)
            return output, h.float().mul_(_HALF).round_().to(torch.int8), c
        h, c = self._remember(joined, c)
        x = self._exit.floats(self._refine(h))
        return SAPNetVideo.output(frame, past, depth_to_space(x)), h, c

    def _joined(self, x: Tensor, h: Tensor) -> tuple[Tensor, float]:
        """The gates' input, [1, 2 C, h, w] uint8, and which share of `x` is cut off there."""
        shape = (1, 2 * self._channels, *self._size)
        joined = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        joined[:, self._channels :] = _unsigned(h)
        cut = 0
        for start, stop in self._strips:
            steps = x[:, :, start:stop] * self._entry_steps
            cut += int(torch.count_nonzero(steps > _HALF + 0.5))
            joined[:, : self._channels, start:stop] = steps.add_(ZERO + 0.5).clamp_(max=_LEVELS)
        return joined, cut / x.numel()

    def _remember(self, joined: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The ConvLSTM, see `folded_video.cell`; the hidden state as int8."""
        gates = [gate.floats(joined) for gate in self._gates]
        new_h, new_c = torch.empty_like(c, dtype=torch.int8), torch.empty_like(c)
        for start, stop in self._strips:
            rows = [gate[:, :, start:stop] for gate in gates]
            hidden = cell(rows, c[:, :, start:stop], new_c[:, :, start:stop])
            new_h[:, :, start:stop] = hidden.mul_(_HALF).round_()
        return new_h, new_c

    def _refine(self, h: Tensor) -> Tensor:
        """The progressive dilated units, [1, C, h, w] uint8."""
        first, *others = self._units
        y = self._added(first, _unsigned(h), h)
        # To the nearest.
        steps = h.to(torch.int16).add_(2**self._shift // 2).bitwise_right_shift_(self._shift)
        x = steps.add_(y).clamp_(0, _LEVELS).to(torch.uint8)
        for unit in others:
            x = _sum(self._added(unit, x, x), x)
        return x

    def _added(self, unit: "_Unit", x: Tensor, values: Tensor) -> Tensor:
        """What a unit adds to its input `x`, whose numbers are `values`."""
        y = unit.first(x, self._taps(values, unit.dilation), unit.inner_unit)
        return unit.second(y, self._taps(y, unit.dilation), self._refined_unit)

    def _taps(self, values: Tensor, dilation: int) -> Tensor:
        """What each tap of a convolution sees of `values` in the mean; see `TapMeans`."""
        assert self._means is not None
        for start, stop in self._strips:
            # What is summed is float32 for a moment.
            self._means.add(values[:, :, start:stop], start, stop)
        return self._means.means(values, dilation)


class _Unit:
    """A PDU.

    Args:
        pdu: whose function it is.
        unit: [C], what a step of its input's bytes is worth.
        zero: its input's byte of 0.
        inner_unit: [C], what a step of the bytes between its convolutions is worth.
    """

    def __init__(
        self, pdu: ProgressiveDilatedUnit, unit: Tensor, zero: int, inner_unit: Tensor
    ) -> None:
        self.dilation = pdu.dilation
        self.first = _Attended(ScaledConvolution(pdu, 0, CPU, torch.float32), unit, zero)
        self.second = _Attended(ScaledConvolution(pdu, 3, CPU, torch.float32), inner_unit, 0)
        self.inner_unit = inner_unit


class _Attended:
    """A PDU's convolution and the channel attention after it, from bytes to bytes.

    Args:
        conv: whose function it is.
        unit: [C], what a step of its input's bytes is worth.
        zero: its input's byte of 0.
    """

    def __init__(self, conv: ScaledConvolution, unit: Tensor, zero: int) -> None:
        self._attention, self._unit = conv, unit
        given = conv.weight, conv.bias, unit
        self._conv = QuantizedConvolution(*given, zero=zero, dilation=conv.dilation)

    def __call__(self, x: Tensor, taps: Tensor, unit: Tensor) -> Tensor:
        """The rectified result, a step of which is worth `unit`; `taps` [9 C] count steps."""
        taps = (taps.view(-1, len(self._unit)) * self._unit).flatten()
        return self._conv.bytes(x, unit, factor=self._attention.scale(taps))


def _unit(largest: Tensor, levels: int) -> Tensor:
    """What a step is worth in each channel, [C], of `levels` steps up to its largest value."""
    least = _LEAST_SHARE * largest.max().clamp(min=1e-6)
    return largest.clamp(min=least) / levels


def _unsigned(x: Tensor) -> Tensor:
    """The bytes, with `ZERO` for 0, of an int8 tensor."""
    return x.view(torch.uint8).bitwise_xor(ZERO)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Of bytes, or the largest byte where that is less."""
    return a.minimum(b.bitwise_not()).add_(b)
