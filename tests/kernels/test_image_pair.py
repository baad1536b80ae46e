"""An image beside itself: in agreement with PyTorch's operators."""

import pytest
import torch

from sapnet_kernels.image_pair import image_pair, image_pair_reference


@pytest.mark.parametrize("size", [(1, 1), (3, 129), (5, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.usefixtures("poisoned")
def test_reference(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
    image = torch.rand(3, *size, device=device)
    pair = image_pair(image, dtype)
    assert pair.dtype == dtype and pair.is_contiguous()
    # Rounded once; to bfloat16 the interpreter cuts off.
    near = torch.finfo(dtype).eps
    torch.testing.assert_close(pair.float(), image_pair_reference(image), rtol=near, atol=1e-7)


def test_other_strides_and_custom_op(device: torch.device) -> None:
    image = torch.rand(3, 6, 7, device=device)
    turned = image.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(image_pair(image, torch.float16), image_pair(turned, torch.float16))
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(image_pair, (image, torch.float16), test_utils=checks)
