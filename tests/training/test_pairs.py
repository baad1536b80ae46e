from pathlib import Path

import pytest
from PIL import Image

from sapnet_stream.errors import InputError
from sapnet_training.pairs import Pair, find_pairs, pair_names, read_pair


def draw(root: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name)


LAYOUTS = {
    "RainTrainH and L": {"rain-1.png": "norain-1.png", "rain-10.png": "norain-10.png"},
    "Rain100H": {"rainy/rain-001.png": "norain-001.png"},
    "Rain100H again": {"rain/X2/norain-001x2.png": "norain/norain-001.png"},
    "RainTrainH again": {"rain/norain-1x2.png": "norain/norain-1.png"},
    "Rain12": {"rainy/001_in.png": "GT/001_GT.png"},
    "Rain12 in one folder": {"001_in.png": "001_GT.png"},
    "Rain1400": {
        f"rainy_image/{n}_{k}.jpg": f"ground_truth/{n}.jpg" for n in (1, 901) for k in (1, 14)
    },
    "Rain13K": {"input/7.jpg": "target/7.jpg"},
    "SPA-data's test": {"rain/000.png": "gt/000gt.png"},
    "NTURain": {f"{video}_Rain/1.jpg": f"{video}_GT/1.jpg" for video in ("a1", "b1")},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_downloaded_layout_is_paired(layout: str, tmp_path: Path) -> None:
    names = LAYOUTS[layout]
    draw(tmp_path, *names, *names.values())
    pairs = find_pairs(".", tmp_path)
    assert {
        (p.rainy.relative_to(tmp_path).as_posix(), p.clean.relative_to(tmp_path).as_posix())
        for p in pairs
    } == set(names.items())


def test_a_list_of_spa_data_is_read_from_its_folder_on(tmp_path: Path) -> None:
    draw(tmp_path, "real_world/001/a.png", "real_world/001/b.png", "real_world_gt/001.png")
    rows = [f"/real_world/001/{n}.png /real_world_gt/001.png" for n in "ab"]
    (tmp_path / "real_world.txt").write_text("\n".join(rows))
    (tmp_path / "License.txt").write_text("Do what you like with it.\n")
    assert [pair.rainy.name for pair in find_pairs(".", tmp_path)] == ["a.png", "b.png"]
    (tmp_path / "real_world/001/b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png is in .*real_world\.txt and does not exist"):
        find_pairs(".", tmp_path)


@pytest.mark.parametrize("rainy_half", [0, 1])
def test_the_brighter_half_of_rain800_is_the_rainy_one(tmp_path: Path, rainy_half: int) -> None:
    for number in range(5):
        halves = [Image.new("RGB", (6, 8), (v, v, v)) for v in (90 + number, 60)]
        both = Image.new("RGB", (12, 8))
        both.paste(halves[rainy_half], (0, 0))
        both.paste(halves[1 - rainy_half], (6, 0))
        both.save(tmp_path / f"{number}.png")
    pairs = find_pairs("halves:.", tmp_path)
    assert len(pairs) == 5
    both_images = read_pair(pairs[0])
    assert both_images.shape == (6, 8, 6)
    assert both_images[:3].float().mean() == 90
    assert both_images[3:].float().mean() == 60


def test_two_folders_of_any_names(tmp_path: Path) -> None:
    draw(tmp_path, "a1_Rain/00001.jpg", "a1_GT/00001.jpg")
    (pair,) = find_pairs("a1_Rain:a1_GT", tmp_path)
    assert pair.rainy.parent.name == "a1_Rain"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rain-1.png", "rain-2.png", "norain-1.png"], r"rain-2\.png has no clean twin"),
        (["rain/1.png", "gt/1.png", "gt/2.png"], r"gt.2\.png has no rainy twin"),
        (["rain/1.png", "gt/1.png", "gt/1gt.png"], r"gt.1.*\.png has no rainy twin"),
        (["1.png", "2.png"], "no layout that is known"),
        (["a1_Rain/1.png"], "a1_GT is no folder of images"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    draw(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(".", tmp_path)


def test_pairs_of_two_sizes_and_odd_halves_are_named(tmp_path: Path) -> None:
    draw(tmp_path, "rain-1.png")
    draw(tmp_path, "norain-1.png", size=(8, 9))
    with pytest.raises(InputError, match=r"rain-1\.png and .*norain-1\.png differ in size"):
        read_pair(find_pairs(".", tmp_path)[0])
    draw(tmp_path, "odd/1.png", size=(7, 8))
    with pytest.raises(InputError, match=r"1\.png is 7 pixels wide"):
        find_pairs("halves:odd", tmp_path)


def test_names_tell_pairs_apart() -> None:
    def names(*rainy: str) -> list[str]:
        return pair_names([Pair(Path(name), Path("clean.png")) for name in rainy])

    assert names("rain/1.png", "rain/2.png") == ["1", "2"]
    assert names("a1_Rain/1.jpg", "a2_Rain/1.jpg") == ["a1_Rain/1", "a2_Rain/1"]
    assert names("rain/1.png", "rain/1.jpg") == ["1.png", "1.jpg"]
    assert names("list/../wet/1.png", "list/1.png") == ["wet/1", "list/1"]
