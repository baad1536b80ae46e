"""SAPNet on a GPU by the ops of `sapnet_kernels`: the same function, one pass per layer.

As in `folded`, each channel attention is known before the convolution that it follows; here the
scale, the ReLUs, the residual, the cell update and the sums for the next scale are the epilogue
of the convolution's kernel. A frame is about 130 launches, captured once per frame size in a
CUDA graph. The derivations stand in `kernels/README.md`.

Shapes: C channels, H height, W width; one frame at a time, channels last.
"""

import torch
from torch import Tensor

from sapnet_kernels.attention_scale import attention_scale
from sapnet_kernels.conv_lstm_cell import conv_lstm_cell, gate_weights
from sapnet_kernels.entry_conv import entry_conv, entry_weight
from sapnet_kernels.fused_dilated_conv import fused_dilated_conv
from sapnet_kernels.output_conv import output_conv, output_weight
from sapnet_stream.networks.folded import FoldedExecutor, parameters
from sapnet_stream.networks.graph import Graph
from sapnet_stream.networks.memory import available_bytes
from sapnet_stream.networks.sapnet import SAPNet, checked_stages
from sapnet_stream.networks.scaled_convolution import ScaledConvolution, taps_first
