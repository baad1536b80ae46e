"""Image files of every kind that people have: read right, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_stream.errors import InputError
from sapnet_training.data import check_consecutive, image_files, image_size, read_image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_eight_bits_of_any_kind_are_read(mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), torch.full((3, 4, 5), 255).byte())


def test_deep_grey_does_not_become_white_unsaid(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png has grey of more than 8 bits: convert"):
        read_image(tmp_path / "deep.png")


def test_a_huge_image_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (50, 50)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"cannot read the image .*huge\.png"):
            read(tmp_path / "huge.png")


def test_what_is_no_folder_of_images_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    for name in ("clip.mp4", "nowhere"):
        with pytest.raises(InputError, match=f"{name} is no folder of images .* name one"):
            image_files(tmp_path / name)
    with pytest.raises(InputError, match="has no PNG or JPEG images"):
        image_files(tmp_path)


@pytest.mark.parametrize("names", ["1 2 3", "f5 f10 f15", "0 33 67 100", "a b", "r-1x2 r-2x2"])
def test_frames_of_a_regular_stride_are_consecutive(names: str) -> None:
    check_consecutive([Path(f"{name}.png") for name in names.split()])


@pytest.mark.parametrize("names", ["1 2 4", "a_1 a_2 b_1 b_2", "5 10 15 25"])
def test_gaps_between_frames_are_told(names: str) -> None:
    files = [Path(f"{name}.png") for name in names.split()]
    with pytest.raises(InputError, match=r"\.png does not follow .*: give consecutive frames"):
        check_consecutive(files)
