"""The ops inside torch.compile and torch.export: opaque calls, no graph break."""

import pytest
import torch
from torch import Tensor, nn

from sapnet_kernels.attention_scale import attention_scale
from sapnet_kernels.conv_lstm_cell import conv_lstm_cell
from sapnet_kernels.fused_dilated_conv import fused_dilated_conv
from sapnet_kernels.output_conv import output_conv
from sapnet_kernels.rgb_residual_to_yuv420 import rgb_residual_to_yuv420
from sapnet_kernels.yuv420_to_rgb import yuv420_to_rgb

CODING = (0.2126, 0.0722, 8, False)
OPS = (
    "yuv420_to_rgb",
    "fused_dilated_conv",
    "conv_lstm_cell",
    "attention_scale",
    "fused_dilated_conv",
    "output_conv",
    "rgb_residual_to_yuv420",
)


class Everything(nn.Module):
    """One stage with one convolution, from planes to planes."""

    bias: Tensor

    def __init__(self, device: torch.device) -> None:
        super().__init__()

        def random(name: str, *shape: int) -> None:
            self.register_buffer(name, torch.randn(shape, device=device) / 20)

        random("entry", 9, 16, 32)
        random("gates", 18, 32, 128)
        random("conv", 9, 32, 32)
        random("exit", 9, 32, 16)
        random("heads", 34, 288)
        random("expand", 32, 2)
        random("bias", 128)

    def forward(self, luma: Tensor, cb: Tensor, cr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = yuv420_to_rgb(luma, cb, cr, *CODING)
        pair = torch.cat((image, image.new_zeros(13, *image.shape[1:]))).permute(1, 2, 0)
        x, _ = fused_dilated_conv(pair, self.entry, self.bias[:32], None, None, 1, 0)
        h, _, sums = conv_lstm_cell(x, None, None, self.gates, self.bias, 2)
        scale = attention_scale(sums, self.heads, self.bias[:34], self.expand, luma.numel())
        y, _ = fused_dilated_conv(h, self.conv, self.bias[:32], scale, h, 2, 0)
        change = output_conv(y, self.exit, self.bias[:16], image) - image
        planes: tuple[Tensor, Tensor, Tensor] = rgb_residual_to_yuv420(
            change, luma, cb, cr, *CODING
        )
        return planes


@pytest.fixture
def planes(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    luma = torch.randint(0, 256, (6, 18), dtype=torch.uint8, device=device)
    return luma, luma[:3, :9].contiguous(), luma[3:, 9:].contiguous()


def test_no_graph_break(device: torch.device, planes: tuple[Tensor, Tensor, Tensor]) -> None:
    module = Everything(device)
    # The backend that only traces: what it compiles to is no matter of the ops.
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for one, other in zip(compiled(*planes), module(*planes), strict=True):
        assert torch.equal(one, other)


def test_export(device: torch.device, planes: tuple[Tensor, Tensor, Tensor]) -> None:
    module = Everything(device)
    program = torch.export.export(module, planes)
    called = [str(node.target) for node in program.graph.nodes if "sapnet" in str(node.target)]
    assert called == [f"sapnet.{op}.default" for op in OPS]
    for one, other in zip(program.module()(*planes), module(*planes), strict=True):
        assert torch.equal(one, other)
