"""A detector or a segmentation network of torchvision, by name."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from sapnet_stream.errors import UsageError, WeightsError


def torchvision(name: str) -> ModuleType:
    """The package, for a model of that name.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module("torchvision")
    except ModuleNotFoundError:
        raise UsageError(
            f"the model {name} needs the package torchvision: pip install torchvision"
        ) from None


def torchvision_model(name: str, kind: str) -> tuple[Callable[..., Any], Any]:
    """The model with its default weights, in eval mode, and those weights' description.

    Args:
        name: as torchvision spells it.
        kind: "detection" or "segmentation".

    Raises:
        UsageError: torchvision is not installed, or has no such model of this kind.
        WeightsError: the weights cannot be downloaded.
    """
    models = torchvision(name).models
    known = models.list_models(getattr(models, kind))
    if name not in known:
        raise UsageError(
            f"{name} is neither a model's file for {kind} nor one of torchvision's: "
            f"{', '.join(known)}"
        )
    weights = models.get_model_weights(name).DEFAULT
    try:
        # The backbone is part of these weights; by default it would be downloaded once more.
        model = models.get_model(name, weights=weights, weights_backbone=None)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot download {weights.url} ({error}): connect, or give a file"
        ) from error
    return model.eval(), weights
