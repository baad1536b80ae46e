"""Everything a training run needs to go on as if it had not stopped."""

import io
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
from sapnet_stream.target import write_failure

NEEDED = {"step", "seconds", "best", "config", "network", "average", "optimizer"}
"""Parts of every checkpoint; the oldest have no others."""


def save_checkpoint(path: Path, parts: Mapping[str, Any]) -> None:
    """Writes named parts beside `path`, then renames: the file is old or new, never half.

    Raises:
        OutputError: it cannot be written.
    """
    content = io.BytesIO()
    torch.save(dict(parts), content)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_failure(path, error) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The parts as they were saved, tensors on the CPU.

    Raises:
        InputError: missing, or no checkpoint of this trainer.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint at {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give a file") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint of sapnet-train: it is damaged or something "
            "else; take another, such as best.pt beside last.pt"
        ) from error
    if not isinstance(parts, dict) or not parts.keys() >= NEEDED:
        raise InputError(f"{path} is no checkpoint of sapnet-train: give a run's .pt")
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
        return _fitting(load_checkpoint(Path(source))["average"], network, source)
    load = load_video_network if isinstance(network, SAPNetVideo) else load_network
    return _fitting(load(source).state_dict(), network, source)


def _fitting(weights: dict[str, Tensor], network: nn.Module, source: str) -> dict[str, Tensor]:
    """The weights, of the same names and shapes as the network's."""
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != shapes:
        raise WeightsError(
            f"{source} is of another network, or another width of it: give weights of the one "
            "that the recipe trains"
        )
    return weights
