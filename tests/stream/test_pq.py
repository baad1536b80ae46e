"""PQ seen as gamma: anchored, rising, and exactly reversible where nothing changed."""

import numpy as np
import pytest
import torch

from sapnet_stream.video.pq import gamma_from_pq, pq_change, pq_from_gamma


def pq_code(nits: float) -> float:
    """ITU-R BT.2100 table 4, the inverse EOTF, in float64."""
    power = np.float64(nits / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


@pytest.mark.parametrize(
    ("nits", "signal"),
    # Up to white SDR's gamma of 2.4 at three quarters; the highlights' end by construction.
    [(0, 0), (203, 0.75), (203 * 0.5**2.4, 0.375), (203 * 0.1**2.4, 0.075), (10_000, 1)],
)
def test_light_has_the_signal_sdr_would_have(nits: float, signal: float) -> None:
    seen = gamma_from_pq(torch.tensor(pq_code(nits), dtype=torch.float64))
    assert abs(float(seen) - signal) < 1e-3


def test_the_curve_rises_without_a_kink() -> None:
    codes = torch.linspace(0, 1, 4097, dtype=torch.float64)
    seen = gamma_from_pq(codes)
    # Below 0.0001 cd/m² nothing is seen by anyone.
    steps = seen.diff()[1:]
    assert (steps > 0).all() and float(seen[-1]) <= 1.0001
    white = int(pq_code(203) * 4096)
    around = steps[white - 4 : white + 4]
    assert float((around.diff() / around[1:]).abs().max()) < 0.02


def test_every_code_comes_back() -> None:
    codes = torch.arange(1024) / 1023
    back = pq_from_gamma(gamma_from_pq(codes)) * 1023
    assert (back - torch.arange(1024)).abs().max() < 0.05


def test_a_zero_change_is_exactly_zero_and_others_keep_their_sign() -> None:
    seen = gamma_from_pq(torch.rand(1, 3, 33, 47))
    assert torch.equal(pq_change(seen, torch.zeros_like(seen)), torch.zeros_like(seen))
    middle = seen.clamp(0.2, 0.8)
    assert (pq_change(middle, torch.full_like(seen, -0.1)) < 0).all()
    assert (pq_change(middle, torch.full_like(seen, 0.1)) > 0).all()
