"""SAPNet on a GPU by the ops of `sapnet_kernels`: the same function, one pass per layer.

As in `folded`, each channel attention is known before the convolution that it follows; here the
scale, the ReLUs, the residual, the cell update and the sums for the next scale are the epilogue
of the convolution's kernel. A frame is about 140 launches, recorded once per frame size in a
CUDA graph. The derivations stand in `kernels/README.md`.

Shapes: C channels, H height, W width; one frame at a time, channels last.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_kernels.conv_lstm_cell import cell_weight, conv_lstm_cell
from sapnet_kernels.fused_dilated_conv import conv_weight, fused_dilated_conv
from sapnet_kernels.image_pair import CHANNELS as PAIR
from sapnet_kernels.image_pair import image_pair
from sapnet_kernels.launches import image_launches, layer_launches
from sapnet_kernels.output_conv import output_conv, output_weight
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.fused_units import FusedUnits
from sapnet_stream.networks.graph import Graph
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.networks.parameters import parameters, taken
from sapnet_stream.networks.sapnet import SAPNet, checked_stages


class FusedExecutor:
    """Runs a SAPNet by fused kernels, on CUDA (or, in tests, in Triton's interpreter).

    The weights are taken when it is made. The first frame of a size runs as it is; from the
    second on a recorded graph runs, whose buffers are kept for that size, so one executor serves
    one thread. A frame too large for whole feature maps goes to the folded executor, which
    works in strips.

    Args:
        network: any of its variants with 32 or 64 channels.
        device: where it runs; images must be there.
        dtype: float16, bfloat16 or float32, of weights and activations; the cell state, all
            sums and the last estimate are float32.
        stages: how many to run, None for all the network has.
        memory_bytes: what a frame may take, None for what the machine has available.

    Raises:
        UsageError: stages is not between 1 and what the network has.
    """

    name = "fused"

    def __init__(
        self,
        network: SAPNet,
        *,
        device: torch.device,
        dtype: torch.dtype,
        stages: int | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._stages = checked_stages(stages, network.config.stages)
        self._channels = network.config.channels
        self._memory_bytes = memory_bytes
        self._folded = FoldedExecutor(
            network, device=device, dtype=dtype, stages=stages, memory_bytes=memory_bytes
        )
        self._size: tuple[int, int] | None = None
        self._run: Callable[[Tensor], Tensor] | None = None
        with torch.no_grad():
            self._take(network)

    def _take(self, network: SAPNet) -> None:
        def floats(layer: nn.Sequential) -> tuple[Tensor, Tensor]:
            return taken(*parameters(layer), self._device, torch.float32)

        layers = (network.conv_i, network.conv_f, network.conv_g, network.conv_o)
        weights, biases = zip(*(floats(layer) for layer in layers), strict=True)
        self._gates = cell_weight(*weights).to(self._dtype), cell_weight(*biases)
        weight, bias = floats(network.conv0)
        weight = F.pad(conv_weight(weight), (0, 0, 0, PAIR - 6))
        self._entry = weight.to(self._dtype).contiguous(), bias
        weight, bias = floats(network.conv)
        self._exit = output_weight(weight).to(self._dtype), output_weight(bias)
        # To the second image of a pair.
        self._again = tuple(tensor.roll(3, -1).contiguous() for tensor in self._exit)
        self._units = FusedUnits(network.units, self._device, self._dtype)

    def check_memory(self, height: int, width: int) -> None:
        """Make sure that a frame of this size fits.

        Raises:
            TooLargeError: it does not, even in strips; the message names the bytes it needs.
        """
        if (height, width) != self._size and not self._fits(height, width):
            self._folded.check_memory(height, width)

    def __call__(self, image: Tensor) -> Tensor:
        """Derain [N, 3, H, W] RGB float32 in [0, 1]; the same shape, not clamped.

        Raises:
            TooLargeError: before any work, if a frame of this size does not fit.
        """
        size = image.shape[2], image.shape[3]
        if size != self._size:
            # The buffers of the last size go before those of the next are made, when nothing
            # that is under way needs them.
            if self._device.type == "cuda":
                torch.cuda.current_stream(self._device).synchronize()
            self._size, self._run = None, None
            if self._fits(*size):
                self._tune(*size)
                self._run = self._frame
            self._size = size
        elif self._run == self._frame and self._device.type == "cuda":
            self._run = self._recorded(*size)
        if self._run is None:
            return self._folded(image)
        # Made outside inference mode, so that the caller may write to it.
        derained = torch.empty_like(image, memory_format=torch.contiguous_format)
        with torch.inference_mode():
            for rainy, target in zip(image, derained, strict=True):
                target.copy_(self._run(rainy))
        return derained

    def _fits(self, height: int, width: int) -> bool:
        # At the peak: h before and after, x, y, a result and two pairs; in float32 c before and
        # after, and three images.
        pixel = (5 * self._channels + 2 * PAIR) * self._dtype.itemsize
        pixel += 2 * 4 * self._channels + 3 * 12
        allowed = self._memory_bytes
        if allowed is None:
            allowed = available_bytes(self._device)
        return height * width * pixel <= allowed

    def _tune(self, height: int, width: int) -> None:
        """Before the first frame: another tile rounds sums in another order."""
        if self._device.type == "cuda":
            size, where = (height, width, self._channels), (self._device, self._dtype)
            dilations = set(self._units.dilations)
            for launch in (
                *layer_launches(*size, dilations, *where),
                *image_launches(*size, *where),
            ):
                launch.tune()

    def _recorded(self, height: int, width: int) -> Callable[[Tensor], Tensor]:
        image = torch.zeros(3, height, width, device=self._device)
        with torch.inference_mode():
            graph = Graph(lambda rainy: (self._frame(rainy),), (image,))
        return lambda rainy: graph(rainy)[0]

    def _frame(self, image: Tensor) -> Tensor:
        """[3, H, W] to the last stage's estimate."""
        rainy = image_pair(image, self._dtype)
        x, h, c = self._stage(rainy, None, None)
        for _ in range(self._stages - 1):
            pair, _ = fused_dilated_conv(x, *self._again, None, rainy, 1, 0, relu=False)
            x, h, c = self._stage(pair, h, c)
        estimate: Tensor = output_conv(x, *self._exit, image)
        return estimate

    def _stage(
        self, pair: Tensor, h: Tensor | None, c: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features, [H, W, C], of the rainy image and an estimate; the next state."""
        x, _ = fused_dilated_conv(pair, *self._entry, None, None, 1, 0)
        h, c, sums = conv_lstm_cell(x, h, c, *self._gates, self._units.dilations[0])
        return self._units(h, sums), h, c
