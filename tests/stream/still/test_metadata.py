"""All that an image file says beside its samples."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from sapnet_stream.engine import DerainEngine
from sapnet_stream.image import derain_image

ORIENTATION = 0x0112
Derain = Callable[..., list[str]]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    place, found = 8, []
    while place < len(file):
        length, kind = struct.unpack_from(">I4s", file, place)
        found.append((kind, file[place + 8 : place + 8 + length]))
        place += length + 12
    return found


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("orientation", range(9))
def test_the_network_sees_the_picture_upright(
    tmp_path: Path,
    ending: str,
    orientation: int,
    adding: Any,
    image_of: Any,
    exif_with_everything: Any,
) -> None:
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    options: dict[str, Any] = {"lossless": True} if ending == ".webp" else {}
    image_of(3).resize((46, 34)).save(source, exif=exif_with_everything(orientation), **options)
    with Image.open(source) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    # Only the upper half changes, as it is seen.
    amount = torch.zeros(1, 3, *upright.shape[:2])
    amount[:, :, : upright.shape[0] // 2] = 0.2
    executor = adding(amount)
    derain_image(source, target, DerainEngine(executor=executor))
    seen = (executor.seen[0] * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(seen, upright)
    with Image.open(target) as image:
        # Pillow reads a TIFF's tag when it opens it, and turns the picture when it loads it.
        assert image.getexif().get(ORIENTATION) == orientation
        after = np.array(ImageOps.exif_transpose(image)).astype(int)
    assert after.shape == upright.shape
    slack = 60 if ending == ".jpg" else 0
    expected = np.minimum(upright[: len(upright) // 2].astype(int) + 51, 255)
    assert np.abs(after[: len(upright) // 2] - expected).max() <= slack
    assert np.abs(after[len(upright) // 2 :] - upright[len(upright) // 2 :]).max() <= slack


@pytest.mark.parametrize("orientation", range(2, 9))
def test_what_holds_no_orientation_is_written_upright(
    derain: Derain,
    tmp_path: Path,
    orientation: int,
    image_of: Any,
    exif_with_everything: Any,
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.bmp"
    image_of(3).save(source, exif=exif_with_everything(orientation), dpi=(300, 72))
    with Image.open(source) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    (warning,) = derain(source, target)
    assert "cannot hold EXIF" in warning
    with Image.open(target) as image:
        assert np.array_equal(np.array(image), upright)
        dots = [300, 72] if orientation < 5 else [72, 300]
        assert [round(float(number)) for number in image.info["dpi"]] == dots


def test_exif_too_long_for_a_jpeg_leaves_it_upright(
    derain: Derain, tmp_path: Path, image_of: Any, exif_with_everything: Any
) -> None:
    exif = exif_with_everything(6)
    exif[0x010E] = "x" * 70_000
    image_of(3).save(tmp_path / "in.png", exif=exif)
    (warning,) = derain(tmp_path / "in.png", tmp_path / "out.jpg")
    assert "cannot hold EXIF" in warning
    with Image.open(tmp_path / "out.jpg") as image:
        assert ImageOps.exif_transpose(image).size == image.size == (17, 23)


@pytest.mark.parametrize("to", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("source", [".png", ".tif", ".webp", ".jpg"])
def test_metadata_is_kept_from_any_format_to_any(
    derain: Derain, tmp_path: Path, source: str, to: str, image_of: Any, exif_with_everything: Any
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif, xmp = exif_with_everything(6), b"<x:xmpmeta>rain</x:xmpmeta>"
    options: dict[str, Any] = {"exif": exif, "icc_profile": profile, "dpi": (300, 72)}
    if source == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = text
    elif source == ".tif":
        # Pillow writes only those directories that it has read.
        exif[700] = xmp
        options["exif"] = exif.tobytes()
    else:
        options["xmp"] = xmp
    image_of(3).save(tmp_path / f"in{source}", **options)
    warnings = derain(tmp_path / f"in{source}", tmp_path / f"out{to}")
    with Image.open(tmp_path / f"out{to}") as after:
        after.load()
        written = after.getexif()
        assert written[0x010F] == "Camera & Sons"
        assert written.get_ifd(0x8769)[0x9003] == "2021:06:01 12:00:00"
        assert written.get_ifd(0x8769)[0x927C] == b"notes"
        assert tuple(map(float, written.get_ifd(0x8825)[2])) == (51.0, 30.0, 26.5)
        assert after.info["icc_profile"] == profile
        assert xmp in (after.info.get("xmp") or b"")
        if to == ".webp" and source != ".webp":
            assert any("the resolution" in warning for warning in warnings)
        elif source != ".webp":
            assert [round(float(dots)) for dots in after.info["dpi"]] == [300, 72]
    with Image.open(tmp_path / f"out{to}") as after:
        assert after.getexif()[ORIENTATION] == 6


def test_a_png_keeps_its_chunks_byte_for_byte(
    derain: Derain, tmp_path: Path, image_of: Any
) -> None:
    image_of(3).save(tmp_path / "plain.png")
    file = (tmp_path / "plain.png").read_bytes()
    said = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", struct.pack(">8I", *range(31270, 31278))),
        (b"cICP", bytes((9, 16, 0, 1))),
        (b"pHYs", struct.pack(">IIB", 3, 4, 0)),
        (b"tIME", struct.pack(">HBBBBB", 2021, 6, 1, 12, 0, 0)),
        (b"tEXt", b"Author\0Zheng"),
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"rain")),
        (b"iTXt", "Title\0\0\0de\0Titel\0Größe".encode()),
        (b"teSt", b"private and safe to copy"),
    ]
    dropped = [(b"teSX", b"private, and bound to the pixels"), (b"sBIT", b"\x05\x05\x05")]
    extra = b"".join(chunk(*each) for each in [*said, *dropped])
    (tmp_path / "in.png").write_bytes(file[:33] + extra + file[33:])
    assert derain(tmp_path / "in.png", tmp_path / "out.png", amount=0.1) == []
    after = chunks((tmp_path / "out.png").read_bytes())
    assert [each for each in after if each[0] not in (b"IHDR", b"IDAT", b"IEND")] == said
    warnings = derain(tmp_path / "in.png", tmp_path / "out.jpg")
    assert len(warnings) == 1 and "colour tags, text of the PNG" in warnings[0]


@pytest.mark.parametrize("to", [".jpg", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ([(b"cICP", bytes((9, 16, 0, 1)))], True),
        ([(b"cICP", bytes((1, 13, 0, 1))), (b"gAMA", struct.pack(">I", 100_000))], False),
        ([(b"gAMA", struct.pack(">I", 100_000))], True),
        ([(b"gAMA", struct.pack(">I", 45455))], False),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45460))], False),
        ([(b"cHRM", struct.pack(">8I", *range(31270, 31278)))], True),
        ([(b"cLLI", struct.pack(">II", 10_000_000, 4_000_000))], True),
    ],
)
def test_colours_other_than_srgb_are_named_where_they_are_lost(
    derain: Derain,
    tmp_path: Path,
    to: str,
    tags: list[tuple[bytes, bytes]],
    named: bool,
    image_of: Any,
) -> None:
    image_of(3).save(tmp_path / "in.png")
    file = (tmp_path / "in.png").read_bytes()
    extra = b"".join(chunk(*each) for each in tags)
    (tmp_path / "in.png").write_bytes(file[:33] + extra + file[33:])
    warnings = derain(tmp_path / "in.png", tmp_path / f"out{to}")
    assert any("cannot hold colour tags" in warning for warning in warnings) == named


def test_a_jpeg_keeps_exif_to_the_byte_but_not_its_thumbnail(
    derain: Derain, tmp_path: Path, image_of: Any, exif_with_everything: Any
) -> None:
    exif = exif_with_everything(3).tobytes()
    # A second directory behind the first: of one entry, an offset to a small JPEG.
    structure = bytearray(exif[6:])
    count = struct.unpack_from(">H" if structure[:2] == b"MM" else "<H", structure, 8)[0]
    order = ">" if structure[:2] == b"MM" else "<"
    struct.pack_into(f"{order}I", structure, 10 + 12 * count, len(structure))
    structure += struct.pack(f"{order}HHHII", 1, 0x0201, 4, 1, 64) + bytes(4)
    image_of(3).save(
        tmp_path / "in.jpg",
        exif=b"Exif\0\0" + bytes(structure),
        comment=b"spring",
        extra=b"\xff\xed" + struct.pack(">H", 18) + b"Photoshop 3.0\0xx",
    )
    derain(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as after:
        assert after.info["comment"] == b"spring"
        assert ("APP13", b"Photoshop 3.0\0xx") in after.applist  # type: ignore[attr-defined]
        kept = after.info["exif"][6:]
        assert after.getexif().get_ifd(0x8825)[1] == "N"
        assert not after.getexif().get_ifd(1)
    place = 10 + 12 * count
    assert kept == bytes(structure[:place] + bytes(4) + structure[place + 4 :])


def test_extended_xmp_is_kept_or_named(derain: Derain, tmp_path: Path, image_of: Any) -> None:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32
    parts = [head + struct.pack(">II", 8, 4 * number) + b"rain" for number in range(2)]
    extra = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    image_of(3).save(tmp_path / "in.jpg", extra=extra, xmp=b"<x:xmpmeta>rain</x:xmpmeta>")
    assert derain(tmp_path / "in.jpg", tmp_path / "out.jpg") == []
    with Image.open(tmp_path / "out.jpg") as after:
        segments = [body for name, body in after.applist if name == "APP1"]  # type: ignore[attr-defined]
        assert after.info["xmp"] == b"<x:xmpmeta>rain</x:xmpmeta>"
    assert segments[1:] == parts
    (warning,) = derain(tmp_path / "in.jpg", tmp_path / "out.png")
    assert "cannot hold extended XMP" in warning


def test_damaged_exif_is_said_and_left_out(
    derain: Derain, tmp_path: Path, image_of: Any, samples_of: Any
) -> None:
    image_of(3).save(tmp_path / "in.jpg", exif=b"Exif\0\0II*\0\xff\xff\0\0")
    (warning, *_) = derain(tmp_path / "in.jpg", tmp_path / "out.tif")
    assert "EXIF" in warning
    assert samples_of(tmp_path / "out.tif").shape == (17, 23, 3)


@pytest.mark.parametrize("to", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("exif", [b"garbage!", b"II*\0\xff\xff\0\0"])
@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_damaged_exif_is_no_damaged_picture(
    derain: Derain,
    tmp_path: Path,
    ending: str,
    exif: bytes,
    to: str,
    image_of: Any,
    samples_of: Any,
) -> None:
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{to}"
    options: dict[str, Any] = {"lossless": True} if ending == ".webp" else {}
    image_of(3).save(source, exif=exif, **options)
    warnings = derain(source, target)
    kept = ending == to == ".png"
    fate = "only a PNG keeps it" if ending == ".png" else "it was left out"
    # Pillow may say something of its own.
    assert f"{source}: its EXIF is damaged: {fate}" in warnings
    assert np.array_equal(samples_of(target), samples_of(source))
    assert (exif in target.read_bytes()) == kept
