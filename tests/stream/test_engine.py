"""The engine's three doors (tensor, image, frame) and what it refuses."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.networks import SAPNet
from sapnet_stream.video.frame import Colour, Frame, pixel_layout


class Darker:
    """Stands in for the network: takes 0.25 off every sample."""

    name = "darker"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image - 0.25

    def check_memory(self, height: int, width: int) -> None:
        if height * width > 10_000:
            raise TooLargeError("too large")


class Exhausted(Darker):
    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError(f"CUDA out of memory at {image.shape}")


def test_tensor_keeps_shape_and_dtype_and_its_argument() -> None:
    image = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    before = image.clone()
    clean = DerainEngine(executor=Darker()).tensor(image)
    assert clean.dtype == torch.float64
    assert torch.equal(image, before)
    torch.testing.assert_close(clean, (image - 0.25).clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_scales_the_change(strength: float) -> None:
    engine = DerainEngine(executor=Darker(), strength=strength)
    clean = engine.tensor(torch.full((1, 3, 4, 4), 0.75))
    torch.testing.assert_close(clean, torch.full_like(clean, 0.75 - 0.25 * strength))


def test_image_is_uint8_in_and_out() -> None:
    image = np.full((6, 9, 3), 200, np.uint8)[:, ::-1]
    clean = DerainEngine(executor=Darker()).image(image)
    assert clean.dtype == np.uint8
    assert clean.shape == (6, 9, 3)
    assert (clean == 136).all()


def test_frame_changes_samples_alone() -> None:
    layout, colour = pixel_layout("yuv420p"), Colour(0.2126, 0.0722, True)
    planes = tuple(torch.full(s, 128, dtype=torch.uint8) for s in layout.plane_shapes(4, 6))
    frame = Frame(planes, layout, colour, pts=7, time_base=Fraction(1, 25), duration=1)
    done = DerainEngine(executor=Darker()).frame(frame)
    assert (done.pts, done.time_base, done.duration) == (7, Fraction(1, 25), 1)
    # A grey change of a quarter: 255 / 4 codes of luma, none of chroma.
    assert [plane.flatten().tolist() for plane in done.planes] == [[64] * 24, [128] * 6, [128] * 6]


def test_frames_passes_what_is_no_frame() -> None:
    packets: list[str] = ["sound", "subtitle"]
    assert list(DerainEngine(executor=Darker()).frames(packets)) == packets


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 4, 8, 8),
        torch.zeros(3, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_wrong_tensors_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"\[N, 3, H, W\]"):
        DerainEngine(executor=Darker()).tensor(wrong)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4)])
def test_wrong_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"uint8 \[H, W, 3\]"):
        DerainEngine(executor=Darker()).image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(1, 3, 0, 5), (1, 3, 5, 0), (0, 3, 5, 5)])
def test_pictures_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="must have pixels"):
        DerainEngine(executor=Darker()).tensor(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, "float32"])
def test_another_dtype_names_those_there_are(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match=r"must be one of torch\.float32, .*, got"):
        DerainEngine(SAPNet(), device="cpu", dtype=dtype)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta", ""])
def test_a_missing_device_names_the_ones_there(device: str) -> None:
    with pytest.raises(UsageError, match="cpu"):
        DerainEngine(SAPNet(), device=device)


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_strength_outside_0_to_1_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        DerainEngine(executor=Darker(), strength=strength)


@pytest.mark.parametrize("memory_bytes", [0, -(2**30)])
def test_no_memory_is_no_limit_to_ask_for(memory_bytes: int) -> None:
    with pytest.raises(UsageError, match=r"--memory must be more than 0, got -?[01] GiB"):
        DerainEngine(SAPNet(), memory_bytes=memory_bytes)


def test_a_device_that_runs_out_says_so_in_one_sentence() -> None:
    with pytest.raises(TooLargeError, match="8x5 picture"):
        DerainEngine(executor=Exhausted()).tensor(torch.zeros(1, 3, 5, 8))


def test_the_intraop_threads_are_as_before() -> None:
    threads = torch.get_num_threads()
    test_frame_changes_samples_alone()
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("named", ["sapnet_video", "nowhere.pth"])
def test_the_bundled_network_is_bundled(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPNET_WEIGHTS", named)
    assert DerainEngine(device="cpu").description.startswith("SAPNet, 6 stages")


def test_the_description_names_what_is_in_effect() -> None:
    engine = DerainEngine(SAPNet(), device="cpu", dtype=torch.float32, stages=2)
    assert engine.description.startswith("SAPNet, 2 stages, float32 on cpu")
