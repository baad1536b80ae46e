import csv
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from sapnet_stream.errors import OutputError
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import load_network, save_network
from sapnet_training.data import read_image
from sapnet_training.evaluate import (
    Score,
    derain,
    evaluate,
    main,
    mean,
    paired_files,
    score,
    table,
    write_csv,
)
from sapnet_training.perceptual_similarity import PerceptualSimilarityLoss
from sapnet_training.sheet import write_sheet


def random_image(seed: int, height: int = 40, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def save_image(path: Path, image: Tensor) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> str:
    """RAINY:CLEAN, two pairs each."""
    for number in (1, 2):
        clean = random_image(number)
        save_image(tmp_path / "clean" / f"{number}.png", clean)
        save_image(tmp_path / "rainy" / f"{number}.png", clean // 2 + 60)
    return f"{tmp_path / 'rainy'}:{tmp_path / 'clean'}"


@pytest.fixture
def network() -> SAPNet:
    """It shifts every colour by a little, so that rounding and truncation differ."""
    network = SAPNet().eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(network.conv.get_parameter("0.bias"), 0.6 / 255)
    return network


def test_rounded_and_truncated_output_are_both_scored(network: SAPNet, folders: str) -> None:
    rainy, clean = map(Path, folders.split(":"))
    results = evaluate(network, paired_files(rainy, clean), stages=2)
    assert [result.image for result in results] == ["1", "2"]
    for result in results:
        wet, dry = (read_image(folder / f"{result.image}.png") for folder in (rainy, clean))
        assert result.rainy == result.truncated == score(wet, dry)
        assert result.rounded == score(wet + 1, dry)
        assert result.seconds > 0


def test_output_stays_in_range(network: SAPNet) -> None:
    white = torch.full((3, 12, 12), 255, dtype=torch.uint8)
    assert derain(network, white).max() == 255


def test_scores_are_averaged_in_decibels_and_lpips_only_where_all_have_it() -> None:
    scores = [Score(20.0, 0.5, 10.0, 0.25, 0.5), Score(30.0, 0.7, 12.0, 0.75, 0.25)]
    assert mean(scores) == Score(25.0, 0.6, 11.0, 0.5, 0.375)
    assert mean([scores[0], Score(1, 1, 1, 1)]).lpips is None


def test_rgb_ssim_is_the_mean_of_the_channels() -> None:
    a, b = random_image(0), random_image(1)
    channels = [score(a[i : i + 1].repeat(3, 1, 1), b[i : i + 1].repeat(3, 1, 1)) for i in range(3)]
    assert score(a, b).ssim_rgb == pytest.approx(sum(s.ssim_rgb for s in channels) / 3)


def test_lpips_of_an_image_to_itself_is_zero_and_grows(data_dir: Path) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    metric = PerceptualSimilarityLoss("squeeze", data_dir / "weights")
    clean = read_image(data_dir / "test" / "rain100_clean" / "norain-1.png")[:, :64, :64]
    noise = random_image(0, 64, 64) // 8
    distances = [score(image, clean, metric).lpips for image in (clean, clean // 2 + noise)]
    assert distances[0] == 0
    assert distances[1] is not None and distances[1] > 0.05


def test_command_writes_table_csv_and_sheets(
    network: SAPNet,
    folders: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_network(tmp_path / "w.safetensors", network, {})
    options = ["--data", folders, "--weights", str(tmp_path / "w.safetensors"), "--stages", "1"]
    options += ["--csv", str(tmp_path / "out.csv"), "--sheets", str(tmp_path / "sheets")]
    monkeypatch.setattr(sys, "argv", ["sapnet-eval", *options])
    assert main() == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["1", "2"]
    average = sum(float(row["rounded_psnr_y"]) for row in rows) / 2
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "derained, rounded" in line]
    looked = f"| rainy, every 1, 2 pairs | w.safetensors | {average:.2f} dB / "
    assert "training/test_looks.md" in out and looked in out
    assert float(line.split()[2]) == pytest.approx(average, abs=0.005)
    assert rows[0]["rainy_lpips"] == ""
    sheet = read_image(tmp_path / "sheets" / "2.png")
    assert torch.equal(sheet[:, -40:, -48:], random_image(2))


def test_sheet_has_its_images_side_by_side_under_captions(tmp_path: Path) -> None:
    images = {"one": random_image(0), "two": random_image(1)}
    write_sheet(tmp_path / "new" / "sheet.png", images)
    sheet = read_image(tmp_path / "new" / "sheet.png")
    assert sheet.shape == (3, 56, 100)
    assert torch.equal(sheet[:, 16:, :48], images["one"])
    assert torch.equal(sheet[:, 16:, 52:], images["two"])
    assert (sheet[:, :16] < 128).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "folder"], "--data is RAINY:CLEAN"),
        (["--data", "a:b", "--every", "0"], "--every at least 1"),
        (["--data", "none:none"], "none has no PNG"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["sapnet-eval", *options])
    assert main() != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_an_unwritable_csv_is_one_sentence(folders: str, network: SAPNet, tmp_path: Path) -> None:
    results = evaluate(network, paired_files(*map(Path, folders.split(":"))), stages=1)
    assert "2 pairs" in table(results)
    with pytest.raises(OutputError, match="cannot write"):
        write_csv(tmp_path / "nowhere" / "out.csv", results)


def test_a_published_checkpoint_scores_what_it_scored(data_dir: Path) -> None:
    """The first image of Rain100H; all hundred give 28.05 dB truncated and 28.08 rounded."""
    test = data_dir / "test"
    pairs = paired_files(test / "rain100h_rainy", test / "rain100_clean")[:1]
    network = load_network(data_dir / "weights" / "sapnet" / "sapnet_2021_11.pth")
    (result,) = evaluate(network, pairs)
    assert result.truncated.psnr_y == pytest.approx(31.339, abs=0.005)
    assert result.rounded.psnr_y == pytest.approx(31.547, abs=0.005)
    assert result.truncated.ssim_y == pytest.approx(0.9094, abs=0.0002)
