from pathlib import Path

import pytest
import torch
from PIL import Image

from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.weights import load_network, save_network
from sapnet_training.derainer import Derainer, derain_pairs
from sapnet_training.pairs import Pair


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SAPNet()
    with torch.no_grad():
        network.conv.get_parameter("0.weight").mul_(20)
    save_network(tmp_path / "mine.safetensors", network, {})
    return tmp_path / "mine.safetensors"


def test_it_gives_the_networks_output_in_levels(checkpoint: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8, generator=generator)
    derainer = Derainer(checkpoint, device="cpu", dtype=torch.float32, stages=2)
    with torch.no_grad():
        expected = load_network(checkpoint)(image[None].float() / 255, 2)[0]
    assert expected.min() < 0 or expected.max() > 1, "the test must see the clamp"
    torch.testing.assert_close(derainer(image), expected.clamp(0, 1) * 255, rtol=0, atol=255 * 1e-5)
    assert derainer.name == "mine"
    assert derainer.how.startswith("float32 on cpu")


def test_a_pair_is_derained_by_all(checkpoint: Path, tmp_path: Path) -> None:
    for name, level in (("rainy", 90), ("clean", 60)):
        Image.new("RGB", (12, 12), (level,) * 3).save(tmp_path / f"{name}.png")
    pair = Pair(tmp_path / "rainy.png", tmp_path / "clean.png")
    derainers = [Derainer(checkpoint, stages=1), Derainer(stages=1)]
    (derained,) = derain_pairs(derainers, [pair])
    assert derained.name == "rainy"
    assert derained.clean.min() == derained.clean.max() == 60
    assert list(derained.images()) == ["rainy", "mine", "sapnet"]
    for derainer in derainers:
        torch.testing.assert_close(
            derained.outputs[derainer.name], derainer(derained.rainy), rtol=0, atol=0
        )
        assert derained.images()[derainer.name].dtype == torch.uint8
        assert derained.seconds[derainer.name] > 0
