"""A link that is named as the output: what it names is written, and the link stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import OutputError
from sapnet_stream.image import derain_image
from tests.stream.conftest import Constant

Make = Callable[..., Path]
Derain = Callable[..., Any]


@pytest.fixture
def link(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes a link, in one folder, to a file in another."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()

    def make(name: str) -> Path:
        path = tmp_path / "here" / name
        path.symlink_to(f"../there/{name}")
        path.write_text("old")
        return path

    return make


def test_a_video_is_written_through_a_link(
    make_clip: Make, read_clip: Callable[[Path], Any], derain: Derain, link: Callable[[str], Path]
) -> None:
    source, target = make_clip("in.mkv"), link("out.mkv")
    with pytest.raises(OutputError, match=r"there/out.mkv exists"):
        derain(source, target)
    derain(source, target, overwrite=True)
    assert target.is_symlink()
    assert len(read_clip(target.resolve()).times) == 12
    for folder in (target.parent, target.resolve().parent):
        assert [path.name for path in folder.iterdir()] == ["out.mkv"]


def test_an_image_is_written_through_a_link(tmp_path: Path, link: Callable[[str], Path]) -> None:
    source, target = tmp_path / "in.png", link("out.png")
    Image.new("RGB", (32, 24)).save(source)
    derain_image(source, target, DerainEngine(executor=Constant()), overwrite=True)
    assert target.is_symlink()
    assert Image.open(target.resolve()).size == (32, 24)
    for folder in (target.parent, target.resolve().parent):
        assert [path.name for path in folder.iterdir()] == ["out.png"]


def test_a_link_to_nothing_is_refused(make_clip: Make, derain: Derain, tmp_path: Path) -> None:
    source, target = make_clip("in.mkv"), tmp_path / "out.mkv"
    target.symlink_to("nowhere.mkv")
    with pytest.raises(OutputError, match=r"out.mkv is a link to nothing"):
        derain(source, target, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}
