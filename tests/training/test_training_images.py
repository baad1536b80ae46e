from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sapnet_stream.errors import InputError, UsageError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_training.data import read_image
from sapnet_training.image_config import ImageConfig
from sapnet_training.scenes import SAME_SHARE, Scenes
from sapnet_training.store import Store
from sapnet_training.training_images import (
    Patches,
    TrainingImages,
    read_training_images,
    validates,
)
from sapnet_training.validation import Validation

DRIZZLE: dict[str, Any] = {"masks": "", "rain": {"drizzle": 1.0}}
HELD_OUT = [name for n in range(60) if validates(name := f"{n}.png")][:2]


def test_held_out_scenes_are_no_training_scenes(data_dir: Path) -> None:
    data = read_training_images(ImageConfig(pairs=0.1), data_dir, 64)
    assert len(data.photographs) + len(data.held_out) == 409
    assert len(data.held_out) == sum(
        validates(path.name) for path in (data_dir / "train" / "bsds_clean_409").iterdir()
    )
    assert len(data.pairs) == 17  # norain-7.png is a photograph that is held out
    validated = Scenes(list(data.held_out))
    assert not any(pair[3:] in validated for pair in data.pairs)
    trained = {image.numpy().tobytes() for image in data.photographs}
    assert not trained & {image.numpy().tobytes() for image in data.held_out}
    assert "383 photographs and 17 pairs" in data.summary()


def test_pairs_are_cut_at_one_place_and_mirrored_together(images: TrainingImages) -> None:
    rainy = images.pairs[0][:3]
    same = TrainingImages([], [torch.cat((rainy, rainy))], [], None)
    first, second = Patches(same).pairs(8, 16, torch.Generator().manual_seed(0))
    assert torch.equal(first, second)
    assert len({patch.numpy().tobytes() for patch in first}) > 4


def test_patches_are_parts_of_the_photographs_mirrored_or_not() -> None:
    image = torch.arange(3 * 16 * 16).remainder(251).to(torch.uint8).view(3, 16, 16)
    patches = Patches(TrainingImages([image], [], [], None))
    batch = patches.photographs(16, 16, torch.Generator().manual_seed(0))
    mirrored = sum(torch.equal(patch, image.flip(2).float() / 255) for patch in batch)
    assert 0 < mirrored < 16
    assert mirrored + sum(torch.equal(patch, image.float() / 255) for patch in batch) == 16


def test_a_store_reads_again_what_does_not_fit() -> None:
    read: list[int] = []

    def reader(value: int) -> torch.Tensor:
        read.append(value)
        return torch.full((3, 2, 2), value, dtype=torch.uint8)

    store = Store(range(5), reader, 30)
    assert (store.held, store.held_bytes, len(store)) == (2, 24, 5)
    assert read == [0, 1, 2]
    assert [int(image.max()) for image in store] == [0, 1, 2, 3, 4]
    assert read == [0, 1, 2, 2, 3, 4]
    assert int(store[-1].max()) == 4
    assert [int(image.max()) for image in store[1:3]] == [1, 2]


def test_a_store_leaves_out_what_is_not_wanted() -> None:
    def reader(value: int) -> torch.Tensor:
        return torch.full((3, 2, 2), value, dtype=torch.uint8)

    store = Store(range(6), reader, 30, lambda image: int(image.max()) % 2 == 1)
    assert [int(image.max()) for image in store] == [0, 2, 4]
    assert store.unwanted == 3


def test_test_scenes_are_found_by_content(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "test" / "rain100_clean"
    paths = sorted(folder.iterdir())[:30]
    tests = Scenes([read_image(path) for path in paths])
    for path in paths[:5]:
        with Image.open(path) as picture:
            picture.convert("RGB").save(tmp_path / "again.jpg", quality=60)
            edges = (2, 2, picture.width - 2, picture.height - 2)
            picture.convert("RGB").crop(edges).save(tmp_path / "cut.png")
        assert read_image(tmp_path / "again.jpg") in tests
        assert read_image(tmp_path / "cut.png") in tests
        assert read_image(path).flip(2) in tests
    others = sorted((data_dir / "train" / "bsds_clean_409").iterdir())[:60]
    nearest = [tests.nearest(read_image(path)) for path in others]
    assert min(nearest) > SAME_SHARE
    assert torch.zeros(3, 20, 20, dtype=torch.uint8) not in Scenes([])


def test_a_recipe_leaves_its_test_scenes_out(data_dir: Path, tmp_path: Path) -> None:
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
    paths = sorted((data_dir / "train" / "bsds_clean_409").iterdir())[:6]
    for path in paths:
        (tmp_path / "train" / path.name).symlink_to(path)
    for name in HELD_OUT:
        Image.effect_noise((80, 80), 60).save(tmp_path / "train" / name)
    wanted = [path for path in paths if not validates(path.name)]
    (tmp_path / "test" / "another_name.jpg").symlink_to(wanted[0])
    (tmp_path / "test" / "held_out.png").symlink_to(tmp_path / "train" / HELD_OUT[0])
    config = ImageConfig(photographs=("train",), leave_out=("test",), **DRIZZLE)
    data = read_training_images(config, tmp_path, 64)
    assert len(data.photographs) == len(wanted) - 1
    assert len(data.held_out) == len(paths) - len(wanted) + 1
    assert "1 left out for showing a scene of a test" in data.summary()


def test_a_picture_smaller_than_a_patch_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (40, 60)).save(tmp_path / "small.png")
    config = ImageConfig(photographs=(".",), **DRIZZLE)
    with pytest.raises(InputError, match=r"small\.png is 40x60, smaller than .* 48 pixels"):
        read_training_images(config, tmp_path, 48)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A few pictures of a user's own; one is held out."""
    (tmp_path / "own").mkdir()
    for name in ("a.png", "b.png", HELD_OUT[0]):
        Image.effect_noise((60, 50), 60).save(tmp_path / "own" / name)
    return tmp_path


OWN = ImageConfig(photographs=("own",), **DRIZZLE)


def test_pairs_that_nothing_is_drawn_from_need_not_be_there(own: Path) -> None:
    assert len(read_training_images(OWN, own, 48).pairs) == 0
    with pytest.raises(InputError, match="raintrainh_18pairs"):
        read_training_images(replace(OWN, pairs=0.1), own, 48)


def test_held_out_photographs_of_any_size_validate(own: Path) -> None:
    Image.effect_noise((200, 150), 60).save(own / "own" / HELD_OUT[1])
    pictures = Validation(read_training_images(OWN, own, 48)).pictures(SAPNet(), 1)
    assert {tuple(picture.shape) for picture in pictures.values()} == {(3, 50, 50)}


def test_rain_that_needs_masks_is_not_scored_without(own: Path) -> None:
    scores = Validation(read_training_images(OWN, own, 48)).scores(SAPNet(), 1)
    assert list(scores) == ["dry", "drizzle", "heavy", "score"]


@pytest.mark.parametrize("gone", ["a.png b.png", HELD_OUT[0]])
def test_too_few_photographs_are_one_sentence(own: Path, gone: str) -> None:
    for name in gone.split():
        (own / "own" / name).unlink()
    with pytest.raises(InputError, match="of the photographs in own none is left"):
        read_training_images(OWN, own, 48)


def test_pairs_of_test_scenes_alone_are_one_sentence(own: Path) -> None:
    recipe = replace(OWN, pairs=0.1, pair_sets=("test:test",), leave_out=("test",))
    (own / "test").mkdir()
    Image.linear_gradient("L").save(own / "test" / "1.png")
    with pytest.raises(InputError, match="all pairs of test:test show scenes of tests"):
        read_training_images(recipe, own, 48)


def test_pairs_need_a_set() -> None:
    with pytest.raises(UsageError, match="pair_sets"):
        ImageConfig(pairs=0.1, pair_sets=())
