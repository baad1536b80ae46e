"""What the tests of kernels share: a device, poisoned memory, a measure of error."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor


@pytest.fixture
def device() -> torch.device:
    """The GPU where there is one; without, Triton's interpreter runs on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that `empty` hands out is full of NaN, so whatever a kernel leaves out shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(1)


# Largest and root-mean-square error over the reference's root mean square, of which the largest
# values are eight times as much.
TOLERANCES = {
    torch.float32: (2e-5, 2e-6),
    torch.float16: (4e-3, 6e-4),
    torch.bfloat16: (4e-2, 5e-3),
}
AssertNear = Callable[[Tensor, Tensor, torch.dtype], None]


@pytest.fixture
def assert_near() -> AssertNear:
    """Asserts that a result is the float64 reference up to the rounding of a dtype."""

    def check(result: Tensor, reference: Tensor, dtype: torch.dtype) -> None:
        assert result.shape == reference.shape and reference.dtype == torch.float64
        error = (result.double() - reference).abs()
        size = reference.square().mean().sqrt().clamp(min=1e-6)
        worst, typical = TOLERANCES[dtype]
        assert error.max() <= worst * size, f"largest error {error.max() / size:.2e}"
        error = error.square().mean().sqrt()
        assert error <= typical * size, f"typical error {error / size:.2e}"

    return check
