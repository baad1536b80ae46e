"""SAPNet rearranged for speed and small memory: the same function, exactly.

The derivations stand in `kernels/README.md`. In short: the scale of a channel attention is
known before its convolution runs (`TapMeans`), so it goes into that convolution's weights
and costs no pass over the frame; the four gates are one convolution; the first stage leaves
out what a zero state contributes; and each layer runs in strips that stay in cache.

Shapes: C channels, H height, W width; one frame at a time, channels last.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sapnet_stream.freed_blocks import keep_freed_blocks
from sapnet_stream.networks.memory import available_bytes, too_large
from sapnet_stream.networks.parameters import parameters, taken
from sapnet_stream.networks.sapnet import SAPNet, checked_stages
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import Plane, Strips, TapMeans, rectify

# Bytes of one strip of C channels on a CPU. Taller strips fall out of the cache between a
# convolution and the steps after it, lower ones pay for more calls (5 to 10 MB measure equal).
_STRIP_BYTES = 7_500_000


@dataclass
class _Frame:
    """What has the size of the frame; beside it only a strip's workspace exists.

    Attributes:
        size: height and width.
        joined: the rainy image and the last estimate, 6 channels.
        h, x, y: hidden state and the units' two buffers, C channels, executor's dtype.
        c: twice the cell state, [1, C, H, W], float32.
        means: behind the attention scales.
        strips, gate_strips: how the rows are cut, for layers of C and of 4 C channels.
    """

    size: tuple[int, int]
    joined: Plane
    h: Plane
    x: Plane
    y: Plane
    c: Tensor
    means: TapMeans
    strips: Strips
    gate_strips: Strips


class FoldedExecutor:
    """Runs a SAPNet; equal to it within 1e-5 in float32, on any torch device.

    The weights are taken when it is made. The buffers of the last frame size are kept, so
    one executor serves one thread.

    Args:
        network: the network, any of its variants.
        device: where it runs; images must be there.
        dtype: float32, bfloat16 or float16, of weights and activations. The cell state and
            the sums behind the channel attention are accumulated in float32.
        stages: how many to run, None for all the network has.
        memory_bytes: what a frame may take, None for what the machine has available.
        strip_rows: height of a strip, None to choose it by device, width and memory.

    Raises:
        UsageError: stages is not between 1 and what the network has.
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
        # A strip of the gates takes two rows beyond the frame.
        self._margin = max(2, *network.config.dilations)
        self._memory_bytes, self._strip_rows = memory_bytes, strip_rows
        self._frame: _Frame | None = None
        if device.type == "cpu":
            keep_freed_blocks()
        with torch.no_grad():
            self._fold(network)

    def _fold(self, network: SAPNet) -> None:
        where = self._device, self._dtype
        self._entry = taken(*parameters(network.conv0), *where)
        self._exit = taken(*parameters(network.conv), *where)
        # tanh(g) = 2 sigmoid(2 g) - 1: one nonlinearity for all gates, and the faster one.
        i, o, f = (parameters(gate) for gate in (network.conv_i, network.conv_o, network.conv_f))
        g = [2 * parameter for parameter in parameters(network.conv_g)]
        weight, bias = (torch.cat(tensors) for tensors in zip(i, o, g, f, strict=True))
        self._gates = taken(weight, bias, *where)
        # The first stage's state is zero: there is no half for h, and nothing to forget.
        n = self._channels
        self._first_gates = taken(weight[: 3 * n, :n], bias[: 3 * n], *where)
        self._units = [
            (
                ScaledConvolution(unit, 0, *where),
                ScaledConvolution(unit, 3, *where),
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
            frame = self._frame_of(image.shape[2], image.shape[3])
            for n in range(len(image)):
                self._derain(frame, image[n : n + 1], derained[n : n + 1])
        return derained

    def _state_bytes(self, height: int, width: int) -> int:
        # h, x, y and the joined images; c; the caller's image and the result.
        padded = (height + 2 * self._margin) * (3 * self._channels + 6) * self._dtype.itemsize
        return width * (padded + height * (4 * self._channels + 24))

    def _planned_rows(self, height: int, width: int) -> int:
        """Rows of a strip of C channels that is fast and fits."""
        row = width * self._channels * self._dtype.itemsize
        # A convolution's result lives until the next one's is there, so each counts twice:
        # C channels in a strip of the units; in one of the gates their features, input and
        # values, and in float32 the values and a temporary.
        gate_row = 2 * (7 * row + 5 * width * self._channels * 4)
        fixed = self._state_bytes(height, width) + gate_row
        per_row = 2 * row + gate_row * self._dtype.itemsize // 16

        allowed = self._memory_bytes
        if allowed is None:
            allowed = available_bytes(self._device)
            if self._frame is not None:
                allowed += self._state_bytes(*self._frame.size)
        fitting = (allowed - fixed) // per_row
        if fitting < 1:
            raise too_large(height, width, fixed + per_row, allowed)
        if self._strip_rows is not None:
            wanted = self._strip_rows
        elif self._device.type == "cpu":
            wanted = max(1, _STRIP_BYTES // row)
        else:
            wanted = height
        count = -(-height // min(height, wanted, fitting))
        return -(-height // count)

    def _frame_of(self, height: int, width: int) -> _Frame:
        if self._frame is not None and self._frame.size == (height, width):
            return self._frame
        rows = self._planned_rows(height, width)
        self._frame = None

        def plane(channels: int) -> Plane:
            return Plane(channels, height, width, self._margin, self._dtype, self._device)

        n, device = self._channels, self._device
        cell = torch.empty(1, n, height, width, device=device, memory_format=torch.channels_last)
        self._frame = _Frame(
            size=(height, width),
            joined=plane(6),
            h=plane(n),
            x=plane(n),
            y=plane(n),
            c=cell,
            means=TapMeans(n, height, width, self._dtype, device),
            strips=Strips(height, rows),
            # As many bytes for 4 C channels in float32.
            gate_strips=Strips(height, -(-rows * self._dtype.itemsize // 16)),
        )
        return self._frame

    def _derain(self, frame: _Frame, image: Tensor, derained: Tensor) -> None:
        joined = frame.joined.rows(0, frame.size[0])
        joined[:, :3] = image
        joined[:, 3:] = image
        estimates = [joined[:, 3:]] * (self._stages - 1) + [derained]
        for stage, estimate in enumerate(estimates):
            self._remember(frame, first=stage == 0)
            self._refine(frame)
            self._estimate(frame, image, estimate)

    def _remember(self, frame: _Frame, first: bool) -> None:
        """The ConvLSTM: c = f c + i g, h = o tanh(c), in float32."""
        # y is free until the units run, and the old h is read around every strip.
        old, new = frame.h, frame.y
        for start, stop in frame.gate_strips:
            rows = frame.joined.convolved(start - 1, stop + 1, *self._entry)
            rectify(rows, out=rows)
            if start == 0:
                rows[:, :, 0] = 0
            if stop == frame.size[0]:
                rows[:, :, -1] = 0
            c = frame.c[:, :, start:stop]
            if first:
                gates = functional.conv2d(rows, *self._first_gates, padding=(0, 1))
                i, o, g = gates.float().sigmoid_().chunk(3, dim=1)
                torch.mul(i, g.sub_(0.5), out=c).mul_(4)
            else:
                rows = torch.cat((rows, old.rows(start, stop, halo=1)), dim=1)
                gates = functional.conv2d(rows, *self._gates, padding=(0, 1))
                i, o, g, f = gates.float().sigmoid_().chunk(4, dim=1)
                c.mul_(f).addcmul_(i, g.sub_(0.5), value=4)
            h = new.rows(start, stop)
            h.copy_(torch.sigmoid(c).mul_(2).sub_(1).mul_(o))
            frame.means.add(h, start, stop)
        frame.h, frame.y = new, old

    def _refine(self, frame: _Frame) -> None:
        """The progressive dilated units: x from h."""
        everything = (0, frame.size[0])
        source = frame.h
        for first, second in self._units:
            means = frame.means.means(source.rows(*everything), first.dilation)
            weight, bias = first.scaled(means)
            for start, stop in frame.strips:
                change = source.convolved(start, stop, weight, bias, first.dilation)
                y = frame.y.rows(start, stop)
                rectify(change, out=y)
                frame.means.add(y, start, stop)
            means = frame.means.means(frame.y.rows(*everything), second.dilation)
            weight, bias = second.scaled(means)
            for start, stop in frame.strips:
                change = frame.y.convolved(start, stop, weight, bias, second.dilation)
                rectify(change, out=change)
                x = frame.x.rows(start, stop)
                torch.add(source.rows(start, stop), change, out=x)
                # h may be negative; from the second unit on, neither summand is.
                if source is frame.h:
                    rectify(x, out=x)
                frame.means.add(x, start, stop)
            source = frame.x

    def _estimate(self, frame: _Frame, image: Tensor, out: Tensor) -> None:
        for start, stop in frame.strips:
            change = frame.x.convolved(start, stop, *self._exit)
            torch.add(image[:, :, start:stop], change, out=out[:, :, start:stop])
