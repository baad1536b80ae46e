import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_training.data import read_image
from sapnet_training.detection import (
    CONFIDENT,
    FAINT,
    Detection,
    Detections,
    FastestDet,
    TorchvisionDetector,
    intersection_over_union,
    suppressed,
)

CAR, DOG = 2, 16


def detections(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    boxes, scores, classes = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes).float().view(-1, 4), torch.tensor(scores).float(), torch.tensor(classes)
    )


class NoDetector:
    def __call__(self, image: Tensor) -> Detections:
        raise AssertionError(image.shape)


TASK = Detection(NoDetector())
LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
TRUTH = detections((LEFT, 0.9, CAR), (RIGHT, 0.6, DOG), ((50.0, 50.0, 60.0, 60.0), 0.3, CAR))


def test_overlap_of_boxes() -> None:
    boxes = torch.tensor([LEFT, RIGHT, (5.0, 0.0, 15.0, 10.0)])
    expected = torch.tensor([[1, 0, 1 / 3], [0, 1, 0], [1 / 3, 0, 1]])
    torch.testing.assert_close(intersection_over_union(boxes, boxes), expected)


def test_weaker_boxes_in_one_place_are_suppressed() -> None:
    shifted = (1.0, 0.0, 11.0, 10.0)
    found = suppressed(
        detections((shifted, 0.5, CAR), (RIGHT, 0.4, CAR), (LEFT, 0.8, CAR)), overlap=0.5
    )
    assert found.scores.tolist() == pytest.approx([0.8, 0.4])


def test_only_confident_boxes_of_the_clean_image_are_true() -> None:
    assert TASK.compare(TRUTH, TRUTH).truths == 2


def test_a_clean_image_agrees_with_itself() -> None:
    assert TASK.score([TASK.compare(TRUTH, TRUTH)]) == 1


def test_average_precision_of_a_known_ranking() -> None:
    found = detections(
        (LEFT, 0.9, CAR),
        ((1.0, 0.0, 11.0, 10.0), 0.8, CAR),  # the same car again
        (RIGHT, 0.7, CAR),  # the dog, taken for a car
        (RIGHT, 0.6, DOG),
    )
    matches = TASK.compare(found, TRUTH)
    assert matches.hits.tolist() == [True, False, False, True]
    # Precision is 1 at half the recall and 2/4 at all of it.
    assert TASK.score([matches]) == pytest.approx((1 + 0.5) / 2)


def test_images_share_one_ranking() -> None:
    sure = TASK.compare(detections((LEFT, 0.9, CAR), (RIGHT, 0.9, DOG)), TRUTH)
    wrong = TASK.compare(detections((RIGHT, 0.95, CAR)), TRUTH)
    assert TASK.score([sure, wrong]) == pytest.approx(2 / 3 * 2 / 4)


def test_nothing_found_and_nothing_true() -> None:
    none = detections()
    assert TASK.score([TASK.compare(none, TRUTH)]) == 0
    assert math.isnan(TASK.score([TASK.compare(TRUTH, none)]))


def test_boxes_are_drawn_inside_the_image() -> None:
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    drawn = TASK.draw(image, detections(((-5.0, 4.0, 12.0, 40.0), CONFIDENT, CAR)))
    assert drawn[0, 4, 0] == 255 and drawn[0, 19, 13] == 255
    assert drawn[0, 3].max() == 0 and drawn[0, 8, 8] == 0
    assert image.max() == 0


def test_fastestdet_finds_the_cars_of_a_known_image(data_dir: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the package that runs it")
    detect = FastestDet(data_dir / "weights" / "fastestdet" / "FastestDet.onnx")
    found = detect(read_image(data_dir / "test" / "rain100_clean" / "norain-34.png"))
    # Measured by eye on the picture: the white racing car, and the red one behind it.
    cars = torch.tensor([[145.0, 101, 325, 247], [283, 62, 409, 156]])
    sure = found[found.scores >= CONFIDENT]
    overlap = intersection_over_union(cars, sure.boxes)
    assert overlap[0].max() > 0.8 and overlap[1].max() > 0.5
    assert set(sure.classes.tolist()) <= {2, 7}, "COCO's car and truck"
    assert found.scores.min() >= FAINT


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the package that reads it")
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    for name, message in (("x", "not a usable ONNX model"), ("none", "there is no file")):
        with pytest.raises(WeightsError, match=message):
            FastestDet(tmp_path / f"{name}.onnx")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="pip install onnxruntime"):
        FastestDet(Path("x.onnx"))


def test_a_detector_of_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random weights where torchvision keeps its downloads, their bias set to see class 3."""
    models = pytest.importorskip("torchvision", reason="the package that has it").models
    name = "ssdlite320_mobilenet_v3_large"
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, weights_backbone=None)
    for module in model.head.classification_head.module_list:
        module[1].bias.data.view(-1, 91)[:, 3] = 5
    keep_as_download(monkeypatch, tmp_path, name, model)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 60, 80), np.uint8))
    found = TorchvisionDetector(name)(image)
    assert set(found.classes.tolist()) == {3}
    assert found.boxes.shape == (len(found.scores), 4)
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= 80


def keep_as_download(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, model: torch.nn.Module
) -> None:
    from torchvision.models import get_model_weights

    file = Path(get_model_weights(name).DEFAULT.url).name
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), folder / "hub" / "checkpoints" / file)
    monkeypatch.setenv("TORCH_HOME", str(folder))


def test_an_unknown_model_of_torchvision_is_one_sentence() -> None:
    pytest.importorskip("torchvision", reason="the package that knows them")
    with pytest.raises(UsageError, match=r"resnet18 is neither .* ssdlite320"):
        TorchvisionDetector("resnet18")
