"""A folder in, a folder out: which files, in which order, and what happens when one fails."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sapnet_stream.errors import (
    InputError,
    OutputError,
    SapnetError,
    TooLargeError,
    UsageError,
    WeightsError,
)
from sapnet_stream.folder import FolderReport, derain_folder, plan_folder

Make = Callable[..., Path]
Derain = Callable[..., Any]


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"rain in " + os.fsencode(name))
    return folder


class Work:
    """Stands in for deraining: copies, or fails for some names."""

    def __init__(self, **failures: SapnetError | KeyboardInterrupt) -> None:
        self.failures = failures
        self.images: list[str] = []
        self.videos: list[str] = []
        self.said: list[str] = []
        self.failed: list[tuple[str, int]] = []

    def run(self, source: Path, target: Path, **settings: bool) -> FolderReport:
        return derain_folder(
            plan_folder(source, target),
            lambda *paths: self._do(self.images, *paths),
            lambda *paths: self._do(self.videos, *paths),
            lambda number, total, path: self.said.append(f"{number}/{total} {path.name}"),
            lambda text, status: self.failed.append((text, status)),
            **settings,
        )

    def _do(self, names: list[str], source: Path, target: Path) -> None:
        names.append(source.name)
        if source.stem in self.failures:
            raise self.failures[source.stem]
        target.write_bytes(source.read_bytes())


def test_files_are_sorted_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    names = ["img10.png", "img9.png", "Img1.png", "b2c10.jpg", "b2c9.jpg", "10.tif", "9.tif"]
    names += ["a.mp4", "x².png"]
    source = fill(tmp_path / "in", *names)
    work = Work()
    report = work.run(source, tmp_path / "out")
    assert work.images[:4] == ["9.tif", "10.tif", "b2c9.jpg", "b2c10.jpg"]
    assert work.images[4:] == ["Img1.png", "img9.png", "img10.png", "x².png"]
    assert work.videos == ["a.mp4"]
    assert work.said[:2] == ["1/9 9.tif", "2/9 10.tif"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(names)
    assert (report.done, report.failed, report.exit_code) == (9, 0, 0)
    assert str(report) == "9 done, 0 failed"


def test_what_is_passed_over_is_named_with_the_reason(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "a.PNG", "notes.txt", ".hidden.png", "noending", "b.MOV")
    fill(source / "inner.png", "deep.png")
    os.mkfifo(source / "pipe.mp4")
    plan = plan_folder(source, tmp_path / "out")
    assert [(item.source.name, item.target.name, item.kind) for item in plan.items] == [
        ("a.PNG", "a.PNG", "image"),
        ("b.MOV", "b.MOV", "video"),
    ]
    folders, others = plan.notes
    assert "inner.png" in folders and "folder" in folders
    assert all(name in others for name in ("notes.txt", "noending", "pipe.mp4"))
    assert "hidden" not in folders + others


def test_read_only_endings_become_others_and_this_is_said_once(tmp_path: Path) -> None:
    source = fill(
        tmp_path / "in", "a.avi", "b.TS", "c.gif", "d.mp4", *(f"{n}.wmv" for n in range(9))
    )
    plan = plan_folder(source, tmp_path / "out")
    targets = {item.source.name: item.target.name for item in plan.items}
    assert (
        targets["a.avi"] == "a.mkv" and targets["b.TS"] == "b.mkv" and targets["8.wmv"] == "8.mkv"
    )
    assert targets["c.gif"] == "c.png" and targets["d.mp4"] == "d.mp4"
    gifs, videos = plan.notes
    assert gifs == "written as .png, for such files are read only: c.gif"
    assert ".mkv" in videos and videos.endswith(" and 6 more")


@pytest.mark.parametrize("names", [("a.avi", "a.mkv"), ("a.avi", "a.ts"), ("a.gif", "a.png")])
def test_two_sources_of_one_target_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    source = fill(tmp_path / "in", *names)
    with pytest.raises(UsageError, match=f"{names[0]} and {names[1]} would both be written as"):
        plan_folder(source, tmp_path / "out")


def test_a_file_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "1.png", "2.mp4", "3.png", "4.mkv", "5.jpg")
    broken = InputError("3.png is damaged")
    broken.add_note("in stage decode")
    work = Work(**{"2": TooLargeError("too large"), "3": broken})
    report = work.run(source, tmp_path / "out")
    assert (report.done, report.failed, report.exit_code) == (3, 2, 6)
    assert work.failed == [("too large", 6), ("3.png is damaged (in stage decode)", 3)]
    assert sorted(os.listdir(tmp_path / "out")) == ["1.png", "4.mkv", "5.jpg"]


def test_what_is_no_mistake_of_the_user_ends_the_job(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "1.png", "2.mp4", "3.png")
    work = Work(**{"2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        work.run(source, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["1.png"]


def test_finished_outputs_are_refused_skipped_or_replaced(tmp_path: Path) -> None:
    source, out = fill(tmp_path / "in", "1.png", "2.mp4", "3.avi"), tmp_path / "out"
    Work(**{"2": WeightsError("no weights")}).run(source, out)
    (out / "1.png").write_bytes(b"precious")
    work = Work()
    with pytest.raises(OutputError, match=r"2 of 3 outputs exist .*1\.png first: add --resume"):
        work.run(source, out)
    assert not work.images + work.videos
    report = work.run(source, out, resume=True)
    assert (work.images, work.videos) == ([], ["2.mp4"]) and work.said == ["2/3 2.mp4"]
    assert str(report) == "2 were done before, 1 done, 0 failed"
    assert (out / "1.png").read_bytes() == b"precious"
    Work().run(source, out, overwrite=True)
    assert (out / "1.png").read_bytes() == b"rain in 1.png"


def test_outputs_that_were_replaced_before_a_stop_are_not_again(tmp_path: Path) -> None:
    source, out = fill(tmp_path / "in", "1.png", "2.mp4", "3.png"), tmp_path / "out"
    Work().run(source, out)
    (out / "1.png").rename(tmp_path / "real.png")
    (out / "1.png").symlink_to(tmp_path / "real.png")
    for old in (*out.iterdir(), tmp_path / "real.png"):
        os.utime(old, (0, 0), follow_symlinks=False)
    with pytest.raises(KeyboardInterrupt):
        Work(**{"2": KeyboardInterrupt()}).run(source, out, overwrite=True)
    # File systems tell moments apart, but not all of them.
    os.utime(out / ".overwriting", (1, 1))
    work = Work(**{"3": InputError("3.png is damaged")})
    report = work.run(source, out, overwrite=True, resume=True)
    assert (work.images, work.videos, report.skipped) == (["3.png"], ["2.mp4"], 1)
    work = Work()
    assert str(work.run(source, out, overwrite=True, resume=True)).startswith("2 were done before")
    assert work.images == ["3.png"] and sorted(os.listdir(out)) == ["1.png", "2.mp4", "3.png"]
    # Done is done: from here on it is another job.
    assert Work().run(source, out, overwrite=True, resume=True).done == 3
    # And without --resume all is begun anew.
    Work(**{"2": InputError("2.mp4 is damaged")}).run(source, out, overwrite=True)
    os.utime(out / ".overwriting", (1, 1))
    assert Work().run(source, out, overwrite=True).done == 3


def test_what_a_death_left_is_told_and_tidied(
    make_clip: Make, derain: Derain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = fill(tmp_path / "in", "1.png"), tmp_path / "out"
    make_clip("2.mkv").rename(source / "2.mkv")

    def run(*, resume: bool = False) -> FolderReport:
        def video(source: Path, target: Path) -> None:
            derain(source, target, resume=resume)

        plan, silent = plan_folder(source, out), lambda *_: None
        return derain_folder(plan, silent, video, silent, silent, resume=resume)

    monkeypatch.setattr("sapnet_stream.derain.remove", lambda _: os.listdir("/no such folder"))
    with pytest.raises(FileNotFoundError):
        run()
    monkeypatch.undo()
    (out / "2.mkv").rename(tmp_path / "elsewhere.mkv")
    assert os.listdir(out) == ["2.mkv.parts"]
    with pytest.raises(OutputError, match=r"1 of 2 outputs exist or are begun, .*: add --resume "):
        run()
    (tmp_path / "elsewhere.mkv").rename(out / "2.mkv")
    assert run(resume=True).failed == 0 and os.listdir(out) == ["2.mkv"]


def test_folders_that_cannot_be_are_one_sentence(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "1.png")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "same").symlink_to(source)
    for target, words in [
        (source, "is the input"),
        (tmp_path / "same", "is the input"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "none" / "out", "cannot be created: No such"),
    ]:
        with pytest.raises(OutputError, match=words):
            Work().run(source, target)
    for name in ("out.mp4", "out.PNG"):
        with pytest.raises(InputError, match=f"is a folder and .*{name} names a file"):
            plan_folder(source, tmp_path / name)
    empty = fill(tmp_path / "empty", "notes.txt")
    with pytest.raises(InputError, match="no image or video"):
        plan_folder(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_output_may_be_inside_the_input(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "1.png")
    for _ in range(2):
        report = Work().run(source, source / "derained", overwrite=True)
        assert report.done == 1
    assert os.listdir(source / "derained") == ["1.png"]
