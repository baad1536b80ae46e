"""Everything a training run needs to go on as if it had not stopped."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapnet_stream.errors import InputError, WeightsError
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import load_network, load_video_network


def save_checkpoint(path: Path, parts: Mapping[str, Any]) -> None:
    """Writes named parts beside `path`, then renames: the file is old or new, never half."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(dict(parts), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The parts as they were saved, tensors on the CPU.

    Raises:
        InputError: missing, or no checkpoint of this trainer.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint at {path}") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint; resume from another") from error
    if not isinstance(parts, dict) or "step" not in parts:
        raise InputError(f"{path} is no checkpoint of sapnet-train")
    return parts


def load_weights(source: str, network: nn.Module) -> dict[str, Tensor]:
    """Weights for another run of `network` to begin with.

    Args:
        source: a run's `.pt`, whose averaged weights are taken; else what a user derains with,
            a bundled name or a file.
        network: the one they are for.

    Raises:
        InputError: see `load_checkpoint`.
        WeightsError: there is no such file, or it holds another network.
    """
    if source.endswith(".pt"):
        weights: dict[str, Tensor] = load_checkpoint(Path(source))["average"]
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        if {name: value.shape for name, value in weights.items()} != shapes:
            raise WeightsError(f"{source} is of another network: give a run of this recipe's task")
        return weights
    load = load_video_network if isinstance(network, SAPNetVideo) else load_network
    return load(source).state_dict()
