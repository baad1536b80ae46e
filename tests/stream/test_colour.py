"""Planes to RGB and a change back: exact where nothing changed, H.273 where something did."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.overrides import TorchFunctionMode

from sapnet_stream.errors import InputError
from sapnet_stream.video.colour import add_change, to_rgb
from sapnet_stream.video.frame import Colour, Frame, PixelLayout, pixel_layout, planar_name

Array = npt.NDArray[np.float64]

# Written down again from ITU-T H.273 table 4, by the number of the matrix: (Kr, Kb).
MATRICES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
SUBSAMPLINGS = {
    "420": (2, 2),
    "422": (1, 2),
    "444": (1, 1),
    "440": (2, 1),
    "411": (1, 4),
    "410": (4, 4),
}
# Every transfer of H.273 that is derained: gammas and what resembles them, PQ (16), HLG (18).
TRANSFERS = (1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 18)
# The last is higher than the bands the conversion works in.
SIZES = [(1, 1), (1, 33), (17, 1), (18, 31), (259, 3)]
LAYOUTS = [
    f"{kind}{'' if bits == 8 else f'{bits}le'}"
    for kind, depths in {
        "yuv420p": (8, 9, 10, 12, 14, 16),
        "yuv422p": (8, 9, 10, 12, 14, 16),
        "yuv444p": (8, 9, 10, 12, 14, 16),
        "yuv440p": (8, 10, 12),
        "yuv411p": (8,),
        "yuv410p": (8,),
        "yuva420p": (8, 9, 10, 16),
        "yuva422p": (8, 9, 10, 12, 16),
        "yuva444p": (8, 9, 10, 12, 16),
        "gbrp": (8, 9, 10, 12, 14, 16),
        "gbrap": (8, 10, 12, 14, 16),
        "gray": (8, 9, 10, 12, 14, 16),
    }.items()
    for bits in depths
]


def noise(layout: PixelLayout, height: int, width: int, colour: Colour, seed: int = 0) -> Frame:
    """Every code there is, also those outside the legal range and outside RGB."""
    generator = np.random.default_rng(seed)
    kind = np.uint8 if layout.bits == 8 else np.uint16
    planes = tuple(
        torch.from_numpy(generator.integers(0, 2**layout.bits, shape).astype(kind))
        for shape in layout.plane_shapes(height, width)
    )
    return Frame(planes, layout, colour, pts=7, time_base=Fraction(1, 90000))


def codes(layout: PixelLayout, full_range: bool) -> tuple[float, float, float]:
    """Black, the luma swing and the chroma swing, H.273 equations 20 to 31."""
    if full_range or layout.model == "rgb":
        return 0, 2**layout.bits - 1, 2**layout.bits - 1
    scale = 2 ** (layout.bits - 8)
    return 16 * scale, 219 * scale, 224 * scale


def reference_rgb(frame: Frame, kr: float, kb: float, full_range: bool) -> Array:
    """[H, W, 3] in float64, from the definition of Y', Cb and Cr."""
    layout = frame.layout
    black, luma_swing, chroma_swing = codes(layout, full_range)
    planes = [plane.numpy().astype(np.float64) for plane in frame.colour_planes]
    first = (planes[0] - black) / luma_swing
    if layout.model == "gray":
        red = green = blue = first
    elif layout.model == "rgb":
        green, blue, red = first, *((p - black) / luma_swing for p in planes[1:])
    else:
        rows = np.arange(frame.height) // layout.chroma_rows
        columns = np.arange(frame.width) // layout.chroma_columns
        middle = 2 ** (layout.bits - 1)
        cb, cr = ((p[np.ix_(rows, columns)] - middle) / chroma_swing for p in planes[1:])
        red, blue = first + 2 * (1 - kr) * cr, first + 2 * (1 - kb) * cb
        green = (first - kr * red - kb * blue) / (1 - kr - kb)
    return np.stack((red, green, blue), axis=2).clip(0, 1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_zero_change_returns_every_plane_bit_for_bit(name: str) -> None:
    layout = pixel_layout(name)
    # Gammas are all treated alike; PQ comes with the matrix of BT.2020.
    tags = [(matrix, 1) for matrix in MATRICES] + [(9, 16)]
    for (matrix, transfer), full_range in itertools.product(tags, (False, True)):
        for height, width in SIZES:
            colour = Colour.from_tags(matrix, full_range, height, transfer)
            frame = noise(layout, height, width, colour, seed=matrix)
            kept = [plane.clone() for plane in frame.planes]
            rgb = to_rgb(frame)
            assert rgb.shape == (1, 3, height, width)
            same = add_change(frame, torch.zeros_like(rgb))
            assert (same.pts, same.time_base) == (frame.pts, frame.time_base)
            for before, source, after in zip(kept, frame.planes, same.planes, strict=True):
                assert torch.equal(source, before), "the source was written to"
                assert after.dtype == before.dtype and torch.equal(after, before)


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_a_zero_change_returns_every_code(bits: int) -> None:
    every = torch.arange(2**bits).to(torch.uint8 if bits == 8 else torch.uint16)[None]
    layout = PixelLayout("yuv444p", "yuv", bits)
    for full_range in (False, True):
        colour = Colour.from_tags(1, full_range, 1080)
        frame = Frame((every, every, every), layout, colour, 0, Fraction(1, 25))
        same = add_change(frame, torch.zeros_like(to_rgb(frame)))
        assert all(torch.equal(plane, every) for plane in same.planes)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "yuv422p16le"])
def test_a_constant_change_moves_the_codes_as_h273_says(
    name: str, matrix: int, full_range: bool
) -> None:
    layout, (kr, kb) = pixel_layout(name), MATRICES[matrix]
    middle = 2 ** (layout.bits - 1)
    kind = torch.uint8 if layout.bits == 8 else torch.uint16
    planes = tuple(torch.full(s, middle, dtype=kind) for s in layout.plane_shapes(17, 33))
    colour = Colour.from_tags(matrix, full_range, 480)
    frame = Frame(planes, layout, colour, 0, Fraction(1, 25))
    red, green, blue = 0.11, -0.07, 0.05
    change = torch.tensor([red, green, blue]).reshape(1, 3, 1, 1).expand(1, 3, 17, 33)

    _, luma_swing, chroma_swing = codes(layout, full_range)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    expected = [
        middle + luma_swing * luma,
        middle + chroma_swing * (blue - luma) / (2 * (1 - kb)),
        middle + chroma_swing * (red - luma) / (2 * (1 - kr)),
    ]
    for plane, code in zip(add_change(frame, change).planes, expected, strict=True):
        assert plane.to(torch.float64).sub(code).abs().max() <= 0.51
        assert plane.to(torch.int32).eq(int(plane[0, 0])).all()


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("name", "expected"),
    [("gray", [(0.1, None)]), ("gbrp10le", [(0.2, 1023), (-0.1, 1023), (0.3, 1023)])],
)
def test_gray_takes_the_luma_and_rgb_its_own(
    name: str, expected: list[tuple[float, int | None]], full_range: bool
) -> None:
    layout = pixel_layout(name)
    frame = noise(layout, 3, 4, Colour.from_tags(6, full_range, 480))
    planes = tuple(torch.full_like(p, 2 ** (layout.bits - 1)) for p in frame.planes)
    red, green, blue = (0.1, 0.1, 0.1) if layout.model == "gray" else (0.3, 0.2, -0.1)
    change = torch.tensor([red, green, blue]).reshape(1, 3, 1, 1).expand(1, 3, 3, 4)
    moved = add_change(frame.with_planes(planes), change)
    for plane, (part, swing) in zip(moved.planes, expected, strict=True):
        scale = swing or (255 if full_range else 219)
        middle = 2 ** (layout.bits - 1)
        assert plane.to(torch.float64).sub(middle + part * scale).abs().max() <= 0.51


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_matches_an_independent_reference(name: str, full_range: bool) -> None:
    layout = pixel_layout(name)
    for matrix, (kr, kb) in MATRICES.items():
        for height, width in [(1, 1), (5, 7), (6, 15), (259, 6)]:
            frame = noise(layout, height, width, Colour.from_tags(matrix, full_range, height))
            expected = reference_rgb(frame, kr, kb, full_range)
            got = to_rgb(frame)[0].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize("height", [7, 131])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_chroma_takes_the_average_of_the_change_it_covers(subsampling: str, height: int) -> None:
    layout = pixel_layout(f"yuv{subsampling}p")
    rows, columns = SUBSAMPLINGS[subsampling]
    width = 11
    colour = Colour.from_tags(1, True, 1080)
    shapes = layout.plane_shapes(height, width)
    planes = tuple(torch.full(shape, 128, dtype=torch.uint8) for shape in shapes)
    frame = Frame(planes, layout, colour, 0, Fraction(1, 25))
    change = torch.from_numpy(np.random.default_rng(3).uniform(-0.2, 0.2, (1, 3, height, width)))
    moved = add_change(frame, change.float())

    red, green, blue = change[0].numpy()
    blue_difference = 0.5 * (blue - (0.2126 * red + 0.7152 * green + 0.0722 * blue)) / 0.9278
    for row, column in itertools.product(range(shapes[1][0]), range(shapes[1][1])):
        block = np.s_[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
        # Blocks at the edge repeat their last row and column, as if the picture went on.
        grown = np.pad(blue_difference, ((0, rows), (0, columns)), mode="edge")[block]
        assert abs(int(moved.planes[1][row, column]) - (128 + 255 * grown.mean())) <= 0.51


def test_what_leaves_the_code_range_is_held_at_its_end() -> None:
    frame = noise(pixel_layout("yuv420p"), 4, 4, Colour.from_tags(1, False, 1080))
    up = add_change(frame, torch.ones(1, 3, 4, 4) * 2)
    down = add_change(frame, torch.ones(1, 3, 4, 4) * -2)
    assert int(up.planes[0].min()) == 255 and int(down.planes[0].max()) == 0


@pytest.mark.parametrize("matrix", [0, 2, 3])
def test_untagged_is_709_from_720_lines_on(matrix: int) -> None:
    assert Colour.from_tags(matrix, False, 719) == Colour(0.299, 0.114, False)
    assert Colour.from_tags(matrix, True, 720) == Colour(0.2126, 0.0722, True)


@pytest.mark.parametrize("matrix", [8, 11, 12, 13, 14, 15, 99])
def test_a_matrix_that_is_no_matrix_is_refused(matrix: int) -> None:
    with pytest.raises(InputError, match=rf"matrix number {matrix} .* convert"):
        Colour.from_tags(matrix, False, 1080)


def test_every_gamma_is_treated_alike() -> None:
    colours = {transfer: Colour.from_tags(1, False, 1080, transfer) for transfer in TRANSFERS}
    assert [transfer for transfer, colour in colours.items() if colour.pq] == [16]
    assert len({colour for transfer, colour in colours.items() if transfer != 16}) == 1


@pytest.mark.parametrize(
    ("transfer", "name"), [(8, "linear"), (9, "logarithmic"), (10, "logarithmic"), (17, "SMPTE")]
)
def test_light_that_a_network_for_photographs_cannot_see_is_refused(
    transfer: int, name: str
) -> None:
    with pytest.raises(InputError, match=rf"{name} .*transfer number {transfer} .* convert"):
        Colour.from_tags(1, False, 1080, transfer)


@pytest.mark.parametrize("name", ["yuva420p", "yuva444p12le", "gbrap10le"])
def test_alpha_is_neither_seen_nor_changed(name: str) -> None:
    layout = pixel_layout(name)
    frame = noise(layout, 6, 10, Colour.from_tags(1, False, 1080))
    opaque = frame.with_planes((*frame.planes[:3], torch.zeros_like(frame.planes[3])))
    assert torch.equal(to_rgb(frame), to_rgb(opaque))
    moved = add_change(frame, torch.full((1, 3, 6, 10), 0.2))
    assert not torch.equal(moved.planes[0], frame.planes[0])
    assert torch.equal(moved.planes[3], frame.planes[3])


@pytest.mark.parametrize("name", ["pal8", "ya8", "gbrpf32le", "grayf32le", "xyz12le", "cuda"])
def test_a_format_that_would_lose_a_part_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} .* without losing"):
        planar_name(name)


class Devices(TorchFunctionMode):
    """Where the results of all functions are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.seen.add(result.device.type)
        return result


def test_from_the_second_frame_on_a_device_is_sent_nothing_but_the_planes() -> None:
    # The host waits while numbers of its own are copied.
    layout, meta = pixel_layout("yuv420p10le"), torch.device("meta")
    frame = noise(layout, 6, 10, Colour(0.2627, 0.0593, False, pq=True))
    frame = frame.with_planes(tuple(plane.to(meta) for plane in frame.planes))
    to_rgb(frame, meta)
    with Devices() as devices:
        add_change(frame, to_rgb(frame, meta))
    assert devices.seen == {"meta"}
