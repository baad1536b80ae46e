"""Checkpoints: our own safetensors files and the published `.pth` files."""

import hashlib
import json
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from sapnet_stream.errors import SapnetError, WeightsError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig

BUNDLED = Path(__file__).parents[1] / "weights"
DEFAULT_NAME = "sapnet"
ENVIRONMENT = "SAPNET_WEIGHTS"


def bundled_names() -> list[str]:
    """Names of the checkpoints that ship inside the package."""
    return sorted(path.stem for path in BUNDLED.glob("*.safetensors"))


def find_weights(source: str | Path | None = None) -> Path:
    """The checkpoint file meant by `source`.

    Args:
        source: a bundled name ("sapnet"), or a path; None takes the environment variable
            SAPNET_WEIGHTS (name or path), and without it the bundled default.

    Raises:
        WeightsError: there is no such name and no such file.
    """
    wanted = str(source or os.environ.get(ENVIRONMENT) or DEFAULT_NAME)
    if wanted in bundled_names():
        return BUNDLED / f"{wanted}.safetensors"
    path = Path(wanted)
    if not path.is_file():
        known = ", ".join(bundled_names()) or "none"
        raise WeightsError(
            f"no weights at {wanted}: give a .safetensors or .pth file, or a bundled name ({known})"
        )
    return path


def load_network(source: str | Path | None = None) -> SAPNet:
    """The network stored at `source` (see `find_weights`), in eval mode, float32, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or holds another network.
    """
    path = find_weights(source)
    if path.suffix == ".safetensors":
        config, state = _read_safetensors(path)
    else:
        config, state = SAPNetConfig(), _read_published(path)
    network = SAPNet(config)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} is not a checkpoint of SAPNet "
            f"({len(state)} tensors where {len(network.state_dict())} of other names or "
            "shapes were expected): give a SAPNet checkpoint"
        ) from error
    return network.eval()


def save_network(path: Path, network: SAPNet, card: dict[str, str]) -> str:
    """Write `network` to `path` atomically and return the sha256 of its tensors.

    Args:
        path: a .safetensors file.
        network: stored as float32 with its configuration.
        card: what a reader of the file must know: data, command, seed, steps, scores.
    """
    state = {key: value.detach().float().cpu() for key, value in network.state_dict().items()}
    digest = tensors_sha256(state)
    metadata = {
        **card,
        "architecture": "SAPNet",
        "config": json.dumps(asdict(network.config)),
        "sha256": digest,
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(save({k: v.contiguous() for k, v in state.items()}, metadata))
    partial.replace(path)
    return digest


def read_card(path: Path) -> dict[str, str]:
    """The metadata of a safetensors checkpoint.

    Raises:
        WeightsError: `path` is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error


def tensors_sha256(state: dict[str, Tensor]) -> str:
    """Digest of names, shapes and float32 values, whatever file they came in."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().float().cpu().contiguous()
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[SAPNetConfig, dict[str, Tensor]]:
    card = read_card(path)
    if card.get("architecture") != "SAPNet":
        raise WeightsError(
            f"{path} holds {card.get('architecture', 'an unnamed network')}, not SAPNet: "
            "give a SAPNet checkpoint"
        )
    try:
        config = SAPNetConfig(**json.loads(card["config"]))
    except (KeyError, TypeError, ValueError, SapnetError) as error:
        raise WeightsError(f"{path} has no usable SAPNet configuration: {error}") from error
    state: dict[str, Tensor] = load_file(path)
    if tensors_sha256(state) != card.get("sha256"):
        raise WeightsError(f"{path} is damaged (its sha256 differs): fetch it again")
    return config, state


def _read_published(path: Path) -> dict[str, Tensor]:
    try:
        # Anything else would be taken for PyTorch's format before 1.6, a bare pickle.
        if not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint of plain tensors: "
            "give the published .pth or a .safetensors file"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state dict: give the published .pth")
    # The published files were saved from nn.DataParallel.
    return {str(key).removeprefix("module."): value for key, value in content.items()}
