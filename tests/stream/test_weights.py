"""Checkpoints: what is saved comes back, what is wrong is named in one sentence."""

import shutil
from pathlib import Path

import pytest
import torch

from sapnet_stream.errors import WeightsError
from sapnet_stream.networks import SAPNet, SAPNetConfig, load_network, save_network
from sapnet_stream.networks.weights import (
    BUNDLED,
    bundled_names,
    find_weights,
    load_video_network,
    read_card,
    tensors_sha256,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "own.safetensors"
    save_network(path, SAPNet(SAPNetConfig(stages=3, convolution="split")), {"data": "none"})
    return path


def test_round_trip_keeps_values_configuration_and_card(tmp_path: Path) -> None:
    network = SAPNet(SAPNetConfig(stages=2, dilations=(1, 3)))
    path = tmp_path / "own.safetensors"
    digest = save_network(path, network, {"data": "noise", "seed": "7"})
    loaded = load_network(path)
    assert loaded.config == network.config
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    card = read_card(path)
    assert (card["data"], card["seed"], card["architecture"]) == ("noise", "7", "SAPNet")
    assert card["sha256"] == digest == tensors_sha256(loaded.state_dict())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["sapnet_2021_09", "sapnet_2021_11"])
def test_published_checkpoints_load(data_dir: Path, name: str) -> None:
    path = data_dir / "weights" / "sapnet" / f"{name}.pth"
    raw = torch.load(path, map_location="cpu", weights_only=True)
    loaded = load_network(path).state_dict()
    assert all(torch.equal(loaded[key.removeprefix("module.")], raw[key]) for key in raw)


def test_bundled_weights_are_intact_and_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAPNET_WEIGHTS", raising=False)
    assert "sapnet" in bundled_names()
    assert find_weights() == BUNDLED / "sapnet.safetensors"
    loaders = {"SAPNet": load_network, "SAPNetVideo": load_video_network}
    for name in bundled_names():
        card = read_card(BUNDLED / f"{name}.safetensors")
        loaders[card["architecture"]](name)
        assert {"data", "recipe", "steps", "hours"} <= card.keys()
        assert (BUNDLED / f"{name}.md").is_file()


def test_the_environment_names_the_default(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPNET_WEIGHTS", str(saved))
    assert load_network().config.stages == 3
    assert find_weights("sapnet").parent == BUNDLED


def write_text(path: Path) -> None:
    path.write_text("these are no weights")


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_folder(path: Path) -> None:
    path.mkdir()


def write_pickle_with_code(path: Path) -> None:
    torch.save({"conv.0.weight": shutil.rmtree}, path)


def write_other_tensors(path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, path)


def write_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "write",
    [
        write_text,
        write_nothing,
        write_folder,
        write_pickle_with_code,
        write_other_tensors,
        write_list,
    ],
)
def test_wrong_files_are_refused_in_one_sentence(tmp_path: Path, write, suffix: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / f"wrong{suffix}"
    write(path)
    with pytest.raises(WeightsError) as raised:
        load_network(path)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message


def test_a_flipped_bit_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        load_network(saved)


def test_a_missing_name_lists_the_bundled_ones() -> None:
    with pytest.raises(WeightsError, match="bundled name"):
        load_network("sapnet-xxl")
