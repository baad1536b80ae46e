"""SAPNet rearranged for speed and small memory; the same function, exactly.

The derivations stand in `kernels/README.md`. In short: the channel attention's scale is known
before its convolution runs (`TapSums`), so it is folded into that convolution's weights and
costs no pass over the frame; the four gates are one convolution; the first stage leaves out
what a zero state contributes; and each layer runs in strips that stay in cache.

Shapes: C channels, H height, W width; one frame at a time, [1, C, H, W], channels last.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sapnet_stream.networks.blocks import ChannelConv, ChannelResidualAttention
from sapnet_stream.networks.memory import available_bytes, too_large
from sapnet_stream.networks.sapnet import SAPNet, checked_stages
from sapnet_stream.networks.strips import Strips, TapSums, conv_rows, rectify

# Bytes of one 32-channel strip: two or three of them and a convolution's weights share a
# core's level-2 cache. Taller strips spill, shorter ones pay more calls.
_STRIP_BYTES = 2_600_000


class Convolution:
    """Weight and bias of a 3x3 convolution, in the executor's dtype and channels last."""

    def __init__(self, weight: Tensor, bias: Tensor, device: torch.device, dtype: torch.dtype):
        weight, bias = weight.to(device, dtype), bias.to(device, dtype)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = bias.contiguous()

    def rows(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the zero-padded convolution of the frame `x`."""
        return conv_rows(x, self.weight, self.bias, 1, start, stop)

    def inside(self, x: Tensor) -> Tensor:
        """The convolution of rows that bring their own halo, one above and one below."""
        return functional.conv2d(x, self.weight, self.bias, padding=(0, 1))


class ScaledConvolution:
    """A PDU's convolution and the channel attention after it, as one convolution.

    With the tap means T of a frame, the mean of the convolution is y = W T + b; the scale
    sigmoid(K y + B relu(A y)) then multiplies weight and bias. [K; A] W is one matrix.
    """

    def __init__(
        self,
        conv: ChannelConv,
        attention: ChannelResidualAttention,
        dilation: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        weight, bias = (t.double() for t in conv.dense())
        squeeze, _, expand = attention.conv_du
        heads = torch.cat((attention.conv_1_1.weight, squeeze.weight)).flatten(1).double()
        taps = weight.permute(0, 2, 3, 1).flatten(1)
        self.dilation = dilation
        self._dtype = dtype
        self._channels = len(bias)
        self._from_taps = (heads @ taps).to(device, torch.float32)
        self._from_bias = (heads @ bias).to(device, torch.float32)
        self._expand = expand.weight.flatten(1).to(device, torch.float32)
        self._weight = weight.to(device, torch.float32, memory_format=torch.channels_last)
        self._bias = bias.to(device, torch.float32)

    def scaled(self, taps: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [C, C, 3, 3] and bias [C] for a frame with the tap means `taps` [9 C]."""
        heads = torch.addmv(self._from_bias, self._from_taps, taps)
        skip, squeezed = heads[: self._channels], heads[self._channels :]
        scale = torch.addmv(skip, self._expand, squeezed.relu_()).sigmoid_()
        weight = self._weight * scale[:, None, None, None]
        return weight.to(self._dtype), (self._bias * scale).to(self._dtype)


@dataclass(frozen=True)
class _Frame:
    """Everything of a frame's size that lives beside a strip.

    Attributes:
        joined: the rainy image and the last estimate, [1, 6, H, W].
        h, x, y: hidden state and the units' two buffers, [1, C, H, W], executor's dtype.
        c: cell state, [1, C, H, W], float32.
        taps: the sums behind the attention scales.
        strips: how the rows are cut.
    """

    joined: Tensor
    h: Tensor
    c: Tensor
    x: Tensor
    y: Tensor
    taps: TapSums
    strips: Strips

    def has_size(self, height: int, width: int) -> bool:
        return self.h.shape[2:] == (height, width)


class FoldedExecutor:
    """Runs a SAPNet; equal to it within 1e-5 in float32, on any torch device.

    Weights are taken over when it is made. Buffers of the last frame size are kept, so one
    executor serves one thread.

    Args:
        network: the network, any of its variants.
        device: where it runs; images must be there.
        dtype: of weights and activations. Cell state and sums stay float32.
        stages: how many to run, None for all the network has.
        memory_bytes: what a frame may take, None for what the machine has available.
        strip_rows: height of the strips, None to choose it by device, width and memory.
    """

    name = "folded"

    def __init__(
        self,
        network: SAPNet,
        *,
        device: torch.device,
        dtype: torch.dtype,
        stages: int | None = None,
        memory_bytes: int | None = None,
        strip_rows: int | None = None,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._stages = checked_stages(stages, network.config.stages)
        self._channels = network.config.channels
        self._memory_bytes, self._strip_rows = memory_bytes, strip_rows
        self._frame: _Frame | None = None
        with torch.no_grad():
            self._fold(network)

    def _fold(self, network: SAPNet) -> None:
        def convolution(weight: Tensor, bias: Tensor) -> Convolution:
            return Convolution(weight, bias, self._device, self._dtype)

        entry, exit_ = network.conv0[0], network.conv[0]
        self._entry = convolution(entry.weight, entry.bias)
        # At stage one the estimate is the image.
        self._first_entry = convolution(entry.weight[:, :3] + entry.weight[:, 3:], entry.bias)
        self._exit = convolution(exit_.weight, exit_.bias)
        # tanh(g) = 2 sigmoid(2 g) - 1: one nonlinearity for all gates, and the faster one.
        gates = [network.conv_i[0], network.conv_o[0], network.conv_g[0], network.conv_f[0]]
        factors = (1, 1, 2, 1)
        weight = torch.cat([f * g.weight for f, g in zip(factors, gates, strict=True)])
        bias = torch.cat([f * g.bias for f, g in zip(factors, gates, strict=True)])
        self._gates = convolution(weight, bias)
        # A zero state: no half for h, and nothing to forget.
        n = self._channels
        self._first_gates = convolution(weight[: 3 * n, :n], bias[: 3 * n])
        self._units = [
            tuple(
                ScaledConvolution(unit[i], unit[i + 1], unit.dilation, self._device, self._dtype)
                for i in (0, 3)
            )
            for unit in network.units
        ]

    def check_memory(self, height: int, width: int) -> None:
        """Make sure that a frame of this size fits.

        Raises:
            TooLargeError: it does not; the message names the bytes it needs.
        """
        self._planned_rows(height, width)

    def __call__(self, image: Tensor) -> Tensor:
        """Derain [N, 3, H, W] RGB float32 in [0, 1]; the same shape, not clamped.

        Raises:
            TooLargeError: before any work, if a frame of this size does not fit.
        """
        # Made outside inference mode, so that the caller may write to it.
        derained = torch.empty_like(image, memory_format=torch.contiguous_format)
        with torch.inference_mode():
            frame = self._frame_of(*image.shape[2:])
            for n in range(len(image)):
                self._derain(frame, image[n : n + 1], derained[n : n + 1])
        return derained

    def _state_bytes(self, height: int, width: int) -> int:
        # h, x, y and the joined images; c; the image and the result.
        item = self._dtype.itemsize
        return height * width * ((3 * self._channels + 6) * item + 4 * self._channels + 24)

    def _planned_rows(self, height: int, width: int) -> int:
        row = width * self._channels * self._dtype.itemsize
        dilation = max(first.dilation for first, _ in self._units)
        state = self._state_bytes(height, width)
        # The padded copy at a frame's edge brings its halo; at its widest a strip holds the
        # gates in both precisions, their input, and the cell update's two temporaries.
        halo = 2 * dilation * row
        strip = 8 * row + 6 * width * self._channels * 4

        allowed = self._memory_bytes
        if allowed is None:
            allowed = available_bytes(self._device)
            if self._frame is not None:
                allowed += self._state_bytes(*self._frame.h.shape[2:])
        fitting = (allowed - state - halo) // strip
        if fitting < 1:
            raise too_large(height, width, state + halo + strip, allowed)
        if self._strip_rows is not None:
            wanted = self._strip_rows
        elif self._device.type == "cpu":
            wanted = max(1, _STRIP_BYTES // row)
        else:
            wanted = height
        count = -(-height // min(height, wanted, fitting))
        return -(-height // count)

    def _frame_of(self, height: int, width: int) -> _Frame:
        if self._frame is None or self._frame.h.shape[2:] != (height, width):
            rows = self._planned_rows(height, width)
            self._frame = None

            def buffer(channels: int, dtype: torch.dtype) -> Tensor:
                return _channels_last(channels, height, width, dtype, self._device)

            h, x, y = (buffer(self._channels, self._dtype) for _ in range(3))
            self._frame = _Frame(
                joined=buffer(6, self._dtype),
                h=h,
                c=buffer(self._channels, torch.float32),
                x=x,
                y=y,
                taps=TapSums(self._channels, height, width, self._device),
                strips=Strips(height, rows),
            )
        return self._frame

    def _derain(self, frame: _Frame, image: Tensor, derained: Tensor) -> None:
        frame.joined[:, :3].copy_(image)
        for stage in range(self._stages):
            if stage == 0:
                self._first_update(frame)
            else:
                self._update(frame)
            self._refine(frame)
            last = stage == self._stages - 1
            self._estimate(frame, image, derained if last else frame.joined[:, 3:])

    def _first_update(self, frame: _Frame) -> None:
        """The ConvLSTM from a zero state: c = i g, h = o tanh(c)."""
        image = frame.joined[:, :3].contiguous(memory_format=torch.channels_last)
        for start, stop in frame.strips:
            rows, _ = self._entered(self._first_entry, image, self._channels, start, stop)
            i, o, g = self._first_gates.inside(rows).float().sigmoid_().chunk(3, dim=1)
            c = frame.c[:, :, start:stop]
            torch.mul(i, g, out=c).mul_(2).sub_(i)
            self._output(frame, c, o, start, stop)

    def _update(self, frame: _Frame) -> None:
        """The ConvLSTM: c = f c + i g, h = o tanh(c)."""
        above = frame.h[:, :, :1]
        for start, stop in frame.strips:
            rows, inside = self._entered(self._entry, frame.joined, 2 * self._channels, start, stop)
            h = rows[:, self._channels :]
            h[:, :, inside] = frame.h[:, :, max(0, start - 1) : stop + 1]
            if start > 0:
                h[:, :, :1] = above
            # h is replaced strip by strip, but the next strip's halo is the old last row.
            above = frame.h[:, :, stop - 1 : stop].clone()
            i, o, g, f = self._gates.inside(rows).float().sigmoid_().chunk(4, dim=1)
            c = frame.c[:, :, start:stop]
            c.mul_(f).addcmul_(i, g, value=2).sub_(i)
            self._output(frame, c, o, start, stop)

    def _entered(
        self, entry: Convolution, source: Tensor, channels: int, start: int, stop: int
    ) -> tuple[Tensor, slice]:
        """Rows start - 1 to stop + 1 of the entry's features, zero beyond the frame.

        [1, channels, rows, W] with the features in the first C channels and the others left
        to fill, and which of its rows lie in the frame.
        """
        height, width = source.shape[2:]
        rows = _channels_last(channels, stop - start + 2, width, self._dtype, self._device)
        first, end = max(0, start - 1), min(height, stop + 1)
        inside = slice(first - (start - 1), end - (start - 1))
        rectify(entry.rows(source, first, end), out=rows[:, : self._channels, inside])
        if start == 0:
            rows[:, :, 0] = 0
        if stop == height:
            rows[:, :, -1] = 0
        return rows, inside

    def _output(self, frame: _Frame, c: Tensor, o: Tensor, start: int, stop: int) -> None:
        h = frame.h[:, :, start:stop]
        h.copy_((c * 2).sigmoid_().mul_(2).sub_(1).mul_(o))
        frame.taps.add(h, start, stop)

    def _refine(self, frame: _Frame) -> None:
        """The progressive dilated units: x from h."""
        source = frame.h
        for first, second in self._units:
            weight, bias = first.scaled(frame.taps.means(source, first.dilation))
            for start, stop in frame.strips:
                y = frame.y[:, :, start:stop]
                rectify(conv_rows(source, weight, bias, first.dilation, start, stop), out=y)
                frame.taps.add(y, start, stop)
            weight, bias = second.scaled(frame.taps.means(frame.y, second.dilation))
            for start, stop in frame.strips:
                x = frame.x[:, :, start:stop]
                change = conv_rows(frame.y, weight, bias, second.dilation, start, stop)
                rectify(change, out=change)
                torch.add(source[:, :, start:stop], change, out=x)
                # h may be negative; from the second unit on, both summands are not.
                if source is frame.h:
                    rectify(x, out=x)
                frame.taps.add(x, start, stop)
            source = frame.x

    def _estimate(self, frame: _Frame, image: Tensor, out: Tensor) -> None:
        for start, stop in frame.strips:
            change = self._exit.rows(frame.x, start, stop)
            torch.add(image[:, :, start:stop], change, out=out[:, :, start:stop])


def _channels_last(
    channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    shape = 1, channels, height, width
    return torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last)
