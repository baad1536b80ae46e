"""The losses: their values, and that their gradients are those of the values."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sapnet_stream.errors import WeightsError
from sapnet_training.background_segmentation import BackgroundSegmentationLoss, focal_loss
from sapnet_training.image_config import ImageConfig, ImagePhase
from sapnet_training.objective import Objective
from sapnet_training.perceptual_contrastive import PerceptualContrastiveLoss
from sapnet_training.perceptual_similarity import TRUNKS, PerceptualSimilarityLoss

Images = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def weights(data_dir: Path) -> Path:
    return data_dir / "weights"


@pytest.fixture(scope="module")
def contrastive(weights: Path) -> PerceptualContrastiveLoss:
    return PerceptualContrastiveLoss(weights).double()


@pytest.fixture(scope="module")
def similarity(weights: Path) -> PerceptualSimilarityLoss:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    return PerceptualSimilarityLoss("squeeze", weights).double()


@pytest.fixture(scope="module")
def segmentation(weights: Path) -> BackgroundSegmentationLoss:
    return BackgroundSegmentationLoss("vgg16", weights).double()


def images(size: int = 32, n: int = 2) -> Images:
    """Output, clean and rainy, [N, 3, size, size] float64."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 5, dtype=torch.float64, generator=generator)
    clean = F.interpolate(coarse, (size, size), mode="bilinear")
    noise = torch.rand(n, 3, size, size, dtype=torch.float64, generator=generator)
    output = 0.9 * clean + 0.1 * noise
    return output, clean, (clean + 0.6 * noise.mean(1, keepdim=True) ** 4).clamp(0, 1)


def check_gradient(loss: Callable[[Tensor], Tensor], output: Tensor) -> None:
    """Along three random directions, gradient · direction is the central difference.

    The networks are piecewise smooth: a larger step crosses kinks of ReLU and maximum.
    """
    output = output.clone().requires_grad_()
    value = loss(output)
    assert value.dim() == 0 and value.requires_grad
    (gradient,) = torch.autograd.grad(value, output)
    assert gradient.flatten(1).norm(dim=1).min() > 0, "an image of the batch has no gradient"
    generator = torch.Generator().manual_seed(7)
    step = 1e-9
    for _ in range(3):
        direction = torch.randn(output.shape, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            ahead, behind = loss(output + step * direction), loss(output - step * direction)
        expected = (ahead - behind) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-7)


def test_gradient_of_pcl(contrastive: PerceptualContrastiveLoss) -> None:
    output, clean, rainy = images()
    check_gradient(lambda x: contrastive(x, clean, rainy), output)


def test_gradient_of_lpisl(similarity: PerceptualSimilarityLoss) -> None:
    output, clean, _ = images()
    check_gradient(lambda x: similarity(x, clean), output)


def test_gradient_of_ubs(segmentation: BackgroundSegmentationLoss) -> None:
    check_gradient(segmentation, images()[0])


def test_a_detached_loss_does_not_pass_the_gradient_check(
    contrastive: PerceptualContrastiveLoss,
) -> None:
    output, clean, rainy = images(16)
    with pytest.raises(AssertionError):
        check_gradient(lambda x: contrastive(x.detach(), clean, rainy), output)
    with pytest.raises(AssertionError):
        check_gradient(lambda x: contrastive(x.detach(), clean, rainy) + 0 * x.sum(), output)


def test_focal_gradient_and_value() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (2, 3, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, labels), logits.requires_grad_())
    torch.testing.assert_close(
        focal_loss(logits, labels, gamma=0.0), F.cross_entropy(logits, labels)
    )
    even = torch.zeros(1, 4, 1, 1)
    expected = 0.75**2 * torch.tensor(4.0).log()
    torch.testing.assert_close(focal_loss(even, torch.zeros(1, 1, 1, dtype=torch.int64)), expected)


def test_pcl_pulls_towards_clean_and_away_from_rainy(
    contrastive: PerceptualContrastiveLoss,
) -> None:
    _, clean, rainy = images()
    with torch.no_grad():
        values = [
            contrastive(rainy + part * (clean - rainy), clean, rainy).item()
            for part in (0.25, 0.5, 0.75, 1.0)
        ]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-12)
    assert values[0] > 15 / 32


def test_pcl_is_the_sum_of_weighted_ratios(contrastive: PerceptualContrastiveLoss) -> None:
    output, clean, rainy = images(16)
    expected = 0.0
    with torch.no_grad():
        maps = [contrastive.backbone(image) for image in (output, clean, rainy)]
        for weight, anchor, positive, negative in zip((32, 16, 8, 4), *maps, strict=True):
            expected += F.l1_loss(anchor, positive) / F.l1_loss(anchor, negative) / weight
        torch.testing.assert_close(contrastive(output, clean, rainy), torch.as_tensor(expected))


def test_lpisl_is_the_mean_over_the_batch_in_the_range_lpips_wants(
    similarity: PerceptualSimilarityLoss,
) -> None:
    output, clean, _ = images()
    with torch.no_grad():
        each = [
            similarity.metric(o * 2 - 1, c * 2 - 1).item()
            for o, c in zip(output.chunk(2), clean.chunk(2), strict=True)
        ]
        assert each[0] != each[1]
        assert similarity(output, clean).item() == pytest.approx(sum(each) / 2)
        assert similarity(clean, clean).item() == 0


@pytest.mark.parametrize(
    ("trunk", "file", "ends"),
    [
        ("alex", "alexnet", (2, 5, 8, 10, 12)),
        ("vgg", "vgg16_features_relu4_3", (4, 9, 16, 23, 30)),
        ("squeeze", "squeezenet1_1", (2, 5, 8, 10, 11, 12, 13)),
    ],
)
def test_lpisl_reads_its_network_from_a_file(
    trunk: str, file: str, ends: tuple[int, ...], tmp_path: Path
) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.get_model(TRUNKS[trunk], weights=None)
    features = network.features.requires_grad_(False)
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    save_file(state, tmp_path / f"{file}.safetensors")
    similarity = PerceptualSimilarityLoss(trunk, tmp_path)
    image = images()[0].float()
    maps = similarity.metric.net(image)
    for got, end in zip(maps, ends, strict=True):
        torch.testing.assert_close(got, features[:end](image))


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_lpisl_has_a_gradient_where_an_image_is_flat(
    similarity: PerceptualSimilarityLoss, level: float
) -> None:
    clean = torch.full((1, 3, 40, 40), level, dtype=torch.float64)
    output = (clean + 0.1 * images(40, 1)[0] * (0.5 - level)).requires_grad_()
    (gradient,) = torch.autograd.grad(similarity(output, clean), output)
    assert torch.isfinite(gradient).all()


def test_ubs_has_heads_of_its_seed_and_labels_of_its_own(
    weights: Path, segmentation: BackgroundSegmentationLoss
) -> None:
    output = images()[0]
    again, other = (BackgroundSegmentationLoss("vgg16", weights, seed=s).double() for s in (0, 1))
    with torch.no_grad():
        assert again(output) == segmentation(output) != other(output)
        maps = segmentation.backbone(output)[1:]
        logits = segmentation.pyramid(maps)
        assert logits.shape == (2, 21, 16, 16)
        assert segmentation(output) == focal_loss(logits, logits.argmax(1))
    heads = torch.cat([p.flatten() for p in segmentation.pyramid.parameters() if p.dim() > 1])
    assert heads.mean().item() == pytest.approx(0, abs=1e-4)
    assert heads.std().item() == pytest.approx(0.01, rel=0.01)


def test_ubs_takes_a_resnet(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision", reason="it has the ResNets")
    torch.manual_seed(0)
    save_file(
        torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.safetensors"
    )
    loss = BackgroundSegmentationLoss("resnet18", tmp_path).double()
    check_gradient(loss, images(48)[0])
    assert loss.pyramid(loss.backbone(images(50)[0])).shape == (2, 21, 13, 13)


def recipe(**changes: object) -> ImageConfig:
    values: dict[str, object] = {
        "phases": (ImagePhase(0, 2, 32, 2),),
        "l1": 2.0,
        "pcl": 0.4,
        "lpisl": 1.0,
        "lpips_trunk": "squeeze",
        "ubs": 0.1,
        "ubs_backbone": "vgg16",
        "ubs_start": 5,
        "early_stages": 0.3,
    }
    return ImageConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_the_total_is_the_weighted_sum_of_its_terms(weights: Path) -> None:
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    config = recipe()
    output, clean, rainy = (image.float() for image in images())
    output.requires_grad_()
    objective = Objective(config, weights)
    total, terms = objective([rainy, output], rainy, clean, step=5)
    assert list(terms) == ["ssim", "l1", "pcl", "lpisl", "ubs", "early_stages"]
    expected = sum(getattr(config, name) * value for name, value in terms.items())
    torch.testing.assert_close(total.detach(), expected)
    assert total.requires_grad and not any(value.requires_grad for value in terms.values())
    assert terms["early_stages"] == F.l1_loss(rainy, clean)
    total.backward()
    assert all(parameter.grad is None for parameter in objective.parameters())
    _, before = objective([output], rainy, clean, step=4)
    assert list(before) == ["ssim", "l1", "pcl", "lpisl"]


def test_every_term_adds_its_own_gradient(weights: Path) -> None:
    """The gradient of the total is the weighted sum of each term's alone: none is detached."""
    pytest.importorskip("lpips", reason="the package that has LPIPS")
    config = recipe(early_stages=0.0)
    output, clean, rainy = (image.float() for image in images())

    def gradient(changed: ImageConfig) -> Tensor:
        x = output.clone().requires_grad_()
        total, _ = Objective(changed, weights)([x], rainy, clean, step=5)
        (result,) = torch.autograd.grad(total, x)
        return result

    whole = gradient(config)
    for name in ("ssim", "l1", "pcl", "lpisl", "ubs"):
        without = gradient(recipe(early_stages=0.0, **{name: 0.0}))
        assert (whole - without).norm() > 1e-4 * whole.norm(), name


def test_terms_without_weight_are_not_built(tmp_path: Path) -> None:
    objective = Objective(recipe(pcl=0.0, lpisl=0.0, ubs=0.0), tmp_path)
    assert not list(objective.parameters())
    with pytest.raises(WeightsError, match="vgg16_features_relu4_3"):
        Objective(recipe(lpisl=0.0, ubs=0.0), tmp_path)


def test_loss_is_zero_only_for_the_target() -> None:
    target = images(16)[1]
    objective = Objective(recipe(pcl=0.0, lpisl=0.0, ubs=0.0))
    assert objective([target], target, target, 0)[0].item() == pytest.approx(0, abs=1e-9)
    assert objective([target + 0.1], target, target, 0)[0].item() > 0.2
