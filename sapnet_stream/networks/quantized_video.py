"""SAPNet for video in bytes: as `folded_video`, what lies between two convolutions in 8 bits.

Gates, cell state and output stay float32. For CPUs of the kind x86, whose instructions multiply
bytes two to four times as fast as 16 or 32 bits.

Shapes: C channels, H height, W width; h and w are half of them; channels last.
"""

import math

import torch
from torch import Tensor

from sapnet_stream.freed_blocks import keep_freed_blocks
from sapnet_stream.networks.activation_ranges import activation_ranges
from sapnet_stream.networks.blocks import ProgressiveDilatedUnit
from sapnet_stream.networks.folded_video import (
    cell,
    cell_strips,
    depth_to_space,
    entry_parameters,
    exit_parameters,
    gate_parameters,
    space_to_depth,
)
from sapnet_stream.networks.quantized_convolution import ZERO, QuantizedConvolution
from sapnet_stream.networks.sapnet_video import (
    SAPNetVideo,
    VideoState,
    look,
    next_frame,
)
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import Strips, TapMeans

CPU = torch.device("cpu")
PLANES = 16
"""Of frame, past and `seen`, see `folded_video.entry_input`."""
_LEVELS = 255
# Above ZERO and below it.
_HALF = 127
# Of a step where nothing was seen: never zero.
_LEAST_UNIT = 1e-6


class QuantizedVideo:
    """Runs a SAPNetVideo on a CPU; its pictures are the network's by eye and by score.

    In figures: `training/results/video.md`. The weights are taken when it is made. One serves one
    thread; videos each have a state, whose hidden state is int8.

    Args:
        network: whose function it is.

    Raises:
        WeightsError: its results are no numbers.
    """

    name = "quantized"

    def __init__(self, network: SAPNetVideo) -> None:
        keep_freed_blocks()
        self._channels = network.config.channels
        self._means: TapMeans | None = None
        self._size, self._strips = (0, 0), Strips(1, 1)
        ranges = activation_ranges(network)
        # Hidden states are below 1. What the units add to them is counted in the same steps, or
        # in twice, four times, ... as large ones: a shift of bits brings both together.
        self._shift = max(0, math.ceil(math.log2(max(1, ranges.refined * _HALF / _LEVELS))))
        hidden = torch.full((self._channels,), 1 / _HALF)
        self._refined_unit = 2**self._shift * hidden
        self._entry_unit = (ranges.entry / _HALF).clamp(min=_LEAST_UNIT)
        inner_units = [(inner / _LEVELS).clamp(min=_LEAST_UNIT) for inner in ranges.inner]
        with torch.no_grad():
            self._entry = QuantizedConvolution(
                *entry_parameters(network.conv0), _plane_units(), zero=ZERO
            )
            unit = torch.cat((self._entry_unit, hidden))
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

    @torch.no_grad()
    def __call__(self, frame: Tensor, state: VideoState) -> tuple[Tensor, VideoState]:
        """See `SAPNetVideo.forward`."""
        return next_frame(self.step, look(frame, state))

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNetVideo.step`; one frame, N = 1."""
        if self._size != h.shape[2:]:
            self._size = (h.shape[2], h.shape[3])
            self._strips = cell_strips(self._channels, *self._size)
            self._means = TapMeans(self._channels, *self._size, torch.float32, CPU)
        x = self._entry.bytes(_entry_bytes(frame, past, seen), self._entry_unit, zero=ZERO)
        h, c = self._remember(x, h, c)
        x = self._exit.floats(self._refine(h))
        return SAPNetVideo.output(frame, past, depth_to_space(x)), h, c

    def _remember(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The ConvLSTM, see `folded_video.cell`; the hidden state as int8."""
        x = torch.cat((x, _unsigned(h)), dim=1)
        gates = [gate.floats(x) for gate in self._gates]
        new_h, new_c = torch.empty_like(h), torch.empty_like(c)
        for start, stop in self._strips:
            rows = [gate[:, :, start:stop] for gate in gates]
            hidden = cell(rows, c[:, :, start:stop], new_c[:, :, start:stop])
            new_h[:, :, start:stop] = hidden.mul_(_HALF).round_()
        return new_h, new_c

    def _refine(self, h: Tensor) -> Tensor:
        """The progressive dilated units, [1, C, h, w] uint8."""
        first, *others = self._units
        y = self._unit(first, _unsigned(h), h)
        x = y.to(torch.int16).add_(h >> self._shift).clamp_(0, _LEVELS).to(torch.uint8)
        for unit in others:
            # The sum, or the largest byte.
            x = self._unit(unit, x, x).minimum(x.bitwise_not()).add_(x)
        return x

    def _unit(self, unit: "_Unit", x: Tensor, values: Tensor) -> Tensor:
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


def _plane_units() -> Tensor:
    """[64], what a step of each channel of `_entry_bytes` is worth."""
    units = torch.full((PLANES,), 1 / _LEVELS)
    units[-1] = 1 / _HALF
    # Two rows of pairs of pixels.
    return units.repeat_interleave(2).repeat(2)


def _entry_bytes(frame: Tensor, past: Tensor, seen: Tensor) -> Tensor:
    """`folded_video.entry_input` as bytes; differences to the past are cut off at half of white."""
    planes = torch.empty(PLANES, *frame.shape[2:], dtype=torch.uint8)
    values = torch.empty_like(frame[0])
    middle = torch.full((), ZERO + 0.5)
    torch.mul(frame[0], _LEVELS, out=values)
    planes[:3] = values.add_(0.5).clamp_(0, _LEVELS)
    for first in range(0, len(past[0]), 3):
        torch.add(middle, past[0, first : first + 3], alpha=_LEVELS, out=values)
        planes[3 + first : 6 + first] = values.clamp_(0, _LEVELS)
    torch.add(middle, seen[0, 0], alpha=_HALF, out=values[0])
    planes[-1] = values[0]
    return space_to_depth(planes)


def _unsigned(x: Tensor) -> Tensor:
    """The bytes, with `ZERO` for 0, of an int8 tensor."""
    return x.view(torch.uint8).bitwise_xor(ZERO)
