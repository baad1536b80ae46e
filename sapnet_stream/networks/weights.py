"""Checkpoints: our own safetensors files and the published `.pth` files."""

import hashlib
import json
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sapnet_stream.errors import SapnetError, WeightsError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.sapnet_video import SAPNetVideo, SAPNetVideoConfig

BUNDLED = Path(__file__).parents[1] / "weights"
DEFAULT_NAME = "sapnet"
VIDEO_NAME = "sapnet_video"
ENVIRONMENT = "SAPNET_WEIGHTS"

Network = TypeVar("Network", SAPNet, SAPNetVideo)
Config = TypeVar("Config", SAPNetConfig, SAPNetVideoConfig)


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
    # os.path takes names that no file can have for missing files, pathlib raises.
    if not os.path.isfile(wanted):
        known = ", ".join(bundled_names()) or "none"
        raise WeightsError(
            f"no weights at {wanted}: give a .safetensors or .pth file, or a bundled name ({known})"
        )
    return Path(wanted)


def load_network(source: str | Path | None = None) -> SAPNet:
    """The network stored at `source` (see `find_weights`), in eval mode, float32, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or holds another network.
    """
    path = find_weights(source)
    if path.suffix == ".safetensors":
        config, state = _read_safetensors(path, SAPNet, SAPNetConfig)
    else:
        config, state = SAPNetConfig(), _read_published(path)
    return _with_weights(SAPNet(config), state, path)


def load_video_network(source: str | Path = VIDEO_NAME) -> SAPNetVideo:
    """The video network stored at `source`, in eval mode, float32, on the CPU.

    Args:
        source: a bundled name, or the path of a .safetensors file.

    Raises:
        WeightsError: the file is missing, damaged, or holds another network.
    """
    path = find_weights(source)
    config, state = _read_safetensors(path, SAPNetVideo, SAPNetVideoConfig)
    return _with_weights(SAPNetVideo(config), state, path)


def load_either(source: str | Path) -> SAPNet | SAPNetVideo:
    """Whichever network is stored at `source`; see `load_network`.

    Raises:
        WeightsError: the file is missing, damaged, or holds no network of ours.
    """
    path = find_weights(source)
    if path.suffix == ".safetensors" and read_card(path).get("architecture") == "SAPNetVideo":
        return load_video_network(path)
    return load_network(path)


def save_network(path: Path, network: SAPNet | SAPNetVideo, card: dict[str, str]) -> str:
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
        "architecture": type(network).__name__,
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


def _with_weights(network: Network, state: dict[str, Tensor], path: Path) -> Network:
    name = type(network).__name__
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} is not a checkpoint of {name} "
            f"({len(state)} tensors where {len(network.state_dict())} of other names or "
            f"shapes were expected): give a {name} checkpoint"
        ) from error
    return network.eval()


def _read_safetensors(
    path: Path, network: type[nn.Module], kind: type[Config]
) -> tuple[Config, dict[str, Tensor]]:
    card, name = read_card(path), network.__name__
    if card.get("architecture") != name:
        raise WeightsError(
            f"{path} holds {card.get('architecture', 'an unnamed network')}, not {name}: "
            f"give a {name} checkpoint"
        )
    try:
        config = kind(**json.loads(card["config"]))
    except (KeyError, TypeError, ValueError, SapnetError) as error:
        raise WeightsError(f"{path} has no usable {name} configuration: {error}") from error
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
    if isinstance(content, dict) and "average" in content:
        raise WeightsError(
            f"{path} is the checkpoint of a training run: make weights of it, with "
            f"python -m sapnet_training.export {path} OUT.safetensors"
        )
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state dict: give the published .pth")
    # The published files were saved from nn.DataParallel.
    return {str(key).removeprefix("module."): value for key, value in content.items()}
