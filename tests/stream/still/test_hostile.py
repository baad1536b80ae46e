"""Files that cannot be derained are one sentence; targets that must not be lost stay."""

import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import InputError, OutputError, SapnetError, TooLargeError
from sapnet_stream.image import derain_image

Derain = Callable[..., list[str]]
PICTURE = np.random.default_rng(3).integers(0, 256, (17, 23, 3)).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def palette(image: Image.Image) -> Image.Image:
    return image.convert("RGB").quantize(16)


def moving(name: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        frames = [Image.fromarray(np.roll(PICTURE, step, axis=0)) for step in range(3)]
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], **options)
        return folder / name

    return make


def of_mode(mode: str, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(PICTURE).convert(mode).save(folder / name)
        return folder / name

    return make


def bytes_named(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def cut(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(PICTURE).resize((200, 100)).save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:-2000])
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (moving("a.gif"), "3 pictures: convert an animation to a video"),
        (moving("a.webp"), "3 pictures"),
        (moving("a.png"), "3 pictures"),
        (moving("a.tif"), "3 pictures.* pages to a file each"),
        (of_mode("CMYK", "a.jpg"), "CMYK.*convert it to gray or RGB"),
        (of_mode("CMYK", "a.tif"), "CMYK"),
        (of_mode("F", "a.tif"), "32 bits.*mode F"),
        (of_mode("I", "a.tif"), "32 bits"),
        (of_mode("LAB", "a.tif"), "LAB"),
        (bytes_named("a.png", b"this is a diary, not a picture"), "not a PNG"),
        (bytes_named("a.jpg", b"ffconcat version 1.0\nfile /etc/passwd\n"), "not a PNG"),
        (bytes_named("a.png", b""), "is empty"),
        (bytes_named("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a PNG"),
        (cut("a.png"), "damaged"),
        (cut("a.jpg"), "damaged"),
        (cut("a.webp"), "damaged"),
        (cut("a.tif"), "damaged"),
        (cut("a.bmp"), "damaged"),
        (lambda folder: folder / "missing.png", "no such file"),
        (lambda folder: folder / ("x" * 300 + ".png"), "no such file"),
        (lambda folder: folder, "is not a file"),
    ],
)
def test_what_cannot_be_derained_is_one_sentence(
    derain: Derain, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    source = make(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError, match=words) as caught:
        derain(source, tmp_path / "out.png")
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_pipe_is_not_waited_for(derain: Derain, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.png")
    with pytest.raises(InputError, match="is not a file"):
        derain(tmp_path / "in.png", tmp_path / "out.png")


@pytest.mark.parametrize("ending", [".png", ".bmp", ".gif", ".tif"])
def test_a_header_that_promises_too_much_is_refused_before_anything_is_read(
    tmp_path: Path, ending: str, image_of: Any
) -> None:
    source = tmp_path / f"bomb{ending}"
    image_of(3, (100, 100)).convert("P" if ending == ".gif" else "RGB").save(source)
    file = bytearray(source.read_bytes())
    if ending == ".png":
        file[8:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    elif ending == ".bmp":
        struct.pack_into("<ii", file, 18, 100_000, 100_000)
    elif ending == ".gif":
        struct.pack_into("<HH", file, 6, 65_535, 65_535)
    else:
        # Two entries of the directory: the width and height, LONG.
        for tag in (256, 257):
            place = file.index(struct.pack("<HHI", tag, 4, 1))
            struct.pack_into("<I", file, place + 8, 100_000)
    source.write_bytes(file)
    engine = DerainEngine(memory_bytes=2**28, stages=1)
    with pytest.raises(TooLargeError, match=r"100000x100000|65535x65535"):
        derain_image(source, tmp_path / "out.png", engine)
    assert not (tmp_path / "out.png").exists()


def refuse_a_million_pixels(height: int, width: int) -> None:
    if height * width > 1_000_000:
        raise TooLargeError(f"{width}x{height}")


def test_mutated_files_are_read_or_refused(
    tmp_path: Path, adding: Any, image_of: Any, write_deep: Any, exif_with_everything: Any
) -> None:
    image_of(4).save(tmp_path / "a.png", exif=exif_with_everything())
    image_of(3).save(tmp_path / "b.jpg", exif=exif_with_everything(), progressive=True)
    image_of(3).save(tmp_path / "c.tif", exif=exif_with_everything())
    image_of(3).save(tmp_path / "d.webp", exif=exif_with_everything())
    palette(image_of(3)).save(tmp_path / "e.gif")
    image_of(1).save(tmp_path / "f.bmp")
    write_deep(tmp_path / "g.png", "rgb48", "be", "png")
    write_deep(tmp_path / "h.tif", "rgb48", "le", "tiff")
    seeds = [(path.suffix, path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    generator = random.Random(7)
    done, refused = 0, []
    executor = adding()
    # As little memory would.
    executor.check_memory = refuse_a_million_pixels
    engine = DerainEngine(executor=executor)
    for number in range(400):
        ending, content = seeds[number % len(seeds)]
        file = bytearray(content)
        if number % 5 == 0:
            del file[generator.randrange(len(file)) :]
        for _ in range(generator.choice((1, 2, 10))):
            if file:
                file[generator.randrange(len(file))] = generator.choice((0, 255, 85))
        source = tmp_path / f"mutated{ending}"
        source.write_bytes(file)
        try:
            derain_image(source, tmp_path / "out.png", engine, overwrite=True)
            done += 1
        except SapnetError as error:
            refused.append(str(error))
    assert done > 50 and len(refused) > 50
    assert not any("\n" in sentence for sentence in refused)
    assert not list(tmp_path.glob("*partial*"))


def test_the_target_is_checked_before_the_source_is_read(
    derain: Derain, tmp_path: Path, noise: Any, image_of: Any, samples_of: Any
) -> None:
    source = tmp_path / "in.png"
    image_of(3).save(source)
    (tmp_path / "linked.png").hardlink_to(source)
    (tmp_path / "there.png").write_bytes(b"precious")
    (tmp_path / "folder.png").mkdir()
    for name, words in [
        ("in.png", "is the input"),
        ("linked.png", "is the input"),
        ("there.png", "exists: .*--overwrite"),
        ("folder.png", "is a folder"),
        ("none/out.png", "is not a folder"),
        ("out.gif", "names no image that is written"),
        ("out", "names no image"),
        ("out.mp4", "names no image"),
    ]:
        with pytest.raises(OutputError, match=words):
            derain(source, tmp_path / name)
    with pytest.raises(OutputError, match="is the input"):
        derain(source, source, overwrite=True)
    derain(source, tmp_path / "there.png", overwrite=True)
    assert np.array_equal(samples_of(tmp_path / "there.png"), noise(3))
    assert np.array_equal(samples_of(source), noise(3))
    assert not list(tmp_path.glob("*partial*"))


def test_a_picture_a_format_cannot_hold_names_one_that_can(derain: Derain, tmp_path: Path) -> None:
    Image.new("L", (17_000, 1)).save(tmp_path / "in.png")
    with pytest.raises(OutputError, match=r"17000x1 .*name it \.png"):
        derain(tmp_path / "in.png", tmp_path / "out.webp")
    assert sorted(os.listdir(tmp_path)) == ["in.png"]
