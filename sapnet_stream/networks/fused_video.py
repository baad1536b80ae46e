"""SAPNet for video on a GPU by the ops of `sapnet_kernels`: the same function.

See `fused`.

Shapes: C channels, H height, W width; h and w are half of them; channels last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_kernels.conv_lstm_cell import cell_weight, conv_lstm_cell
from sapnet_kernels.fused_dilated_conv import conv_weight, fused_dilated_conv
from sapnet_kernels.launches import layer_launches, video_launches
from sapnet_kernels.video_input import video_input
from sapnet_kernels.video_output import video_output
from sapnet_stream.networks.background import STATISTICS
from sapnet_stream.networks.folded_video import entry_parameters
from sapnet_stream.networks.fused_units import FusedUnits
from sapnet_stream.networks.graph import Graph
from sapnet_stream.networks.parameters import parameters, taken
from sapnet_stream.networks.sapnet_video import SAPNetVideo, VideoState

# Channels of the network's result, 28, up to a power of two.
_OUTPUTS = 32


class FusedVideo:
    """Runs a SAPNetVideo by fused kernels, on CUDA (or, in tests, in Triton's interpreter).

    The weights are taken when it is made. One serves one thread; videos each have a state.

    Args:
        network: whose function it is, of 32 or 64 channels.
        device: where it runs; frames must be there.
        dtype: float16, bfloat16 or float32, of weights and activations; the cell state, all
            sums and the output are float32.
    """

    name = "fused"

    def __init__(self, network: SAPNetVideo, *, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._channels = network.config.channels
        self._size: tuple[int, int] | None = None
        self._graph: Graph | None = None
        with torch.no_grad():
            floats = device, torch.float32
            weight, bias = taken(*entry_parameters(network.conv0), *floats)
            self._entry = conv_weight(weight).to(dtype).contiguous(), bias
            weight, bias = taken(*parameters(network.conv), *floats)
            # Zeros for the channels that are not there.
            missing = (0, _OUTPUTS - len(bias))
            weight = F.pad(conv_weight(weight), missing)
            self._exit = weight.to(dtype), F.pad(bias, missing)
            weight, bias = taken(*parameters(network.gates), *floats)
            weight, bias = (cell_weight(*gates.chunk(4)) for gates in (weight, bias))
            self._gates = weight.to(dtype), bias
            self._units = FusedUnits(network.pdus, device, dtype)

    def initial(self, height: int, width: int) -> VideoState:
        """See `SAPNetVideo.initial`."""
        return VideoState.empty(self._channels, height, width, self._device, self._dtype)

    def step(
        self, frame: Tensor, past: Tensor, seen: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNetVideo.step`; one frame, N = 1.

        From the second step of a size on, all between the cell and the frame is a recorded graph.
        A graph copies what comes in, and another step's state may not lie in its memory: what
        reads the frame and the state stays outside.
        """
        size = h.shape[2], h.shape[3]
        recording = self._device.type == "cuda" and size == self._size and self._graph is None
        if size != self._size:
            self._begin(*size)
        x = video_input(frame[0], past[0], seen[0], self._dtype)
        x, _ = fused_dilated_conv(x, *self._entry, None, None, 1, 0)
        state = (tensor[0].permute(1, 2, 0) for tensor in (h, c))
        h, c, sums = conv_lstm_cell(x, *state, *self._gates, self._units.dilations[0])
        if recording:
            self._graph = Graph(self._features, (h, sums))
        (x,) = (self._graph or self._features)(h, sums)
        output = video_output(x, frame[0], past[0], STATISTICS)
        return output[None], _planes(h), _planes(c)

    def _begin(self, height: int, width: int) -> None:
        """Another size."""
        if self._device.type == "cuda":
            # Nothing that is under way may need the buffers of the last size.
            torch.cuda.current_stream(self._device).synchronize()
        self._size, self._graph = None, None
        if self._device.type == "cuda":
            # Before the first step: another tile rounds sums in another order.
            size, where = (height, width, self._channels), (self._device, self._dtype)
            dilations = {1, *self._units.dilations}
            for launch in (
                *layer_launches(*size, dilations, *where),
                *video_launches(*size, *where),
            ):
                launch.tune()
        self._size = height, width

    def _features(self, h: Tensor, sums: Tensor) -> tuple[Tensor]:
        """From the cell's results to `video_output`'s argument."""
        x, _ = fused_dilated_conv(self._units(h, sums), *self._exit, None, None, 1, 0, relu=False)
        return (x,)


def _planes(x: Tensor) -> Tensor:
    """[H, W, C] as [1, C, H, W], the same memory."""
    return x.permute(2, 0, 1)[None]
