from pathlib import Path

import pytest
import torch
from torch import Tensor

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_training.data import read_image
from sapnet_training.segmentation import Segmentation, StreetSegmenter, TorchvisionSegmenter

ROAD, SKY, CAR = 0, 10, 13


class ThreeClasses:
    classes = 3

    def __call__(self, image: Tensor) -> Tensor:
        return image[0].long() % 3


TASK = Segmentation(ThreeClasses())


def test_mean_iou_of_a_known_map() -> None:
    clean, labels = torch.tensor([[0, 0], [1, 1]]), torch.tensor([[0, 1], [1, 1]])
    assert TASK.compare(labels, clean).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert TASK.score([TASK.compare(labels, clean)]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert TASK.score([TASK.compare(clean, clean)]) == 1


def test_a_class_that_only_the_rain_shows_costs_the_others() -> None:
    clean, labels = torch.tensor([[0, 0]]), torch.tensor([[0, 2]])
    assert TASK.score([TASK.compare(labels, clean)]) == 0.5


def test_pixels_of_all_images_are_summed() -> None:
    good = TASK.compare(torch.tensor([[0, 0, 0]]), torch.tensor([[0, 0, 0]]))
    bad = TASK.compare(torch.tensor([[1]]), torch.tensor([[0]]))
    assert TASK.score([good, bad]) == 3 / 4


def test_map_is_drawn_over_the_image() -> None:
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)
    drawn = TASK.draw(image, torch.tensor([[0, 1]]))
    assert drawn.shape == image.shape
    assert torch.equal(drawn[:, :, 0], drawn[:, :, 2])
    assert not torch.equal(drawn[:, :, 0], drawn[:, :, 3])


def test_espnet_sees_road_sky_and_car_in_a_known_image(data_dir: Path) -> None:
    segment = StreetSegmenter(data_dir / "weights" / "espnet" / "espnet_p_2_q_8.pth")
    labels = segment(read_image(data_dir / "test" / "rain100_clean" / "norain-34.png"))
    assert labels.shape == (680, 1024)
    # By eye on the picture of 321 x 481: asphalt below the car, sky, the white car's body.
    for label, (top, bottom, left, right) in {
        ROAD: (260, 315, 200, 400),
        SKY: (2, 25, 150, 250),
        CAR: (190, 240, 170, 310),
    }.items():
        part = labels[
            top * 680 // 321 : bottom * 680 // 321, left * 1024 // 481 : right * 1024 // 481
        ]
        assert (part == label).float().mean() > 0.7, label


def test_another_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("nothing")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name, message in {
        "none": "there is no file",
        "text": "not a checkpoint of ESPNet: it has no tensors",
        "other": r"of ESPNet: \d+ tensors differ in name or shape, encoder",
    }.items():
        with pytest.raises(WeightsError, match=message) as refused:
            StreetSegmenter(tmp_path / f"{name}.pth")
        assert len(str(refused.value)) < 400


def test_a_segmentation_network_of_torchvision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Random weights where torchvision keeps its downloads, their bias set to see class 7."""
    models = pytest.importorskip("torchvision", reason="the package that has it").models
    name = "lraspp_mobilenet_v3_large"
    model = models.get_model(name, weights=None, weights_backbone=None)
    model.classifier.low_classifier.bias.data[7] = 1e4
    file = Path(models.get_model_weights(name).DEFAULT.url).name
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), tmp_path / "hub" / "checkpoints" / file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    segment = TorchvisionSegmenter(name)
    labels = segment(torch.zeros(3, 40, 60, dtype=torch.uint8))
    assert segment.classes == 21
    assert labels.shape == (520, 780)
    assert labels.min() == labels.max() == 7


def test_an_unknown_model_of_torchvision_is_one_sentence() -> None:
    pytest.importorskip("torchvision", reason="the package that knows them")
    with pytest.raises(UsageError, match=r"resnet18 is neither .* lraspp"):
        TorchvisionSegmenter("resnet18")
