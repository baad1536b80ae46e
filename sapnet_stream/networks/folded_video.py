"""SAPNet for video rearranged for speed: the same function, exactly.

As in `folded`: each channel attention goes into the weights of the convolution before it, and
one nonlinearity serves all gates. At half the resolution a frame needs no strips.

Shapes: C channels, H height, W width; h and w are half of them; channels last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.freed_blocks import keep_freed_blocks
from sapnet_stream.networks.parameters import parameters, taken
from sapnet_stream.networks.sapnet_video import (
    PAST_SCALE,
    PIXELS,
    SAPNetVideo,
    VideoState,
)
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import Strips, TapMeans, rectify

# Of a gate in float32: a cell update reads and writes five of them several times, in the caches.
_STRIP_BYTES = 2**20
# Two neighbours in a row go together: copies are by elements. By the bytes of one.
_PAIRS = {2: torch.int32, 4: torch.int64}


class FoldedVideo:
    """Runs a SAPNetVideo; equal to it within 1e-5 in float32, on any torch device.

    The weights are taken when it is made. One serves one thread; videos each have a state.

    Args:
        network: whose function it is.
        device: where it runs; frames must be there.
        dtype: float32, bfloat16 or float16, of weights and activations. The cell state, the
            sums behind the channel attention and the output are float32.
    """

    name = "folded"

    def __init__(self, network: SAPNetVideo, *, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._channels = network.config.channels
        self._means: TapMeans | None = None
        self._size, self._strips = (0, 0), Strips(1, 1)
        if device.type == "cpu":
            keep_freed_blocks()
        with torch.no_grad():
            where = device, dtype
            self._entry = taken(*entry_parameters(network.conv0), *where)
            self._exit = taken(*exit_parameters(network.conv), *where)
            self._gates = [taken(*gate, *where) for gate in gate_parameters(network.gates)]
            self._units = [
                (ScaledConvolution(unit, 0, *where), ScaledConvolution(unit, 3, *where))
                for unit in network.pdus
            ]

    def initial(self, height: int, width: int) -> VideoState:
        """See `SAPNetVideo.initial`."""
        return VideoState.empty(self._channels, height, width, self._device, self._dtype)

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNetVideo.step`; one frame, N = 1."""
        return self.behind(self.entry(frame, past, seen), frame, past, h, c)

    def entry(self, frame: Tensor, past: Tensor, seen: Tensor) -> Tensor:
        """The rectified result of conv0, [1, C, h, w], of `step`'s arguments."""
        x = F.conv2d(entry_input(frame, past, seen, self._dtype), *self._entry, padding=1)
        rectify(x, out=x)
        return x

    def behind(
        self, x: Tensor, frame: Tensor, past: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `step` returns, from `entry`'s result on."""
        if self._size != h.shape[2:]:
            self._size = (h.shape[2], h.shape[3])
            # A GPU is asked as rarely as can be.
            whole = Strips(self._size[0], self._size[0])
            on_cpu = self._device.type == "cpu"
            self._strips = cell_strips(self._channels, *self._size) if on_cpu else whole
            self._means = TapMeans(self._channels, *self._size, self._dtype, self._device)
        h, c = self._remember(x, h, c)
        x = F.conv2d(self._refine(h), *self._exit, padding=1)
        return SAPNetVideo.output(frame, past, depth_to_space(x)), h, c

    def _remember(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The ConvLSTM: c = f c + i tanh(g), h = o tanh(c), in float32."""
        x = torch.cat((x, h), dim=1)
        gates = [F.conv2d(x, *gate, padding=1) for gate in self._gates]
        new_h, new_c = torch.empty_like(h), torch.empty_like(c)
        for start, stop in self._strips:
            rows = [gate[:, :, start:stop].float() for gate in gates]
            new_h[:, :, start:stop] = cell(rows, c[:, :, start:stop], new_c[:, :, start:stop])
        return new_h, new_c

    def _refine(self, h: Tensor) -> Tensor:
        """The progressive dilated units."""
        x = h
        for first, second in self._units:
            y = self._attended(second, self._attended(first, x)).add_(x)
            if x is h:
                # It may be negative; from the second unit on, neither summand is.
                rectify(y, out=y)
            x = y
        return x

    def _attended(self, conv: ScaledConvolution, x: Tensor) -> Tensor:
        assert self._means is not None
        self._means.add(x, 0, x.shape[2])
        weight, bias = conv.scaled(self._means.means(x, conv.dilation))
        y = F.conv2d(x, weight, bias, padding=conv.dilation, dilation=conv.dilation)
        rectify(y, out=y)
        return y


def cell_strips(channels: int, height: int, width: int) -> Strips:
    """What `cell` takes at a time on a CPU."""
    return Strips(height, max(1, _STRIP_BYTES // (4 * channels * width)))


def cell(gates: list[Tensor], c: Tensor, out: Tensor) -> Tensor:
    """The ConvLSTM's next hidden state, [1, C, h, w] float32; its next cell state into `out`.

    Args:
        gates: i, f, o before their sigmoid, and third the candidate times -2 before its tanh;
            float32, overwritten.
        c: cell state, float32.
    """
    i, f, g, o = (gate.sigmoid_() for gate in gates)
    next_c = i.addcmul_(i, g, value=-2).addcmul_(f, c)
    out.copy_(next_c)
    return o.addcmul_(next_c.mul_(-2).sigmoid_(), o, value=-2)


def gate_parameters(layer: torch.nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weight [C, 2 C, 3, 3] and bias [C] of i, f, g, o, of g times -2; see `cell`.

    tanh(g) = 1 - 2 sigmoid(-2 g). One convolution each, as a part of a common one's channels lies
    scattered in memory.
    """
    weights, biases = (p.chunk(4) for p in parameters(layer))
    factors = (1, 1, -2, 1)
    return [(w * k, b * k) for w, b, k in zip(weights, biases, factors, strict=True)]


def entry_parameters(layer: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Weight [C, 64, 3, 3] and bias [C] of conv0 for the channels of `entry_input`."""
    weight, bias = parameters(layer)
    planes = weight[:, :-1].reshape(len(weight), -1, 2, 2, 3, 3).clone()
    planes[:, 3:] *= PAST_SCALE
    seen = weight[:, -1:, None, None].expand(-1, -1, 2, 2, -1, -1) / PIXELS
    return torch.cat((planes, seen), dim=1).transpose(1, 2).flatten(1, 3), bias


def entry_input(frame: Tensor, past: Tensor, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What `network_input` is, channels last: [1, 64, h, w], for each row of 2x2 pixels 16 pairs.

    The past's scale is in the weights. Four shares of `seen` in place of their mean leave one
    copy, and a power of two.
    """
    height, width = frame.shape[2:]
    planes = torch.empty(16, height, width, dtype=dtype, device=frame.device)
    planes[:3] = frame[0] - 0.5
    planes[3:15] = past[0]
    planes[15:] = seen[0]
    pairs = planes.view(_PAIRS[dtype.itemsize]).view(16, height // 2, 2, width // 2)
    pairs = pairs.permute(1, 3, 2, 0).reshape(1, height // 2, width // 2, 32)
    return pairs.view(dtype).permute(0, 3, 1, 2)


def exit_parameters(layer: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Weight [32, C, 3, 3] and bias [32] of the last convolution and of four channels of nothing.

    A power of two takes less time.
    """
    weight, bias = parameters(layer)
    return F.pad(weight, (0, 0) * 3 + (0, PIXELS)), F.pad(bias, (0, PIXELS))


def depth_to_space(x: Tensor) -> Tensor:
    """`F.pixel_shuffle` by 2, in float32, of all but the last four of [1, 4 n, h, w]."""
    x = x[:, :-PIXELS]
    if torch.compiler.is_compiling():
        # It needs no pairs, and that of PyTorch 2.11 mistakes their strides.
        return F.pixel_shuffle(x, 2).float()
    height, width = x.shape[2:]
    pairs = x.permute(0, 2, 3, 1).view(_PAIRS[x.dtype.itemsize])
    pairs = pairs.view(height, width, -1, 2).permute(2, 0, 3, 1)
    pairs = pairs.clone(memory_format=torch.contiguous_format)
    return pairs.view(x.dtype).view(1, -1, 2 * height, 2 * width).float()
