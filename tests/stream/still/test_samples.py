"""Still images in, still images out: every sample, alpha and depth."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import InputError, OutputError
from sapnet_stream.image import derain_image

LOSSLESS = (".png", ".tif", ".webp", ".bmp")
# 16-bit formats of FFmpeg, and how many channels they have.
DEEP = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}
Derain = Callable[..., list[str]]


def read_deep(path: Path) -> np.ndarray[Any, Any]:
    """A 16-bit image by FFmpeg's demuxer and decoder."""
    with av.open(str(path)) as container:
        (picture,) = container.decode(video=0)
    name = picture.format.name
    memory = np.frombuffer(memoryview(picture.planes[0]), ">u2" if name[-2:] == "be" else "<u2")
    rows = memory.reshape(picture.height, -1)[:, : DEEP[name[:-2]] * picture.width]
    return rows.reshape(picture.height, picture.width, -1).astype(np.uint16)


def palette(image: Image.Image) -> Image.Image:
    return image.convert("RGB").quantize(16)


def see_through_palette(image: Image.Image) -> Image.Image:
    quantized = palette(image)
    quantized.info["transparency"] = bytes(range(0, 160, 10))
    return quantized


@pytest.mark.parametrize("ending", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(23, 17), (1, 1), (2, 31)])
def test_no_change_is_the_same_samples(
    derain: Derain,
    tmp_path: Path,
    ending: str,
    channels: int,
    size: tuple[int, int],
    noise: Any,
    image_of: Any,
    samples_of: Any,
) -> None:
    source, target = tmp_path / "in.png", tmp_path / f"out{ending}"
    image_of(channels, size).save(source)
    if ending == ".bmp" and channels in (2, 4):
        with pytest.raises(OutputError, match="transparency"):
            derain(source, target)
        return
    assert derain(source, target) == []
    after = samples_of(target)
    if ending == ".webp" and channels < 3:
        gray, *alpha = np.moveaxis(noise(channels, size), 2, 0)
        assert np.array_equal(after, np.dstack((gray, gray, gray, *alpha)))
    else:
        assert np.array_equal(after, np.array(image_of(channels, size)))


@pytest.mark.parametrize(
    ("codec", "order"), [("png", "be"), ("tiff", "le")], ids=["from png", "from tiff"]
)
@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("name", DEEP)
def test_sixteen_bits_stay_sixteen(
    derain: Derain, tmp_path: Path, codec: str, order: str, ending: str, name: str, write_deep: Any
) -> None:
    source = tmp_path / f"in.{codec}"
    before = write_deep(source, name, order, codec)
    if codec == "tiff" and name == "ya16":
        with pytest.raises(InputError):
            derain(source, tmp_path / f"out{ending}")
        return
    derain(source, tmp_path / f"same{ending}")
    derain(source, tmp_path / f"more{ending}", amount=0.01)
    if (name, ending) == ("ya16", ".tif"):
        before = before[..., [0, 0, 0, 1]]
    assert np.array_equal(read_deep(tmp_path / f"same{ending}"), before)
    expected = before.astype(int)
    colours = expected[..., : 3 if before.shape[2] > 2 else 1]
    colours[:] = np.minimum(colours + round(0.01 * 65535), 65535)
    assert np.abs(read_deep(tmp_path / f"more{ending}") - expected).max() <= 1
    for refused in (".jpg", ".webp", ".bmp"):
        with pytest.raises(OutputError, match="16 bits per sample: name it"):
            derain(source, tmp_path / f"out{refused}")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_only_the_change_is_added_and_alpha_stays(
    derain: Derain, tmp_path: Path, channels: int, noise: Any, image_of: Any, samples_of: Any
) -> None:
    image_of(channels).save(tmp_path / "in.png")
    derain(tmp_path / "in.png", tmp_path / "out.png", amount=20 / 255)
    expected = noise(channels).astype(int)
    colours = expected[..., : 3 if channels > 2 else 1]
    colours[:] = np.minimum(colours + 20, 255)
    assert np.array_equal(samples_of(tmp_path / "out.png").reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        (palette, "RGB"),
        (see_through_palette, "RGBA"),
        (lambda image: image.convert("1"), "L"),
        (lambda image: image.convert("LA"), "LA"),
    ],
)
def test_other_ways_to_store_colours_become_plain(
    derain: Derain,
    tmp_path: Path,
    make: Callable[[Image.Image], Image.Image],
    mode: str,
    image_of: Any,
) -> None:
    image = make(image_of(3))
    image.save(tmp_path / "in.png")
    derain(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as after, Image.open(tmp_path / "in.png") as before:
        assert after.mode == mode
        assert np.array_equal(np.array(after), np.array(before.convert(mode)))


def test_a_transparent_colour_becomes_alpha(
    derain: Derain, tmp_path: Path, noise: Any, image_of: Any, samples_of: Any
) -> None:
    key = tuple(int(code) for code in noise(3)[0, 0])
    image_of(3).save(tmp_path / "in.png", transparency=key)
    derain(tmp_path / "in.png", tmp_path / "out.png")
    after = samples_of(tmp_path / "out.png")
    assert np.array_equal(after[..., :3], noise(3))
    assert np.array_equal(after[..., 3] == 0, (noise(3) == key).all(axis=2))


def test_a_gif_of_one_picture_is_read(
    derain: Derain, tmp_path: Path, image_of: Any, samples_of: Any
) -> None:
    palette(image_of(3)).save(tmp_path / "in.gif")
    derain(tmp_path / "in.gif", tmp_path / "out.png")
    with Image.open(tmp_path / "in.gif") as before:
        assert np.array_equal(samples_of(tmp_path / "out.png"), np.array(before.convert("RGB")))


@pytest.mark.parametrize("quality", [60, 80, 92])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_written_the_way_that_loses_least(
    derain: Derain, tmp_path: Path, quality: int, channels: int, samples_of: Any
) -> None:
    ramp = np.indices((48, 64)).sum(axis=0)[..., None] * np.arange(1, channels + 1)
    smooth = (ramp % 200 + 20).astype(np.uint8)
    Image.fromarray(smooth[..., 0] if channels == 1 else smooth).save(
        tmp_path / "in.jpg", quality=quality
    )
    derain(tmp_path / "in.jpg", tmp_path / "out.jpg")
    derain(tmp_path / "in.jpg", tmp_path / "out.png", amount=0.05)
    derain(tmp_path / "in.jpg", tmp_path / "more.jpg", amount=0.05)
    before, after = samples_of(tmp_path / "in.jpg"), samples_of(tmp_path / "out.jpg")
    wanted, got = samples_of(tmp_path / "out.png"), samples_of(tmp_path / "more.jpg")

    def error(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
        return float(np.mean((a.astype(float) - b) ** 2))

    fine = io.BytesIO()
    Image.fromarray(before).save(fine, "JPEG", quality=95, subsampling=0)
    with Image.open(fine) as image:
        assert error(after, before) <= error(np.array(image), before)
    fine = io.BytesIO()
    Image.fromarray(wanted).save(fine, "JPEG", quality=95, subsampling=0)
    with Image.open(fine) as image:
        assert error(got, wanted) <= error(np.array(image), wanted)


@pytest.mark.parametrize("profile", [b"", b"VP8 " * 1500])
def test_a_lossy_webp_stays_lossy_and_others_do_not_become_it(
    derain: Derain, tmp_path: Path, profile: bytes, noise: Any, image_of: Any, samples_of: Any
) -> None:
    image_of(3).save(tmp_path / "lossy.webp", quality=50, icc_profile=profile)
    image_of(3).save(tmp_path / "exact.webp", lossless=True, icc_profile=profile)
    for name in ("lossy", "exact"):
        derain(tmp_path / f"{name}.webp", tmp_path / f"{name}_out.webp")
        lossless = b"VP8L" in (tmp_path / f"{name}_out.webp").read_bytes()
        assert lossless == (name == "exact")
    assert np.array_equal(samples_of(tmp_path / "exact_out.webp"), noise(3))


def test_colours_under_full_transparency_stay(
    derain: Derain, tmp_path: Path, noise: Any, samples_of: Any
) -> None:
    samples = noise(4)
    samples[..., 3] = 0
    Image.fromarray(samples).save(tmp_path / "in.png")
    for ending in (".png", ".webp", ".tif"):
        derain(tmp_path / "in.png", tmp_path / f"out{ending}")
        assert np.array_equal(samples_of(tmp_path / f"out{ending}"), samples)


def test_alpha_is_refused_where_it_cannot_be_unless_it_hides_nothing(
    derain: Derain, tmp_path: Path, noise: Any, image_of: Any, samples_of: Any
) -> None:
    image_of(4).save(tmp_path / "in.png")
    samples = noise(4)
    samples[..., 3] = 255
    Image.fromarray(samples).save(tmp_path / "opaque.png")
    for ending in (".jpg", ".jpeg", ".bmp"):
        with pytest.raises(OutputError, match="transparency: name it"):
            derain(tmp_path / "in.png", tmp_path / f"out{ending}")
        derain(tmp_path / "opaque.png", tmp_path / f"opaque{ending}")
    assert np.array_equal(samples_of(tmp_path / "opaque.bmp"), samples[..., :3])


def test_the_real_network_derains_a_photograph(
    data_dir: Path, tmp_path: Path, samples_of: Any
) -> None:
    rainy = sorted((data_dir / "test" / "rain100l_rainy").iterdir())[3]
    clean = data_dir / "test" / "rain100_clean" / rainy.name
    with Image.open(rainy) as image, Image.open(clean) as truth:
        box = (0, 0, 160, 120)
        image.crop(box).save(tmp_path / "in.png")
        dry = np.array(truth.convert("RGB").crop(box)).astype(float)
    derain_image(tmp_path / "in.png", tmp_path / "out.png", DerainEngine())
    wet, done = (samples_of(tmp_path / name)[..., :3] for name in ("in.png", "out.png"))
    assert np.mean((done - dry) ** 2) < 0.6 * np.mean((wet - dry) ** 2)
