"""Scores of video networks, and the static-camera benchmark they stand on."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.networks import save_network
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import load_video_network
from sapnet_training import static_camera
from sapnet_training.evaluate import main
from sapnet_training.metrics import luma, psnr
from sapnet_training.static_camera import StaticClip, digest, static_clip
from sapnet_training.video_derainer import derainer, median_of
from sapnet_training.video_scores import flickers, static_scores


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """Weights that change nothing."""
    network = SAPNetVideo()
    torch.nn.init.zeros_(network.conv.weight)
    bias = network.conv.bias
    assert bias is not None
    torch.nn.init.zeros_(bias)
    with torch.no_grad():
        bias[12:16] = 20.0
    path = tmp_path / "idle.safetensors"
    save_network(path, network, {})
    return path


def frames(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 200, (count, 3, 40, 56), dtype=torch.uint8, generator=generator)


def write(folder: Path, images: Tensor) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def clip() -> StaticClip:
    return static_clip(1)


def test_the_static_benchmark_is_the_one_that_was_measured(clip: StaticClip) -> None:
    assert digest(clip) == static_camera.DIGESTS[1]
    error = static_camera.luma_error(clip.rainy[::6], clip.scene[::6]).mean().item()
    assert 10 * torch.tensor(255**2 / error).log10() == pytest.approx(24, abs=0.5)
    assert clip.covered.any(1).any(1).sum() == 18
    assert not clip.covered[:19].any()


def test_a_median_is_scored_where_no_object_is(clip: StaticClip) -> None:
    part = StaticClip(clip.rainy[:40:2], clip.scene[:40:2], clip.covered[:40:2])
    same = static_scores(part, part.scene)
    assert all(record["psnr"] == float("inf") for record in same)
    assert "trail" in same[-1]
    assert "trail" not in same[0]
    assert static_scores(part, median_of(15)(part.rainy))[8]["psnr"] > 38


def test_flicker_is_what_changes_less_what_the_camera_moves() -> None:
    base = frames(1)[0]
    base = torch.nn.functional.interpolate(base[None].float(), (240, 336), mode="bicubic")[0]
    base = base.clamp(0, 255).to(torch.uint8)
    pan = [base[:, :, 4 * t : 4 * t + 300] for t in range(4)]
    brighter = [image + (3 if t % 2 else 0) for t, image in enumerate(pan)]
    steady = list(flickers(pan, pan))
    assert len(steady) == 3
    assert max(steady) < 1
    assert min(flickers(brighter, pan)) > 2


def test_a_folder_is_scored_frame_by_frame(
    tmp_path: Path, idle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = frames(4)
    rainy = clean.clone()
    rainy[:, :, ::8] += 30
    data = f"{write(tmp_path / 'rainy', rainy)}:{write(tmp_path / 'clean', clean)}"
    arguments = ["x", "video", "--weights", str(idle), "--data", data, "--first", "2", "--forget"]
    arguments += ["--csv", str(tmp_path / "out.csv"), "--chart", str(tmp_path / "chart.png")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--sheets", str(tmp_path / "sheets")])
    assert main() == 0
    want = f"{psnr(luma(rainy[1]), luma(clean[1])):.4g}"
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    names = [line.split("|")[1].strip() for line in table]
    assert names[1:5] == ["-" * len("idle, no memory"), "rainy", "idle", "idle, no memory"]
    assert all(want in line for line in table[2:5])
    seconds = [cell.strip() for cell in table[0].split("|")].index("seconds")
    assert [line.split("|")[seconds].strip() != "" for line in table[2:5]] == [False, True, True]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("frame,rainy psnr,rainy ssim,rainy flicker,idle seconds,")
    assert len(list((tmp_path / "sheets").iterdir())) == 4
    with Image.open(tmp_path / "chart.png") as chart:
        assert len(chart.convert("RGB").getcolors(1 << 16) or ()) > 2


def test_networks_without_a_memory_are_scored_beside(
    tmp_path: Path, idle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write(tmp_path / "rainy", frames(3)))
    weights = ["--weights", "sapnet", str(idle), "--medians", "2"]
    arguments = ["x", "video", *weights, "--data", data, "--first", "1", "--last", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 0
    said = capsys.readouterr().out
    assert said.startswith("frames 1 to 2\n")
    for name in ("rainy", "median of 2", "sapnet", "idle"):
        assert f"| {name} " in said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--static", "--data", "a:b"],
        ["--data", "nowhere"],
        ["--data", ""],
        ["--data", ":nowhere"],
        ["--data", "nowhere", "--chart", "x.png"],
        ["--weights", "nowhere", "--static"],
        ["--weights", "sapnet", "sapnet", "--static"],
        ["--static", "--last", "3"],
        ["--static", "--medians", "0"],
        ["--static", "--first", "49"],
        ["--data", "nowhere", "--first", "0"],
        ["--data", "nowhere", "--last", "0"],
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "video", *arguments])
    assert main() in (2, 3, 5)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("option", ["--csv", "--chart"])
def test_a_file_that_cannot_be_made_is_said_before_frames_are_derained(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ["--data", "nowhere:neither", option, str(tmp_path / "file" / "x")]
    monkeypatch.setattr(sys, "argv", ["x", "video", *arguments])
    assert main() == 4
    assert "cannot make the folder" in capsys.readouterr().err


def test_a_table_of_no_frames_is_refused_before_frames_are_derained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_bytes(b"nobody reads it")
    monkeypatch.setattr(sys, "argv", ["x", "video", "--data", str(tmp_path)])
    assert main() == 2
    assert "begins at frame 9 and there are 1: give --first 1 to 1" in capsys.readouterr().err


def test_a_gap_between_frames_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "rainy", frames(4))
    (folder / "001.png").unlink()
    monkeypatch.setattr(sys, "argv", ["x", "video", "--data", str(folder), "--first", "1"])
    assert main() == 3
    assert "002.png does not follow 000.png" in capsys.readouterr().err


def test_without_its_memory_a_network_knows_no_past(idle: Path) -> None:
    network = load_video_network(idle)
    bias = network.conv.bias
    assert bias is not None
    with torch.no_grad():
        bias[12:16] = 0.0
    rainy = frames(1)[0].repeat(3, 1, 1, 1)
    rainy[2] += 40
    assert not torch.equal(list(derainer(network)(rainy))[2], rainy[2])
    assert torch.equal(list(derainer(network, forget=True)(rainy))[2], rainy[2])
