"""The folded network as a pure function, which `torch.compile` takes whole.

`FoldedExecutor` works in place and in strips; a compiler would leave it in pieces.

Shapes: C channels, H height, W width; one frame, channels last.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.networks.parameters import parameters, taken
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.scaled_convolution import ScaledConvolution
from sapnet_stream.networks.strips import TapMeans


class FoldedStage:
    """`SAPNet.stage` with each channel attention inside the convolution before it.

    Args:
        network: its weights are taken.
        size: H and W.
        device: where it runs.
        dtype: of weights and activations; the cell state and the estimates are float32.
    """

    def __init__(
        self, network: SAPNet, size: tuple[int, int], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._dtype = dtype
        self._means = TapMeans(network.config.channels, *size, dtype, device)

        self._entry = taken(*parameters(network.conv0), device, dtype)
        self._exit = taken(*parameters(network.conv), device, dtype)
        gates = (network.conv_i, network.conv_f, network.conv_g, network.conv_o)
        pairs = zip(*(parameters(gate) for gate in gates), strict=True)
        weight, bias = (torch.cat(tensors) for tensors in pairs)
        self._gates = taken(weight, bias, device, dtype)
        self._convs = [
            [ScaledConvolution(unit, position, device, dtype) for position in (0, 3)]
            for unit in network.units
        ]

    def __call__(
        self, image: Tensor, estimate: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SAPNet.stage`; one frame, N = 1."""
        joined = torch.cat((image, estimate), dim=1)
        joined = joined.to(self._dtype, memory_format=torch.channels_last)
        x = F.conv2d(joined, *self._entry, padding=1).relu()
        gates = F.conv2d(torch.cat((x, h), dim=1), *self._gates, padding=1)
        i, f, g, o = gates.float().chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        x = h = (o.sigmoid() * c.tanh()).to(self._dtype)
        for first, second in self._convs:
            x = (x + self._attended(second, self._attended(first, x))).relu()
        return image + F.conv2d(x, *self._exit, padding=1), h, c

    def _attended(self, conv: ScaledConvolution, x: Tensor) -> Tensor:
        self._means.add(x, 0, x.shape[2])
        weight, bias = conv.scaled(self._means.means(x, conv.dilation))
        return F.conv2d(x, weight, bias, padding=conv.dilation, dilation=conv.dilation).relu()


def compiled_network(
    network: SAPNet, image: Tensor, dtype: torch.dtype, mode: str
) -> Callable[[], Tensor]:
    """What derains [1, 3, H, W] float32 in all the network's stages, each the same compiled code.

    So the first stage, unlike that of `FoldedExecutor`, computes with a state of zeros.

    Args:
        network: its weights are taken.
        image: of the only size it will run on.
        dtype: of weights and activations.
        mode: of `torch.compile`.
    """
    size = (image.shape[2], image.shape[3])
    folded = FoldedStage(network, size, image.device, dtype)
    # Whole, or an error: pieces would be called compiled and run as they are.
    stage = torch.compile(folded.__call__, mode=mode, dynamic=False, fullgraph=True)
    shape = (1, network.config.channels, *size)
    zeros = torch.zeros(shape, device=image.device).contiguous(memory_format=torch.channels_last)
    # None is another: of two that are one the compiler would make code of its own.
    first = image.clone(), zeros.to(dtype, copy=True), zeros

    def run() -> Tensor:
        estimate, h, c = first
        for _ in range(network.config.stages):
            estimate, h, c = stage(image, estimate, h, c)
        return estimate

    return run
