"""Before and behind the network with a memory: in agreement with its own functions."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_kernels.video_input import video_input, video_input_reference
from sapnet_kernels.video_output import video_output, video_output_reference
from sapnet_stream.networks.background import STATISTICS
from sapnet_stream.networks.folded_video import entry_input
from sapnet_stream.networks.sapnet_video import SAPNetVideo

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
SIZES = [(2, 2), (4, 6), (8, 260), (2, 530)]
CHECKS = ("test_schema", "test_faketensor", "test_aot_dispatch_static")


def planes(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A frame, the past minus it, and the share that was seen."""
    frame, seen = torch.rand(3, *size, device=device), torch.rand(1, *size, device=device)
    return frame, torch.randn(3 * (STATISTICS + 1), *size, device=device) / 10, seen


def decision(
    size: tuple[int, int], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """As the last convolution's result: logits large enough for some to count alone."""
    x = 20 * torch.randn(size[0] // 2, size[1] // 2, 32, device=device)
    x[..., 4 * (3 + 1 + STATISTICS) :] = torch.nan
    return x.to(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.usefixtures("poisoned")
def test_input(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
    given = planes(size, device)
    x = video_input(*given, dtype)
    assert x.dtype == dtype
    # Rounded once; to bfloat16 the interpreter cuts off.
    near = torch.finfo(dtype).eps
    torch.testing.assert_close(x.float(), video_input_reference(*given), rtol=near, atol=1e-7)
    frame, past, seen = (tensor.cpu()[None] for tensor in given)
    own = entry_input(frame, past, seen, dtype)[0].permute(1, 2, 0)
    torch.testing.assert_close(x.cpu(), own, rtol=near, atol=1e-7)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.usefixtures("poisoned")
def test_output(
    size: tuple[int, int], dtype: torch.dtype, device: torch.device, assert_near: AssertNear
) -> None:
    (frame, past, _), x = planes(size, device), decision(size, device, dtype)
    output = video_output(x, frame, past, STATISTICS)
    given = x.double(), frame.double(), past.double(), STATISTICS
    assert_near(output, video_output_reference(*given), torch.float32)
    change = F.pixel_shuffle(x[..., : 4 * (3 + 1 + STATISTICS)].permute(2, 0, 1)[None], 2)
    own = SAPNetVideo.output(frame[None], past[None], change.float())[0]
    torch.testing.assert_close(output, own, atol=1e-5, rtol=1e-6)


def test_logits_of_any_size(device: torch.device) -> None:
    frame, past, _ = planes((2, 4), device)
    x = torch.zeros(1, 2, 32, device=device)
    x[..., 12:16], x[..., 20:24] = -3e4, 3e4
    output = video_output(x, frame, past, STATISTICS)
    torch.testing.assert_close(output, frame + past[3:6])


def test_other_strides(device: torch.device) -> None:
    size = (6, 8)
    given, x = planes(size, device), decision(size, device)
    turned = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in given]
    once, again = (video_input(*tensors, torch.float16) for tensors in (given, turned))
    assert torch.equal(once, again)
    swapped = x.transpose(0, 1).contiguous().transpose(0, 1)
    once = video_output(x, given[0], given[1], STATISTICS)
    again = video_output(swapped, turned[0], turned[1], STATISTICS)
    assert torch.equal(once, again)
    assert once.is_contiguous()


def test_custom_ops(device: torch.device) -> None:
    given, x = planes((4, 6), device), decision((4, 6), device, torch.float16)
    torch.library.opcheck(video_input, (*given, torch.float16), test_utils=CHECKS)
    torch.library.opcheck(video_output, (x, given[0], given[1], STATISTICS), test_utils=CHECKS)
