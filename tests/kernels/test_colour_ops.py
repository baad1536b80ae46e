"""Colour conversions: in agreement with the product's own, exact where nothing changed."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from sapnet_kernels.rgb_residual_to_yuv420 import (
    rgb_residual_to_yuv420,
    rgb_residual_to_yuv420_reference,
)
from sapnet_kernels.yuv420_to_rgb import yuv420_to_rgb, yuv420_to_rgb_reference
from sapnet_stream.video.colour import add_change, to_rgb
from sapnet_stream.video.frame import Colour, Frame, pixel_layout

MATRICES = [(0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)]
SIZES = [(1, 1), (2, 2), (5, 7), (3, 530)]
Planes = tuple[Tensor, Tensor, Tensor]
Coding = tuple[float, float, int, bool]


def planes(height: int, width: int, bits: int, device: torch.device) -> Planes:
    """Every code there is, also those outside the legal range and outside RGB."""
    dtype = torch.uint8 if bits == 8 else torch.uint16
    half = (-(-height // 2), -(-width // 2))
    luma, cb, cr = (
        torch.randint(0, 2**bits, size, dtype=torch.int32).to(device, dtype)
        for size in ((height, width), half, half)
    )
    return luma, cb, cr


@pytest.fixture(params=[8, 10])
def bits(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(params=MATRICES)
def matrix(request: pytest.FixtureRequest) -> tuple[float, float]:
    weights: tuple[float, float] = request.param
    return weights


def product_frame(given: Planes, coding: Coding) -> Frame:
    kr, kb, bits, full_range = coding
    layout = pixel_layout("yuv420p" if bits == 8 else "yuv420p10le")
    on_cpu = tuple(plane.cpu() for plane in given)
    return Frame(on_cpu, layout, Colour(kr, kb, full_range), 0, Fraction(1, 25))


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.usefixtures("poisoned")
def test_to_rgb(
    matrix: tuple[float, float], bits: int, full_range: bool, device: torch.device
) -> None:
    coding = (*matrix, bits, full_range)
    for size in SIZES:
        given = planes(*size, bits, device)
        rgb = yuv420_to_rgb(*given, *coding)
        luma, cb, cr = given
        expected = yuv420_to_rgb_reference(luma, cb, cr, *coding)
        assert rgb.dtype == torch.float32
        torch.testing.assert_close(rgb.double(), expected, atol=1e-6, rtol=0)
        own = to_rgb(product_frame(given, coding))[0]
        torch.testing.assert_close(rgb.cpu(), own, atol=1e-6, rtol=0)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.usefixtures("poisoned")
def test_change(
    matrix: tuple[float, float], bits: int, full_range: bool, device: torch.device
) -> None:
    coding = (*matrix, bits, full_range)
    for size in SIZES:
        given = planes(*size, bits, device)
        change = torch.rand(3, *size, device=device) - 0.5
        changed = rgb_residual_to_yuv420(change, *given, *coding)
        luma, cb, cr = given
        expected = rgb_residual_to_yuv420_reference(change, luma, cb, cr, *coding)
        own = add_change(product_frame(given, coding), change.cpu()[None]).planes
        for plane, want, product in zip(changed, expected, own, strict=True):
            assert plane.dtype == product.dtype and plane.shape == product.shape
            # Rounded to the nearest code, however near to the middle of two.
            assert (plane.double() - want).abs().max() <= 0.5 + 1e-3
            differ = plane.cpu().int() != product.int()
            between = (want.cpu() - want.cpu().floor() - 0.5).abs()
            assert (between[differ] < 1e-3).all()


def test_no_change_is_bit_exact(bits: int, device: torch.device) -> None:
    given = planes(9, 300, bits, device)
    changed = rgb_residual_to_yuv420(
        torch.zeros(3, 9, 300, device=device), *given, *MATRICES[1], bits, False
    )
    assert all(torch.equal(one, other) for one, other in zip(given, changed, strict=True))


def test_halves_go_to_even_and_codes_stay_in_range(device: torch.device) -> None:
    luma = torch.tensor([[0, 1, 2, 254, 255, 255]], dtype=torch.uint8, device=device)
    chroma = torch.full((1, 3), 128, dtype=torch.uint8, device=device)
    # Equal weights add up to the change itself, in codes.
    change = torch.tensor([-9.0, 0.5, 0.5, 0.5, 0.25, 99.0], device=device) / 255
    changed, _, _ = rgb_residual_to_yuv420(
        change.expand(3, 1, 6), luma, chroma, chroma, 0.25, 0.25, 8, True
    )
    assert changed.tolist() == [[0, 2, 2, 254, 255, 255]]


def test_other_strides(device: torch.device) -> None:
    luma, cb, cr = planes(6, 8, 8, device)
    turned = [plane.t().contiguous().t() for plane in (luma, cb, cr)]
    change = (torch.rand(3, 6, 8, device=device) - 0.5) / 4
    coding = (*MATRICES[0], 8, False)
    assert torch.equal(yuv420_to_rgb(luma, cb, cr, *coding), yuv420_to_rgb(*turned, *coding))
    strided = change.transpose(1, 2).contiguous().transpose(1, 2)
    once = rgb_residual_to_yuv420(change, luma, cb, cr, *coding)
    again = rgb_residual_to_yuv420(strided, *turned, *coding)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_custom_ops(device: torch.device) -> None:
    given = planes(5, 7, 8, device)
    coding = (*MATRICES[0], 8, False)
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(yuv420_to_rgb, (*given, *coding), test_utils=checks)
    change = torch.zeros(3, 5, 7, device=device)
    torch.library.opcheck(rgb_residual_to_yuv420, (change, *given, *coding), test_utils=checks)
