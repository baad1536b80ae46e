"""Everything a training run needs to go on as if it had not stopped."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sapnet_stream.errors import InputError


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
