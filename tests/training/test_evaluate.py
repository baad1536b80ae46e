import csv
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import OutputError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import save_network
from sapnet_training.data import read_image
from sapnet_training.derainer import Derainer
from sapnet_training.evaluate import chosen_pairs, evaluate, main
from sapnet_training.scores import Scores
from sapnet_training.sheet import write_sheet
from sapnet_training.table import markdown, write_csv


def random_image(seed: int, height: int = 40, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def save_image(path: Path, image: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> str:
    """RAINY:CLEAN, three pairs, the one in the middle of another size."""
    for number, width in ((1, 48), (2, 40), (3, 48)):
        clean = random_image(number, width=width)
        save_image(tmp_path / "clean" / f"{number}.png", clean)
        save_image(tmp_path / "rainy" / f"{number}.png", clean // 2 + 60)
    return f"{tmp_path / 'rainy'}:{tmp_path / 'clean'}"


@pytest.fixture
def weights(tmp_path: Path) -> list[str]:
    """Two networks that shift every colour, by one level and by two."""
    paths = []
    for levels in (1, 2):
        network = SAPNet()
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.constant_(network.conv.get_parameter("0.bias"), levels / 255)
        paths.append(str(tmp_path / f"plus{levels}.safetensors"))
        save_network(Path(paths[-1]), network, {})
    return paths


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sapnet-eval", *options])
    return main()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_command_compares_networks_in_one_table(
    folders: str,
    weights: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--data", folders, "--weights", *weights, "--stages", "1", "--dtype", "float32"]
    options += ["--csv", str(tmp_path / "out"), "--sheets", str(tmp_path / "sheets")]
    assert run(monkeypatch, *options) == 0
    rows = read_csv(tmp_path / "out" / "scores.csv")
    assert len(rows) == 3 * 5
    assert [row["image"] for row in rows[::5]] == ["2", "1", "3"], "one size after the other"
    text = capsys.readouterr().out
    assert text.startswith("3 pairs, float32 on cpu")
    for method in ("rainy", "plus1, rounded", "plus2, truncated"):
        own = [float(row["psnr_y"]) for row in rows if row["method"] == method]
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {method} ")]
        assert float(line.split("|")[2]) == pytest.approx(sum(own) / 3, abs=0.006)
    look = text.splitlines()[-1]
    assert look.startswith("| 20") and "| rainy, every 1, 3 pairs | plus1, plus2 | rainy " in look
    assert rows[0]["lpips"] == "" and rows[0]["seconds"] == ""
    sheet = read_image(tmp_path / "sheets" / "scores" / "1.png")
    assert torch.equal(sheet[:, -40:, -48:], random_image(1))
    derained = random_image(1) // 2 + 61
    assert torch.equal(sheet[:, -40:, 52:100], derained)


def test_command_scores_lpips(
    data_dir: Path,
    folders: str,
    weights: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    options = ["--data", folders, "--weights", weights[0], "--stages", "1", "--lpips", "squeeze"]
    options += ["--backbone-weights", str(data_dir / "weights"), "--csv", str(tmp_path)]
    assert run(monkeypatch, *options) == 0
    rows = read_csv(tmp_path / "scores.csv")
    mean = sum(float(row["lpips"]) for row in rows[::3]) / 3
    assert mean > 0.001
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("| rainy ")]
    assert float(line.split("|")[6]) == pytest.approx(mean, abs=6e-5)
    assert "LPIPS stands on local weights" in text


def test_command_asks_vision_networks(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An image that is clean already agrees with itself."""
    pytest.importorskip("onnxruntime", reason="the package that runs the detector")
    image = read_image(data_dir / "test" / "rain100_clean" / "norain-34.png")
    save_image(tmp_path / "clean" / "34.png", image)
    models = data_dir / "weights"
    options = ["--data", f"{tmp_path / 'clean'}:{tmp_path / 'clean'}", "--stages", "1", "--task"]
    options += [f"detection={models / 'fastestdet' / 'FastestDet.onnx'}"]
    options += [f"segmentation={models / 'espnet' / 'espnet_p_2_q_8.pth'}"]
    assert run(monkeypatch, *options, "--csv", str(tmp_path)) == 0
    text = capsys.readouterr().out
    assert text.index("AP50") < text.index("mIoU")
    for name in ("detection", "segmentation"):
        (row,) = read_csv(tmp_path / f"{name}.csv")
        assert row["rainy"] == "1.0000"
        assert float(row["sapnet"]) > 0.5


def test_images_of_several_videos_have_names_of_their_own(
    weights: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for video in ("a1", "a2"):
        for kind in ("Rain", "GT"):
            save_image(tmp_path / "nturain" / f"{video}_{kind}" / "00001.jpg", random_image(1))
    options = ["--data", str(tmp_path / "nturain"), "--weights", weights[0], "--stages", "1"]
    options += ["--csv", str(tmp_path), "--sheets", str(tmp_path / "sheets")]
    assert run(monkeypatch, *options) == 0
    names = [row["image"] for row in read_csv(tmp_path / "scores.csv")]
    assert names[::3] == ["a1_Rain/00001", "a2_Rain/00001"]
    assert len(list((tmp_path / "sheets").rglob("*.png"))) == 2


def test_of_a_video_network_it_is_said_that_it_remembers_nothing(
    folders: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--data", folders, "--weights", "sapnet_video", "--every", "3") == 0
    assert "| sapnet_video, single images, rounded " in capsys.readouterr().out


def test_every_nth_pair(folders: str) -> None:
    assert [pair.rainy.stem for pair in chosen_pairs(folders, 2)] == ["1", "3"]


def test_sheet_has_its_images_side_by_side_under_captions(tmp_path: Path) -> None:
    images = {"one": random_image(0), "two": random_image(1)}
    write_sheet(tmp_path / "new" / "sheet.png", images)
    sheet = read_image(tmp_path / "new" / "sheet.png")
    assert sheet.shape == (3, 56, 100)
    assert torch.equal(sheet[:, 16:, :48], images["one"])
    assert torch.equal(sheet[:, 16:, 52:], images["two"])
    assert (sheet[:, :16] < 128).any()


def test_table_is_markdown_in_columns(tmp_path: Path) -> None:
    text = markdown(("", "dB"), [("rainy", "9.50"), ("net", "10.25")])
    lines = ["|       |    dB |", "| ----- | ----: |", "| rainy |  9.50 |", "| net   | 10.25 |"]
    assert text.splitlines() == lines
    write_csv(tmp_path / "new" / "x.csv", ("a", "b", "c"), [("one, two", 0.123456, None)])
    assert (tmp_path / "new" / "x.csv").read_text() == 'a,b,c\n"one, two",0.1235,\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "folder"], "folder is no folder of images"),
        (["--data", ""], "'' names no pairs: give a folder, or RAINY:CLEAN"),
        (["--data", "folder:"], "'folder:' names no pairs"),
        (["--data", "a:b", "--every", "0"], "--every must be at least 1"),
        (["--data", "PAIRS", "--task", "smell"], "--task smell is none of pixels, detection"),
        (["--data", "PAIRS", "--task", "pixels=x"], "--task pixels=x is none of"),
        (["--data", "PAIRS", "--weights", "sapnet", "sapnet"], "told apart by their names"),
        (["--data", "PAIRS", "--weights", "nowhere.pth"], "no weights at nowhere.pth"),
        (["--data", "PAIRS", "--stages", "7"], "stages must be 1 to 6"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str],
    message: str,
    folders: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *(folders if option == "PAIRS" else option for option in options)) != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("folder", ["rainy", "clean"])
def test_a_file_that_is_no_image_is_named(
    folder: str,
    folders: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / folder / "2.png").write_bytes(b"no picture")
    assert run(monkeypatch, "--data", folders, "--stages", "1") == 3
    message = f"error: cannot read the image {tmp_path / folder / '2.png'}"
    assert message in capsys.readouterr().err


def test_images_smaller_than_the_window_are_one_sentence(
    folders: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("rainy", "clean"):
        Image.new("RGB", (30, 9)).save(tmp_path / folder / "2.png")
    assert run(monkeypatch, "--data", folders, "--stages", "1") == 3
    assert "SSIM needs images of 11 pixels and more, one is 30x9" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_said_before_images_are_derained(
    folders: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "clean" / "2.png").write_bytes(b"nobody reads it")
    (tmp_path / "file").touch()
    for option in ("--csv", "--sheets"):
        assert run(monkeypatch, "--data", folders, option, str(tmp_path / "file")) == 4
        assert "cannot make the folder" in capsys.readouterr().err


def test_an_unwritable_csv_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_csv(tmp_path / "file" / "out.csv", ("a",), [])


def test_a_published_checkpoint_scores_what_it_scored(data_dir: Path) -> None:
    """The first image of Rain100H; all hundred give 28.05 dB truncated and 28.08 rounded."""
    test = data_dir / "test"
    pairs = chosen_pairs(f"{test / 'rain100h_rainy'}:{test / 'rain100_clean'}", 100)
    weights = data_dir / "weights" / "sapnet" / "sapnet_2021_11.pth"
    scores = Scores()
    evaluate([scores], [Derainer(weights, device="cpu", dtype=torch.float32)], pairs)
    _, rounded, truncated = scores.results
    assert truncated.score.psnr_y == pytest.approx(31.339, abs=0.005)
    assert rounded.score.psnr_y == pytest.approx(31.547, abs=0.005)
    assert truncated.score.ssim_y == pytest.approx(0.9094, abs=0.0002)
