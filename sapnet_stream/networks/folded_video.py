"""SAPNet for video rearranged for speed: the same function, exactly.

As in `folded`: each channel attention goes into the weights of the convolution before it, and
one nonlinearity serves all gates. At half the resolution a frame needs no strips.

Shapes: C channels, H height, W width; h and w are half of them; channels last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.networks.sapnet_video import SAPNetVideo, VideoState, network_input, next_frame
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import TapMeans, keep_freed_blocks, rectify

# Of a frame, by the bytes of a number: measured, as the growth of peak memory from 1080p to
# 2160p with a camera that moves.
_BYTES_PER_PIXEL = {2: 600, 4: 800}


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
        self._size = (0, 0)
        with torch.no_grad():
            self._entry = self._taken(network.conv0[0])
            self._exit = self._taken(network.conv)
            weight, bias = self._taken(network.gates, torch.float32)
            # tanh(g) = 2 sigmoid(2 g) - 1; g is the third of i, f, g, o.
            third = slice(2 * self._channels, 3 * self._channels)
            weight[third] *= 2
            bias[third] *= 2
            self._gates = weight.to(dtype), bias.to(dtype)
            self._units = [
                (
                    ScaledConvolution(unit, 0, device, dtype),
                    ScaledConvolution(unit, 3, device, dtype),
                )
                for unit in network.pdus
            ]

    def _taken(
        self, layer: torch.nn.Module, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        assert isinstance(layer, torch.nn.Conv2d) and layer.bias is not None
        weight = layer.weight.to(self._device, dtype or self._dtype, copy=True)
        bias = layer.bias.to(self._device, dtype or self._dtype, copy=True)
        return weight.contiguous(memory_format=torch.channels_last), bias

    def initial(self, height: int, width: int) -> VideoState:
        """See `SAPNetVideo.initial`."""
        return VideoState.empty(self._channels, height, width, self._device, self._dtype)

    def frame_bytes(self, height: int, width: int) -> int:
        """See `FrameExecutor`."""
        return height * width * _BYTES_PER_PIXEL[self._dtype.itemsize]

    @torch.no_grad()
    def __call__(self, frame: Tensor, state: VideoState) -> tuple[Tensor, VideoState]:
        """See `SAPNetVideo.forward`."""
        return next_frame(self.step, frame, state)

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNetVideo.step`; one frame, N = 1."""
        if self._size != h.shape[2:]:
            keep_freed_blocks()
            self._size = (h.shape[2], h.shape[3])
            self._means = TapMeans(self._channels, *self._size, self._dtype, self._device)
        x = F.conv2d(network_input(frame, past, seen, self._dtype), *self._entry, padding=1)
        rectify(x, out=x)
        h, c = self._remember(x, h, c)
        x = F.conv2d(self._refine(h), *self._exit, padding=1)
        return SAPNetVideo.output(frame, past, x), h, c

    def _remember(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The ConvLSTM: c = f c + i tanh(g), h = o tanh(c), in float32."""
        gates = F.conv2d(torch.cat((x, h), dim=1), *self._gates, padding=1).float().sigmoid_()
        i, f, g, o = gates.chunk(4, dim=1)
        c = (c * f).addcmul_(i, g.sub_(0.5), value=2)
        h = torch.mul(c, 2).sigmoid_().sub_(0.5).mul_(o).mul_(2)
        return h.to(self._dtype), c

    def _refine(self, h: Tensor) -> Tensor:
        """The progressive dilated units."""
        x = h
        for first, second in self._units:
            y = self._attended(first, x)
            y = self._attended(second, y)
            x = torch.add(x, y, out=y)
            rectify(x, out=x)
        return x

    def _attended(self, conv: ScaledConvolution, x: Tensor) -> Tensor:
        assert self._means is not None
        self._means.add(x, 0, x.shape[2])
        weight, bias = conv.scaled(self._means.means(x, conv.dilation))
        y = F.conv2d(x, weight, bias, padding=conv.dilation, dilation=conv.dilation)
        rectify(y, out=y)
        return y
