"""Checkpoints: whole or not at all, and what is none."""

import errno
import os
from pathlib import Path

import pytest
import torch

from sapnet_stream.errors import InputError, OutputError, WeightsError
from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.weights import save_network
from sapnet_training.checkpoint import NEEDED, load_checkpoint, load_weights, save_checkpoint


def test_a_checkpoint_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    parts = dict.fromkeys(NEEDED, 1)
    save_checkpoint(path, parts)

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OutputError, match=r"the disk of .*last\.pt is full: free space"):
        save_checkpoint(path, {**parts, "step": 2})
    assert load_checkpoint(path) == parts
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pt")
    garbage = tmp_path / "garbage.pt"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(garbage)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_checkpoint(tmp_path)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no checkpoint of"):
        load_checkpoint(tmp_path / "other.pt")


def test_weights_of_another_width_are_one_sentence(tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.safetensors"
    save_network(narrow, SAPNet(SAPNetConfig(channels=16)), {})
    with pytest.raises(WeightsError, match="another width"):
        load_weights(str(narrow), SAPNet())
