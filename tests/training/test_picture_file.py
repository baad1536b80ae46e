from pathlib import Path

import pytest
from PIL import Image

from sapnet_stream.errors import OutputError
from sapnet_training.picture_file import save_picture


def test_it_makes_the_folder_and_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    for shade in (10, 20):
        save_picture(Image.new("L", (3, 2), shade), path)
    with Image.open(path) as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((3, 2), 20)


@pytest.mark.parametrize("name", ["a.xyz", "a", "file/a.png"])
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=f"cannot write {tmp_path / name}: "):
        save_picture(Image.new("L", (1, 1)), tmp_path / name)
