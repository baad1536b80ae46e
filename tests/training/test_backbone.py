import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sapnet_stream.errors import UsageError, WeightsError
from sapnet_training.backbone import (
    RESNET_CHANNELS,
    Backbone,
    ResNetFeatures,
    VGG16Features,
    imagenet_weights,
    load_frozen,
)


def image(size: int = 32) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(data_dir: Path) -> Path:
    return data_dir / "weights"


def test_vgg_is_torchvision_s_layer_by_layer(weights: Path) -> None:
    torchvision = pytest.importorskip("torchvision", reason="the network it is compared with")
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:23]
    stored = imagenet_weights("vgg16", weights)
    layers.load_state_dict({k.removeprefix("features."): v for k, v in stored.items()})
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        got = Backbone("vgg16", weights)(image())
        for maps, end in zip(got, (4, 9, 16, 23), strict=True):
            torch.testing.assert_close(maps, layers[:end]((image() - mean) / deviation))


def test_without_normalisation_the_image_goes_in_as_it_is(weights: Path) -> None:
    with torch.no_grad():
        backbone = Backbone("vgg16", weights, normalise=False)
        for maps, raw in zip(backbone(image()), backbone.trunk(image()), strict=True):
            assert torch.equal(maps, raw)
        assert not torch.equal(Backbone("vgg16", weights)(image())[0], backbone(image())[0])


def test_vgg_file_knows_what_the_images_show(weights: Path) -> None:
    """Its deepest map answers to an image's structure far more than random weights do."""
    torch.manual_seed(0)
    smooth = torch.full((1, 3, 64, 64), 0.5)
    stripes = smooth + 0.4 * torch.sign(torch.sin(torch.arange(64.0)))
    random = VGG16Features()

    def change(maps: list[Tensor], other: list[Tensor]) -> float:
        return float((maps[-1] - other[-1]).norm() / maps[-1].norm())

    with torch.no_grad():
        backbone = Backbone("vgg16", weights)
        trained = change(backbone(smooth), backbone(stripes))
        assert trained > 3 * change(random(smooth), random(stripes))


@pytest.mark.parametrize("name", RESNET_CHANNELS)
def test_resnet_gives_its_four_stages_and_stays_in_eval_mode(name: str) -> None:
    torchvision = pytest.importorskip("torchvision", reason="it has the ResNets")
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, weights=None).eval()
    features = ResNetFeatures(name)
    older = {k: v for k, v in whole.state_dict().items() if "num_batches" not in k}
    load_frozen(features, older, name)
    with torch.no_grad():
        maps = features(image(64))
        assert [tuple(m.shape[1:]) for m in maps] == [
            (width, 64 // stride, 64 // stride)
            for width, stride in zip(features.channels, (4, 8, 16, 32), strict=True)
        ]
        logits = whole.fc(maps[-1].mean((2, 3)))
        torch.testing.assert_close(logits, whole(image(64)))
    assert not features.training
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_missing_files_and_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no .*resnet50\.safetensors"):
        imagenet_weights("resnet50", tmp_path)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "alexnet.safetensors")
    with pytest.raises(WeightsError, match=r"vgg16 lack features\.0\.bias of shape \(64,\)"):
        load_frozen(VGG16Features(), imagenet_weights("alexnet", tmp_path), "vgg16")
    (tmp_path / "resnet18.safetensors").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        imagenet_weights("resnet18", tmp_path)


@pytest.mark.parametrize("folder", [None, Path("here")])
def test_a_resnet_without_torchvision_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, folder: Path | None
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UsageError, match="needs the package torchvision"):
        Backbone("resnet18", folder)


def test_a_failed_download_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision = pytest.importorskip("torchvision", reason="it downloads")

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    enum = torchvision.models.ResNet18_Weights
    monkeypatch.setattr(enum, "get_state_dict", offline)
    with pytest.raises(WeightsError, match=r"no route to host.*resnet18\.safetensors"):
        imagenet_weights("resnet18", None)
