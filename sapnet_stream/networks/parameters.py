"""Weights and biases of a network's convolutions, for what runs it in another way."""

import torch
from torch import Tensor, nn


def parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution, or of the one that a sequence starts with."""
    conv = layer[0] if isinstance(layer, nn.Sequential) else layer
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    return conv.weight, conv.bias


def taken(
    weight: Tensor, bias: Tensor, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Copies of both; the weight [O, I, 3, 3] lies channels last."""
    weight = weight.to(device, dtype, copy=True)
    return weight.contiguous(memory_format=torch.channels_last), bias.to(device, dtype, copy=True)
