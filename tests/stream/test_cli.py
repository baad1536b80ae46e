"""The command: what it says, what it exits with, and that every option arrives."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sapnet_stream
from sapnet_stream import cli
from sapnet_stream.engine import DerainEngine

Make = Callable[..., Path]
Read = Callable[[Path], Any]
COMMAND = [sys.executable, "-m", "sapnet_stream"]


class Brighter:
    """Stands in for the network: adds 0.08 to every sample."""

    name = "brighter"

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + 0.08

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command inside this process, with a stand-in for the network."""

    def engine(_: object, *, strength: float = 1.0, **settings: Any) -> DerainEngine:
        asked.update(settings, strength=strength)
        return DerainEngine(executor=Brighter(), strength=strength)

    def command(*arguments: str | Path) -> int:
        return cli.main([str(argument) for argument in arguments])

    asked: dict[str, Any] = {}
    monkeypatch.setattr(cli, "DerainEngine", engine)
    command.asked = asked  # type: ignore[attr-defined]
    return command


def test_help_fits_a_screen_and_names_every_option() -> None:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPROFILEIMPORTTIME": "1"}
    shown = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, env=environment
    )
    # What live streams alone need takes its time to load.
    assert "sapnet_stream.cli" in shown.stderr and "prometheus_client" not in shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("usage: sapnet-stream ")
    assert len(lines) <= 40 and max(map(len, lines)) <= 80
    options = {line.split()[0] for line in lines if line.startswith("  --")}
    assert options == {
        *("--start", "--duration", "--strength", "--compare", "--stages", "--device", "--dtype"),
        *("--memory", "--weights", "--codec", "--crf", "--preset", "--overwrite", "--quiet"),
        *("--resume", "--keep-partial", "--preview", "--progress", "--version"),
        *("--deinterlace", "--pix-fmt", "--encoder-option", "--model", "--hwaccel"),
    }


def test_the_encoder_gets_what_was_asked_for(
    run: Callable[..., int],
    make_clip: Make,
    read_clip: Read,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clip, out = make_clip("in.mkv", noise=False), tmp_path / "out.mp4"
    wishes = ["--codec", "h264", "--pix-fmt", "yuv444p", "--deinterlace"]
    options = ["--encoder-option", "tune=film", "--encoder-option", "g=5"]
    assert run(*wishes, *options, clip, out) == 0
    said = capfd.readouterr().err
    assert "libx264 yuv444p " in said and " tune=film g=5" in said
    assert read_clip(out).tags["format"] == "yuv444p"


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--encoder-option", "tune"], 2, "'tune' is not of the form option=value"),
        (["--codec", "h264", "--encoder-option", "tunne=film"], 2, "no option 'tunne'"),
        (["--codec", "h264", "--pix-fmt", "rgb24"], 2, "choose from yuv420p, "),
        (["--codec", "divx"], 2, "--codec must be one of h264, "),
    ],
)
def test_what_no_encoder_has_is_one_sentence(
    run: Callable[..., int],
    make_clip: Make,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    reason: str,
) -> None:
    assert run(*arguments, make_clip("in.mkv"), tmp_path / "out.mp4") == status
    said = capfd.readouterr().err
    assert reason in said and "Traceback" not in said
    assert not (tmp_path / "out.mp4").exists()


def test_the_real_network_derains_a_clip(make_clip: Make, read_clip: Read, tmp_path: Path) -> None:
    clip = make_clip("in.mp4", "libx264", noise=False, ticks=range(6))
    out = tmp_path / "out.mp4"
    done = subprocess.run(
        [*COMMAND, "--model", "sapnet", "--stages", "1", "--dtype", "float32", clip, out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    # Off a terminal: plain lines, among them what is in effect and an estimate.
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert "h264 64x48 yuv420p 25 frames/s" in done.stderr
    assert re.search(r"1 stages?, float32 on cpu", done.stderr)
    assert re.search("libx264 yuv420p .*crf=18 preset=medium", done.stderr)
    assert re.search(r"about \d+ s for 6 frames at [\d.]+ frames/s", done.stderr)
    assert re.search(r"out.mp4: 6 frames in \d+ s, [\d.]+ frames/s", done.stderr)
    assert len(read_clip(out).times) == 6


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1"])
def test_quiet_says_nothing_with_any_codec(make_clip: Make, tmp_path: Path, codec: str) -> None:
    clip = make_clip("in.mkv", noise=False, ticks=range(3))
    script = (
        "import sys, torch; from sapnet_stream import cli; torch.set_num_threads(1);"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    arguments: list[Any] = [clip, tmp_path / "out.mkv", "--quiet", "--codec", codec]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_options_of_the_network_arrive(
    run: Any, make_clip: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = "--stages 2 --device cpu --dtype bfloat16 --memory 1.5 --strength 0.25"
    assert run(*options.split(), make_clip(), tmp_path / "out.mkv") == 0
    assert run.asked == {
        "stages": 2,
        "device": "cpu",
        "dtype": torch.bfloat16,
        "memory_bytes": 3 * 2**29,
        "strength": 0.25,
    }
    assert "strength 0.25" in capfd.readouterr().err


def test_options_of_the_file_arrive(
    run: Any, make_clip: Make, read_clip: Read, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip("in.mkv", ticks=range(50), noise=False)
    out = tmp_path / "out.mkv"
    part = ["--start", "0.4", "--duration", "0.8", "--compare", "side"]
    quality = ["--codec", "hevc", "--crf", "33", "--preset", "ultrafast"]
    assert run(clip, out, *part, *quality) == 0
    after = read_clip(out)
    assert (len(after.times), after.tags["size"], after.tags["video"]) == (20, (128, 48), "hevc")
    said = capfd.readouterr().err
    assert "crf=33 preset=ultrafast" in said
    assert run(clip, out) == 4
    assert "--overwrite" in capfd.readouterr().err
    assert run(clip, out, "--overwrite", "--quiet") == 0
    assert capfd.readouterr().err == ""
    assert len(read_clip(out).times) == 50


def test_weights_are_taken_from_the_option_and_the_environment(
    make_clip: Make, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, wrong = make_clip(), tmp_path / "wrong.safetensors"
    wrong.write_text("no weights")
    assert cli.main([str(clip), str(tmp_path / "out.mkv"), "--weights", str(wrong)]) == 5
    assert "wrong.safetensors is not a safetensors file" in capfd.readouterr().err
    monkeypatch.setenv("SAPNET_WEIGHTS", "nowhere.pth")
    assert cli.main([str(clip), str(tmp_path / "out.mkv")]) == 5
    assert "no weights at nowhere.pth" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["only-one.mp4"],
        ["in.mkv", "out.mkv", "third.mkv"],
        ["in.mkv", "out.mkv", "--unknown"],
        ["in.mkv", "out.mkv", "--over"],
        ["in.mkv", "out.mkv", "--start", "soon"],
        ["in.mkv", "out.mkv", "--start", "nan"],
        ["in.mkv", "out.mkv", "--start", "-1"],
        ["in.mkv", "out.mkv", "--start", "900"],
        ["in.mkv", "out.mkv", "--duration", "0"],
        ["in.mkv", "out.mkv", "--duration", "inf"],
        ["in.mkv", "out.mkv", "--strength", "1.5"],
        ["in.mkv", "out.mkv", "--strength", "nan"],
        ["in.mkv", "out.mkv", "--stages", "0"],
        ["in.mkv", "out.mkv", "--stages", "7"],
        ["in.mkv", "out.mkv", "--stages", "two"],
        ["in.mkv", "out.mkv", "--device", "cuda:99"],
        ["in.mkv", "out.mkv", "--device", "toaster"],
        ["in.mkv", "out.mkv", "--dtype", "int4"],
        ["in.mkv", "out.mkv", "--memory", "nan"],
        ["in.mkv", "out.mkv", "--memory", "inf"],
        ["in.mkv", "out.mkv", "--compare", "top"],
        ["in.mkv", "out.mkv", "--codec", "mpeg2"],
        ["in.mkv", "out.mkv", "--crf", "99"],
        ["in.mkv", "out.mkv", "--crf", "20"],
        ["doctor", "--now"],
    ],
)
def test_wrong_usage_is_one_sentence_and_status_two(
    make_clip: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    make_clip("in.mkv")
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.startswith("sapnet-stream: ")
    assert said.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["in.mkv"]


def test_other_mistakes_have_their_own_status(
    make_clip: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, out = make_clip(), tmp_path / "out.mkv"
    for status, *arguments in [
        (3, "missing.mp4", out),
        (3, "x" * 300 + ".mp4", out),
        (3, tmp_path, out),
        (4, clip, tmp_path / "none" / "out.mkv"),
        (4, clip, clip, "--overwrite"),
        (6, clip, out, "--memory", "0.000001"),
    ]:
        assert cli.main([str(a) for a in arguments]) == status, arguments
        assert capfd.readouterr().err.count("\n") == 1
    out.write_text("precious")
    assert cli.main([str(clip), str(out)]) == 4 and out.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["out.mkv", "rainy.mkv"]


@pytest.mark.parametrize(
    "name",
    [
        "with space.mkv",
        "quote'and\"quote.mkv",
        "new\nline.mkv",
        "-dash.mkv",
        "a:b.mkv",
        "concat:a|b.mkv",
        "http:x.mkv",
        "[red]rain[1].mkv",
        ":smile:.mkv",
        "100%d.mkv",
        "Regen ☔ 雨.mkv",
        "bytes\udcff.mkv",
        "UPPER.MKV",
    ],
)
def test_any_name_is_only_a_name(
    run: Any,
    make_clip: Make,
    read_clip: Read,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    make_clip("plain.mkv").rename(tmp_path / name)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    target = name if name.startswith("-") else f"sub/{name}"
    arguments = ["--", name, f"out{target}"] if target == name else [name, target]
    assert run(*arguments) == 0
    assert len(read_clip(Path(arguments[-1])).times) == 12
    if name.isprintable():
        assert f"{name}: 12 frames in" in capfd.readouterr().err


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capfd.readouterr().out == f"sapnet-stream {sapnet_stream.__version__}\n"
