"""The cell that only a device can run, against float64: frames of all kinds."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sapnet_kernels import conv_lstm_cell as cell
from sapnet_kernels.tap_sums import tap_sums_reference
from sapnet_kernels.tile import Tile

AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]
SIZES = [(1, 1), (2, 300), (270, 5), (37, 129), (150, 260)]
GLUON_CELLS = [tile for tile in cell.TILES[32] if tile.gluon]


pytestmark = pytest.mark.usefixtures("needs_cuda", "hopper")


@pytest.fixture
def hopper() -> None:
    """Skips where the device is another than this is made for."""
    if torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("needs compute capability 9.0")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("tile", GLUON_CELLS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("poisoned")
def test_cell(
    size: tuple[int, int],
    tile: Tile,
    first: bool,
    dtype: torch.dtype,
    device: torch.device,
    assert_near: AssertNear,
) -> None:
    x, h = torch.rand(2, *size, 32, device=device).to(dtype)
    c = torch.randn(*size, 32, device=device)
    weight = (torch.randn(18, 32, 128, device=device) / 20).to(dtype)
    bias = torch.randn(128, device=device)
    old_h, old_c = (None, None) if first else (h, c)
    new_h, new_c, sums = cell.launch(tile, x, old_h, old_c, weight, bias, 2)
    expected_h, expected_c, _ = cell.conv_lstm_cell_reference(
        x.double(),
        None if first else h.double(),
        None if first else c.double(),
        weight.double(),
        bias.double(),
        2,
    )
    assert_near(new_h, expected_h, dtype)
    assert_near(new_c, expected_c, torch.float32)
    own = tap_sums_reference(new_h.double(), 2)
    assert_near(sums.double().sum(0, keepdim=True), own, torch.float32)


@pytest.mark.usefixtures("poisoned")
def test_equal_inputs_give_equal_bits(device: torch.device) -> None:
    x, h = torch.rand(2, 200, 300, 32, device=device).half()
    c = torch.randn(200, 300, 32, device=device)
    weight = (torch.randn(18, 32, 128, device=device) / 20).half()
    bias = torch.randn(128, device=device)
    for _ in range(20):
        once = cell.launch(GLUON_CELLS[0], x, h, c, weight, bias, 1)
        again = cell.launch(GLUON_CELLS[0], x, h, c, weight, bias, 1)
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
