"""SAPNet inside the OpenVINO runtime: the fastest on a CPU, where that package is installed.

Shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from typing import Any

import sapnet_stream.networks.no_telemetry  # noqa: F401 - before OpenVINO

# isort: split
import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import Tensor, nn

from sapnet_stream.networks.blocks import (
    ChannelConv,
    ChannelResidualAttention,
    ProgressiveDilatedUnit,
)
from sapnet_stream.networks.folded import FoldedExecutor
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.networks.parameters import parameters
from sapnet_stream.networks.sapnet import SAPNet, checked_stages

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
# A frame that takes more goes in strips: beyond, memory is worth more than a tenth of the time.
_MOST_BYTES = 4 * 2**30
# What the runtime takes at its peak, in values of the dtype per pixel and channel (measured
# 8.5 in float32 and 8.6 in bfloat16, with the image and the result).
_VALUES_PER_PIXEL = 10


class OpenVINOExecutor:
    """Runs a SAPNet in OpenVINO on the CPU; equal to it within 1e-5 in float32.

    The weights are taken when it is made, and the graph is compiled when the frame size
    changes (about a second). The runtime knows no strips: a frame that takes it more than 4 GiB, or
    more than is allowed, goes to the folded executor. The two round differently: in bfloat16 up
    to two codes of 255 were seen (13 images of Rain100L and Rain100H), in float32 one.

    Args:
        network: the network, any of its variants.
        dtype: float32 or bfloat16.
        stages: how many to run, None for all the network has.
        memory_bytes: what a frame may take, None for what the machine has available.

    Raises:
        UsageError: stages is not between 1 and what the network has.
    """

    name = "openvino"

    def __init__(
        self,
        network: SAPNet,
        *,
        dtype: torch.dtype,
        stages: int | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._dtype = dtype
        self._channels = network.config.channels
        self._memory_bytes = memory_bytes
        self._model = folded_graph(network, checked_stages(stages, network.config.stages))
        self._strips = FoldedExecutor(
            network,
            device=torch.device("cpu"),
            dtype=dtype,
            stages=stages,
            memory_bytes=memory_bytes,
        )
        self._size: tuple[int, int] | None = None
        self._run: Callable[[Tensor], Tensor] = self._strips

    def check_memory(self, height: int, width: int) -> None:
        """Make sure that a frame of this size fits.

        Raises:
            TooLargeError: it does not; the message names the bytes it needs.
        """
        if not self._fits(height, width):
            self._strips.check_memory(height, width)

    def __call__(self, image: Tensor) -> Tensor:
        """Derain [N, 3, H, W] RGB float32 in [0, 1]; the same shape, not clamped.

        Raises:
            TooLargeError: before any work, if a frame of this size does not fit.
        """
        size = image.shape[2], image.shape[3]
        if size != self._size:
            # The runtime's memory for the last size goes before that for the next is made.
            self._size, self._run = None, self._strips
            if self._fits(*size):
                self._run = self._compiled(*size)
            self._size = size
        return self._run(image)

    def _fits(self, height: int, width: int) -> bool:
        if (height, width) == self._size:
            return self._run is not self._strips
        needed = height * width * self._channels * self._dtype.itemsize * _VALUES_PER_PIXEL
        allowed = self._memory_bytes
        if allowed is None:
            allowed = available_bytes(torch.device("cpu"))
        return needed <= min(allowed, _MOST_BYTES)

    def _compiled(self, height: int, width: int) -> Callable[[Tensor], Tensor]:
        self._model.reshape([1, 3, height, width])
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self._dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        request = openvino.compile_model(self._model, "CPU", options).create_infer_request()

        def run(image: Tensor) -> Tensor:
            derained = np.empty(image.shape, np.float32)
            for n, rainy in enumerate(image.detach().contiguous().numpy()):
                # Shared with the runtime, which writes its next result to the same place.
                results = request.infer([rainy[None]], share_inputs=True, share_outputs=True)
                derained[n] = results[0][0]
            return torch.from_numpy(derained)

        return run


def folded_graph(network: SAPNet, stages: int) -> openvino.Model:
    """The network, [1, 3, H, W] to the same, as a graph this runtime is fast with.

    Kept from the folded executor: the first stage leaves out what a zero state contributes,
    and tanh is a sigmoid. Not kept, as measured to gain nothing here: the pool before its
    convolution, because the runtime joins scale, ReLU and residual into one pass anyway;
    and the merged gates, because it copies their parts to split them.
    """
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    gates = [parameters(gate) for gate in (network.conv_i, network.conv_g, network.conv_o)]
    forget = parameters(network.conv_f)
    width = network.config.channels

    features = _entered(network, image, image)
    i, g, o = (_conv(features, weight[:, :width], bias) for weight, bias in gates)
    c = ops.multiply(ops.sigmoid(i), _tanh(g))
    h, estimate = _refined(network, image, c, o)
    for _ in range(stages - 1):
        features = ops.concat([_entered(network, image, estimate), h], axis=1)
        i, g, o = (_conv(features, weight, bias) for weight, bias in gates)
        f = _conv(features, *forget)
        c = ops.add(ops.multiply(ops.sigmoid(f), c), ops.multiply(ops.sigmoid(i), _tanh(g)))
        h, estimate = _refined(network, image, c, o)
    return openvino.Model([ops.result(estimate)], [image], "sapnet")


Node = Any  # openvino.Node; the package ships no types for its operations


def _entered(network: SAPNet, image: Node, estimate: Node) -> Node:
    joined = ops.concat([image, estimate], axis=1)
    return ops.relu(_conv(joined, *parameters(network.conv0)))


def _refined(network: SAPNet, image: Node, c: Node, o: Node) -> tuple[Node, Node]:
    """Hidden state and estimate, from the cell state and the output gate."""
    h = x = ops.multiply(ops.sigmoid(o), _tanh(c))
    for unit in network.units:
        x = _unit(x, unit)
    return h, ops.add(_conv(x, *parameters(network.conv)), image)


def _unit(x: Node, unit: ProgressiveDilatedUnit) -> Node:
    y = x
    for position in (0, 3):
        conv, attention = unit[position], unit[position + 1]
        assert isinstance(conv, ChannelConv) and isinstance(attention, ChannelResidualAttention)
        y = _conv(y, *conv.dense(), dilation=unit.dilation)
        y = ops.relu(ops.multiply(y, _scale(y, attention)))
    return ops.relu(ops.add(y, x))


def _scale(y: Node, attention: ChannelResidualAttention) -> Node:
    squeeze, _, expand = attention.conv_du
    assert isinstance(squeeze, nn.Conv2d) and isinstance(expand, nn.Conv2d)
    pool = ops.reduce_mean(y, [2, 3], keep_dims=True)
    bottleneck = _conv(ops.relu(_conv(pool, squeeze.weight)), expand.weight)
    return ops.sigmoid(ops.add(bottleneck, _conv(pool, attention.conv_1_1.weight)))


def _conv(x: Node, weight: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Node:
    pad = [dilation * (weight.shape[2] // 2)] * 2
    y = ops.convolution(x, _constant(weight), [1, 1], pad, pad, [dilation] * 2)
    return y if bias is None else ops.add(y, _constant(bias[None, :, None, None]))


def _constant(tensor: Tensor) -> Node:
    return ops.constant(tensor.detach().cpu().float().contiguous().numpy())


def _tanh(x: Node) -> Node:
    """2 sigmoid(2 x) - 1: this runtime's sigmoid is several times as fast as its tanh."""
    two, one = ops.constant(np.float32(2)), ops.constant(np.float32(1))
    return ops.subtract(ops.multiply(two, ops.sigmoid(ops.multiply(two, x))), one)
